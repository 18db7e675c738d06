"""What README and examples show, and the demo, as a user of a cluster runs them: with a Role that holds the least."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_examples import EXAMPLES, EXPECTED, NETWORK

ROOT = Path(__file__).parents[2]


def run(command, folder, **variables):
    environ = {**os.environ, "PYTHONUTF8": "1", **variables}
    result = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_example_of_the_readme_runs_as_it_stands(kubernetes, tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "example.py").write_text(example)
    lines = run(["example.py"], tmp_path).splitlines()
    assert lines[0] == "5.0"
    assert lines[1].startswith("16.88")
    assert lines[-1].startswith("[1.0, 2.23")


@pytest.mark.timeout(300, func_only=True)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.network] if name in NETWORK else []) for name in EXPECTED]
)
def test_an_example_runs_on_a_stock_image_and_prints_what_it_should(name, kubernetes, tmp_path):
    output = run([str(EXAMPLES / name)], tmp_path)
    assert [text for text in EXPECTED[name] if text not in output] == []


@pytest.mark.network
@pytest.mark.timeout(900, func_only=True)
def test_the_demo_runs_on_a_stock_image(kubernetes, tmp_path):
    output = run(["-m", "ascend", "demo", "--cluster", "kubernetes", "--points", "4"], tmp_path)
    assert "each a task on 'kubernetes'" in output
    assert "scikit-learn refused it where the task ran" in output
    assert re.search(r"6 tasks in \d", output)
