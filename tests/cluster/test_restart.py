from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ascend import AscendExecutor
from tests.cluster.test_calls import double
from tests.cluster.test_logs import count, expected
from tests.testcluster import cluster
from tests.testcluster.nodes import api_server
from tests.testcluster.paths import ROOT, STATE_VARIABLE, State
from tests.testcluster.processes import process


@pytest.fixture
def second(own_cluster, environ, tmp_path):
    """Return what starts and stops a cluster beside the one of the tests."""
    state = State(tmp_path / "state")

    def begin(command):
        return subprocess.Popen(
            [sys.executable, "-m", "tests.testcluster", command],
            cwd=ROOT,
            env={**environ, STATE_VARIABLE: str(state.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(command):
        with begin(command) as called:
            out, err = called.communicate()
        assert called.returncode == 0, err
        return out

    yield state, begin, run
    run("down")


# Each start takes some seconds, and longer where both cores have something else to do.
@pytest.mark.timeout(300, func_only=True)
def test_a_cluster_that_was_killed_starts_cleanly_and_leaves_nothing(second, eventually):
    state, begin, run = second
    with begin("up") as interrupted:
        eventually(state.log("kube-apiserver").exists, "the start of the API server")
        interrupted.kill()
    assert process(state), "the half of a cluster that must not be joined is gone"
    first = run("up")
    kill(process(state))
    eventually(lambda: not process(state), "the end of the node")
    again = run("up")
    assert secret(again) != secret(first)
    assert run("up") == again
    run("down")
    run("down")
    assert left(state) == []


@pytest.mark.timeout(300, func_only=True)
def test_calls_and_their_lines_survive_a_restart_of_the_api_server(second, eventually, monkeypatch):
    state, _, run = second
    run("up")
    for name, value in cluster.exports(state).items():
        if name != "ASCEND_STORAGE":
            monkeypatch.setenv(name, value)
    with AscendExecutor(progress=False) as executor:
        running = executor.submit(count, 300, 0.2)
        eventually(running.running, "the pod")
        before = api_server(state)
        kill(before)
        submitted_meanwhile = executor.submit(double, 21)
        lines = {line: running.done() for line in running.logs(follow=True)}
        assert running.result(timeout=120) == 300
        assert submitted_meanwhile.result(timeout=120) == 42
        assert list(running.logs()) == expected(300)
        assert not lines["line 250"], "its lines came only when it had ended"
        assert api_server(state) != before


def secret(exports):
    return [line for line in exports.splitlines() if "SECRET" in line]


def kill(pid):
    subprocess.run([*as_root(), "kill", f"-{signal.SIGKILL.value}", str(pid)], check=True)


def left(state):
    """Return what carries the name of the cluster, or its folder."""
    rules = subprocess.run(
        [*as_root(), "iptables-save"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    links = subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout.splitlines()
    mounts = Path("/proc/mounts").read_text().splitlines()
    named = [line for line in [*rules, *links, *mounts] if state.name in line or str(state.folder) in line]
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{state.name}")]
    return named + groups + commands(state) + [str(path) for path in (state.folder,) if path.exists()]


def commands(state):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_text()
        except OSError:  # it has just ended
            continue
        if str(state.folder) in command:
            found.append(command.replace("\0", " "))
    return found


def as_root():
    return [] if os.geteuid() == 0 else ["sudo", "-n"]
