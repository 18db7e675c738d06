"""What all tests share: no setting of this machine reaches them, and an executor that leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from ascend import AscendExecutor

PATIENCE = 60.0
"""How many seconds a test waits for what must happen; nothing here is a measure of speed."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control starts background jobs that ignore Ctrl-C, and the clients under test would too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _isolated(tmp_path, monkeypatch):
    """Hide the settings of this machine and of its user, and stand in a folder without any."""
    # What uv has downloaded is no setting.
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    monkeypatch.setenv("UV_CACHE_DIR", os.environ.get("UV_CACHE_DIR") or str(caches / "uv"))
    for name in list(os.environ):
        if name.startswith(("ASCEND_", "XDG_")):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    folder = home / "project"
    folder.mkdir(parents=True)
    for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(home))
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "ASCEND_CACHE_DIR"):
        monkeypatch.setenv(name, str(home / name.lower()))
    monkeypatch.chdir(folder)


@pytest.fixture
def eventually():
    """Return a function that waits until a condition holds, and fails if it never does."""

    def wait(condition, what="the condition"):
        end = time.monotonic() + PATIENCE
        while not (value := condition()):
            assert time.monotonic() < end, f"{what} did not come about"
            time.sleep(0.01)
        return value

    return wait


@pytest.fixture
def leaves_nothing():
    """Check at the end of the test that no thread, child process, descriptor or folder of a run is left."""
    before = _held()
    yield
    end = time.monotonic() + 10
    # A process that was just reaped may still be listed, and a thread that was joined by nobody may still be ending.
    while left := _held() - before:
        assert time.monotonic() < end, f"left behind: {sorted(left)}"
        time.sleep(0.01)


@pytest.fixture
def make_executor(leaves_nothing):
    """Return a function that makes executors on the local cluster; all are shut down after the test."""
    made = []

    def make(**settings):
        made.append(AscendExecutor(**{"cluster": "local", "progress": False, "max_parallel": 2, **settings}))
        return made[-1]

    yield make
    for executor in made:
        executor._run.shutdown(wait=True, cancel_futures=True, kill=True)


@pytest.fixture
def executor(make_executor):
    """Return an executor on the local cluster with two slots."""
    return make_executor()


@pytest.fixture
def gate(tmp_path):
    """Return what holds tasks back: ``submit(gate.wait)`` runs until ``gate.open()``; ``gate.reached()`` tells."""
    opened, reached = str(tmp_path / "opened"), str(tmp_path / "reached")
    Path(reached).mkdir()

    def wait(value=None):
        import os
        import pathlib
        import time

        pathlib.Path(reached, str(os.getpid())).touch()
        while not pathlib.Path(opened).exists():
            time.sleep(0.01)
        return value

    def reached_by():
        return [int(path.name) for path in Path(reached).iterdir()]

    yield SimpleNamespace(wait=wait, open=Path(opened).touch, reached=reached_by)
    Path(opened).touch()


@pytest.fixture
def client(tmp_path):
    """Return a function that starts a program which uses ascend; its temporary folder is ``client.folder``."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    started = []

    def start(code, **options):
        script = tmp_path / f"program{len(started)}.py"
        script.write_text(code)
        environ = {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1", "ASCEND_CLUSTER": "local"}
        process = subprocess.Popen(
            [sys.executable, str(script)],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        started.append(process)
        return process

    def run(code, **options):
        process = start(code, **options)
        out, err = process.communicate(timeout=PATIENCE)
        return SimpleNamespace(out=out, err=err, code=process.returncode)

    def folders():
        return [path.name for path in folder.iterdir() if path.name.startswith("ascend-")]

    yield SimpleNamespace(start=start, run=run, folders=folders)
    for process in started:
        process.kill()
        process.communicate()


def _held():
    """Return what this process holds that an executor might leave behind."""
    threads = {("thread", f"{each.name} {each.ident}") for each in threading.enumerate() if "ascend" in each.name}
    return threads | _children() | _descriptors()


def _children():
    found = set()
    for tasks in Path("/proc/self/task").glob("*/children"):
        # A thread may end while it is looked at.
        with contextlib.suppress(OSError):
            found.update(("process", pid) for pid in tasks.read_text().split())
    return found


def _descriptors():
    found = set()
    for link in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(OSError):
            found.add(("descriptor", f"{link.name} {link.readlink()}"))
    # The first use of obstore opens some for its event loop and keeps them; those of tasks are pipes, pidfds and files.
    mine = ("pipe:", "anon_inode:[pidfd]", "/")
    return {each for each in found if each[1].split(" ", 1)[1].startswith(mine) and "/proc/" not in each[1]}
