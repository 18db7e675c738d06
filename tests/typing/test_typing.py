"""Type checkers see what `accepted.py` asserts, and refuse every marked line of `refused.py`, and no other."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
MARK = re.compile(r"\s*# type: ignore\[.*")


def without_marks(path):
    """Return the text of *path* without the comments, and the numbers of the lines that had one."""
    lines = path.read_text(encoding="utf-8").splitlines()
    marked = {number for number, line in enumerate(lines, 1) if MARK.search(line)}
    return "\n".join(MARK.sub("", line) for line in lines) + "\n", marked


@pytest.fixture(scope="module")
def bared(tmp_path_factory):
    """Return a copy of refused.py that is refused, and the lines that must be; accepted.py lies beside it."""
    text, marked = without_marks(HERE / "refused.py")
    path = tmp_path_factory.mktemp("typing") / "refused_bare.py"
    path.write_text(text, encoding="utf-8")
    shutil.copy(HERE / "accepted.py", path.parent)
    return path, marked


def check(module, *arguments):
    environ = dict(os.environ) | {"NO_COLOR": "1", "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def mypy(bared):
    """Return the lines that mypy refuses, by file, as ``line: message``."""
    done = check(
        "mypy", "--strict", "--no-error-summary", "--hide-error-context", str(HERE / "accepted.py"), str(bared[0])
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    found = {}
    for row in done.stdout.splitlines():
        match = re.fullmatch(r"(.+?\.py):(\d+)(?::\d+)?: error: (.*)", row)
        if match:
            found.setdefault(Path(match[1]).name, {}).setdefault(int(match[2]), match[3])
    return found


@pytest.fixture(scope="module")
def pyright(bared):
    """Return the lines that pyright refuses, by file."""
    # Its own settings are for the package; here everything counts.
    config = bared[0].with_name("pyrightconfig.json")
    settings = {
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "standard",
        "pythonVersion": f"{sys.version_info[0]}.{sys.version_info[1]}",
    }
    config.write_text(json.dumps(settings), encoding="utf-8")
    done = check("pyright", "--project", str(config), "--pythonpath", sys.executable, "--outputjson")
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 2, done.stdout
    found = {}
    for each in report["generalDiagnostics"]:
        if each["severity"] == "error":
            line = each["range"]["start"]["line"] + 1
            found.setdefault(Path(each["file"]).name, {}).setdefault(line, each["message"])
    return found


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_what_is_asserted_of_types_holds(checker, request):
    assert request.getfixturevalue(checker).get("accepted.py", {}) == {}


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_what_is_marked_is_refused_and_nothing_else(checker, bared, request):
    refused = request.getfixturevalue(checker).get("refused_bare.py", {})
    _, marked = bared
    assert set(refused) == marked, {line: refused.get(line, "not refused") for line in set(refused) ^ marked}
