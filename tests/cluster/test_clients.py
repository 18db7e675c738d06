"""The versions of the official client that ascend says it works with, each in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import textwrap
from importlib.metadata import version
from pathlib import Path

import pytest
import uv

ROOT = Path(__file__).parents[2]
OLDER = ("35.0.0", "36.0.3")

PROGRAM = """
    import kubernetes
    from ascend import AscendExecutor, errors

    def talk(lines):
        for number in range(lines):
            print("line", number)
        return lines

    def fail():
        raise ValueError("no")

    print(kubernetes.__version__)
    with AscendExecutor(progress=False, stream_logs=False) as executor:
        future = executor.submit(talk, 500)
        print(future.result(), list(future.logs()) == [f"line {n}" for n in range(500)])
        print(list(executor.map(talk, range(3))), type(executor.submit(fail).exception()).__name__)
        waiting = executor.with_options(cpu="64", queue_timeout=3).submit(talk, 1)
        print(type(waiting.exception()).__name__)
    try:
        AscendExecutor(progress=False, namespace="not-mine").submit(talk, 1).result()
    except errors.PermissionDeniedError:
        print("denied")
"""


def test_the_newest_is_the_one_that_all_other_tests_use():
    assert version("kubernetes").startswith("37.")


@pytest.mark.network
@pytest.mark.timeout(300, func_only=True)
@pytest.mark.parametrize("client", OLDER)
def test_an_older_client_does_all_the_same(client, kubernetes, tmp_path):
    pins = (ROOT / ".ci" / "constraints.txt").read_text().splitlines()
    constraints = tmp_path / "constraints.txt"
    # Older clients need older companions of theirs, too.
    free = ("kubernetes==", "python-dateutil==")
    constraints.write_text("\n".join(line for line in pins if not line.startswith(free)))
    python = tmp_path / "client" / ("Scripts" if os.name == "nt" else "bin") / "python"
    run([uv.find_uv_bin(), "venv", "--quiet", str(tmp_path / "client")])
    install = [uv.find_uv_bin(), "pip", "install", "--quiet", "--python", str(python)]
    run([*install, "--constraint", str(constraints), f"kubernetes=={client}", str(ROOT)])
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    output = run([str(python), str(tmp_path / "program.py")])
    assert output.splitlines() == [client, "500 True", "[0, 1, 2] ValueError", "UnschedulableError", "denied"]


def run(command):
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
