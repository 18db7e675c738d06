import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ascend._demo import REQUIREMENTS, Point, examine, grid, learn_only, score


def run_demo(*arguments, **variables):
    """Run the command as a user does: what is in its process must not decide how it goes."""
    command = [sys.executable, "-m", "ascend", "demo", "--no-progress", *arguments]
    return subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, encoding="utf-8", check=False
    )


@pytest.mark.network
def test_the_demo_searches_reports_fails_once_and_says_where_the_time_went():
    result = run_demo("--points", "2", PYTHONIOENCODING="utf-8")
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    accuracies = [float(each) for each in re.findall(r"0\.9\d{3}", result.stdout)]
    assert len(accuracies) >= 2
    assert accuracies == sorted(accuracies, reverse=True)
    assert re.search(r"It reads 9\d\.\d% of 450 unseen digits", result.stdout)
    assert re.search(r"_demo.py\", line \d+, in learn_only\n +model = _model", result.stdout)
    assert "ValueError: The number of classes has to be greater than one" in result.stdout
    assert re.search(r"4 tasks in .* environment .* start .* run .* return ", result.stdout)


def test_without_network_the_demo_ends_with_the_words_of_the_resolver(tmp_path):
    result = run_demo(UV_OFFLINE="1", UV_CACHE_DIR=str(tmp_path / "empty"))
    assert result.returncode == 1
    assert "scikit-learn cannot be installed" in result.stderr
    assert "network was disabled" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_cluster_that_nobody_serves_is_named():
    result = run_demo("--cluster", "nowhere")
    assert result.returncode == 1
    assert "no plugin serves the cluster 'nowhere'" in result.stderr


def test_as_many_points_are_tried_as_the_grid_has():
    assert len(set(grid())) == len(grid()) == 20
    assert run_demo("--points", "21").returncode == 2


def test_nothing_of_scikit_learn_is_imported_here():
    code = "import ascend._demo, ascend.cli.demo, sys; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_functions_are_where_a_task_can_import_them():
    from ascend._core.runner_archive import runner_archive

    assert {each.__module__ for each in (score, learn_only, examine, Point)} == {"ascend._demo"}
    assert b"ascend/_demo.py" in runner_archive()
    assert examine.__ascend_needs__.requirements == REQUIREMENTS
    assert Path(str(sys.modules["ascend._demo"].__file__)).name == "_demo.py"
