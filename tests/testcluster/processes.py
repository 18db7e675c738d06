"""The processes of a cluster: one of them holds the namespaces that all others live in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.testcluster.paths import ROOT, ClusterError, State

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 120.0
_NAMESPACES = ("--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc")


def start_node(state: State) -> int:
    """Start the first process in namespaces of the cluster's own, and return its number."""
    command = ["unshare", *_NAMESPACES, sys.executable, "-m", "tests.testcluster.node", str(state.folder)]
    with state.log("node").open("ab") as log:
        parent = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    # The namespaces are there as soon as the first process in them is.
    until(lambda: parent.poll() is not None or children.read_text(), "there are no namespaces")
    if parent.poll() is not None:
        raise ClusterError(f"no namespaces can be made here: {state.log('node').read_text().strip()}")
    first = int(children.read_text())
    state.note(pid=first, started=_started(first))
    return first


def process(state: State) -> int | None:
    """Return the first process of the cluster, if it runs."""
    facts = state.facts()
    pid = facts.get("pid")
    return pid if pid and _started(pid) == facts["started"] else None


def kill(state: State) -> None:
    """End the first process of the cluster; the kernel ends all others before it is gone."""
    if pid := process(state):
        os.kill(pid, signal.SIGKILL)
        until(lambda: not process(state), "the cluster does not end")


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until *condition* holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise ClusterError(f"{what} after {PATIENCE:.0f} s")
        time.sleep(0.02)


def _started(pid: int) -> str | None:
    """Return when *pid* started, which tells it from a later process of that number; nothing if it has ended."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if words[0] in "ZX" else words[19]
