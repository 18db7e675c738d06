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
    name: type(module.__spec__.loader).__module__
    for name, module in list(sys.modules.items())
    if module.__spec__ and "SourceFileLoader" in [cls.__name__ for cls in type(module.__spec__.loader).__mro__]
}
print(json.dumps(from_source))
"""


def start(archive, folder):
    """Do what a pod does before it has a call; return what was imported from source, and whose loader did it."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from ascend._core.bytecode import install; install(sys.argv[1])\n"
        "import ascend.runner, _pickle\n" + REPORT
    )
    environ = {"PYTHONPYCACHEPREFIX": str(folder / "none"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-S", "-c", program, str(archive)]
    result = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "runner.zip"
    path.write_bytes(runner_archive())
    return path


def test_the_modules_are_imported_with_the_bytecode_that_came(archive, tmp_path):
    loaders = start(archive, tmp_path)
    assert {loaders[name] for name in MODULES} == {"ascend._core.bytecode"}


def test_they_are_as_if_python_had_imported_them(archive, tmp_path):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from ascend._core.bytecode import install; install(sys.argv[1])\n"
        "import collections.abc, functools, importlib, inspect, pickle\n"
        "assert 'class partialmethod' in inspect.getsource(functools)\n"
        "assert collections.__path__ == [collections.__file__.rpartition('/')[0]]\n"
        "assert importlib.reload(functools) is functools\n"
        "assert pickle.loads(pickle.dumps(collections.OrderedDict(a=1))) == {'a': 1}\n"
        "assert len([each for each in sys.meta_path if each.__module__.startswith('ascend')]) == 0\n"
    )
    environ = {"PYTHONPYCACHEPREFIX": str(tmp_path / "none"), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-S", "-c", program, str(archive)], env=environ, check=True)


def test_every_module_that_the_runner_starts_with_comes_with_its_bytecode(archive, tmp_path):
    # What the interpreter itself imports was there before; json is this test's own.
    itself = start_bare(tmp_path)
    loaders = start(archive, tmp_path)
    ours = {name for name in loaders if not name.startswith(("json", "re.", "enum"))} - {"re"}
    assert ours - itself <= set(MODULES)


def start_bare(folder):
    program = "import sys\n" + REPORT
    environ = {"PYTHONPYCACHEPREFIX": str(folder / "none"), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run([sys.executable, "-S", "-c", program], env=environ, capture_output=True, check=True)
    return set(json.loads(result.stdout))


def test_bytecode_of_another_source_is_left_aside(archive, tmp_path):
    with zipfile.ZipFile(io.BytesIO(archive.read_bytes())) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    bytecode = marshal.loads(members[RESOURCE])
    poison = marshal.dumps(compile("raise SystemExit('the wrong bytecode')", "functools.py", "exec"))
    place, digest, _ = bytecode["functools"]
    bytecode["functools"] = (place, bytes(len(digest)), poison)
    members[RESOURCE] = marshal.dumps(bytecode)
    with zipfile.ZipFile(archive, "w") as whole:
        for name, data in members.items():
            whole.writestr(name, data)
    assert "functools" in start(archive, tmp_path)


def test_an_interpreter_with_bytecode_of_its_own_takes_that(archive, tmp_path):
    prefix = tmp_path / "own"
    environ = {"PYTHONPYCACHEPREFIX": str(prefix)}
    subprocess.run([sys.executable, "-S", "-c", "import functools"], env=environ, check=True)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from ascend._core.bytecode import install; install(sys.argv[1])\n"
        "print('functools' in sys.modules)"
    )
    command = [sys.executable, "-S", "-c", program, str(archive)]
    result = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"
