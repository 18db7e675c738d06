import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
EXPECTED = {
    "asyncio_gather.py": [
        "999983 is the largest prime below 1000000",
        "as it would here: no prime is below 2",
        "the loop went on: True",
    ],
    "hyperparameter_search.py": ["usual choice:", "best of the grid: {'C': 10.0, 'gamma': 0.01, 'accuracy': 0.97"],
    "monte_carlo.py": ["pi is 3.142"],
}
NETWORK = {"hyperparameter_search.py"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.network] if name in NETWORK else []) for name in EXPECTED]
)
def test_an_example_runs_on_the_local_cluster_and_prints_what_it_should(name):
    command = [sys.executable, str(EXAMPLES / name)]
    environ = {**os.environ, "ASCEND_CLUSTER": "local", "PYTHONUTF8": "1"}
    result = subprocess.run(command, env=environ, capture_output=True, text=True, encoding="utf-8", check=False)
    assert (result.returncode, result.stderr) == (0, "")
    missing = [text for text in EXPECTED[name] if text not in result.stdout]
    assert missing == [], result.stdout


def test_every_example_is_run_and_listed():
    files = {path.name for path in EXAMPLES.glob("*.py")}
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert files == set(EXPECTED)
    assert [name for name in files if f"[{name}]({name})" not in listed] == []
