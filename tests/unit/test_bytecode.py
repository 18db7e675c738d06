"""The bytecode that travels: taken where the source is the same, left aside elsewhere, and enough of it."""

from __future__ import annotations

import io
import json
import marshal
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ascend._core.bytecode import MODULES, RESOURCE
from ascend._core.runner_archive import runner_archive

LIBRARY = str(Path(os.__file__).parent)
REPORT = """
import json
from_source = {
    name: module.__cached__
    for name, module in list(sys.modules.items())
    if module.__spec__ and type(module.__spec__.loader).__name__ == "SourceFileLoader"
}
print(json.dumps([sys.pycache_prefix, from_source]))
"""


def start(archive, folder, **variables):
    """Do what a pod does before it has a call; return what was imported from source, and with which bytecode."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from ascend._core.bytecode import install; install(sys.argv[1])\n"
        "import ascend.runner, _pickle\n" + REPORT
    )
    environ = {"PYTHONPYCACHEPREFIX": str(folder / "none"), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    command = [sys.executable, "-S", "-c", program, str(archive)]
    result = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    prefix, cached = json.loads(result.stdout)
    assert prefix == str(folder / "none")
    return cached


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "runner.zip"
    path.write_bytes(runner_archive())
    return path


def test_the_modules_are_imported_with_the_bytecode_that_came(archive, tmp_path):
    folder = tmp_path / "bytecode"
    cached = start(archive, tmp_path, ASCEND_BYTECODE_DIR=str(folder))
    expected = f"{folder}{LIBRARY}/functools.{sys.implementation.cache_tag}.pyc"
    assert cached["functools"] == expected
    assert Path(expected).exists()


def test_every_module_that_the_runner_starts_with_comes_with_its_bytecode(archive, tmp_path):
    # What the interpreter itself imports was there before; json is this test's own.
    itself = start_bare(tmp_path)
    cached = start(archive, tmp_path, ASCEND_BYTECODE_DIR=str(tmp_path / "bytecode"))
    ours = {name for name in cached if not name.startswith(("json", "re.", "enum"))} - {"re"}
    assert ours - itself <= set(MODULES)


def start_bare(folder):
    program = "import sys\n" + REPORT
    environ = {"PYTHONPYCACHEPREFIX": str(folder / "none"), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run([sys.executable, "-S", "-c", program], env=environ, capture_output=True, check=True)
    return set(json.loads(result.stdout)[1])


def test_bytecode_of_another_source_is_left_aside(archive, tmp_path):
    with zipfile.ZipFile(io.BytesIO(archive.read_bytes())) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    bytecode = marshal.loads(members[RESOURCE])
    poison = marshal.dumps(compile("raise SystemExit('the wrong bytecode')", "functools.py", "exec"))
    # The first 16 bytes hold the hash of the source.
    content = bytecode["functools"]
    bytecode["functools"] = content[:8] + b"\0" * 8 + poison
    members[RESOURCE] = marshal.dumps(bytecode)
    with zipfile.ZipFile(archive, "w") as whole:
        for name, data in members.items():
            whole.writestr(name, data)
    assert "functools" in start(archive, tmp_path, ASCEND_BYTECODE_DIR=str(tmp_path / "bytecode"))


def test_where_nobody_asks_for_it_nothing_is_written(archive, tmp_path):
    start(archive, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == ["runner.zip"]
