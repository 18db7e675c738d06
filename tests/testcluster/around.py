"""Runs checks beside the start of the cluster, then those on it; however they end, no process is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from tests.testcluster.paths import ROOT, State
from tests.testcluster.processes import process

if TYPE_CHECKING:
    from collections.abc import Sequence


class Started(Protocol):
    """The process that starts the cluster."""

    def terminate(self) -> None: ...
    def wait(self) -> int: ...


def around(commands: Sequence[str]) -> int:
    """Run the shell *commands*, the last of them on the cluster; return the status of the first that fails.

    The cluster is stopped in the end, unless it ran before. If it cannot be had, the tests on it say why.
    """
    state = State.of_this_clone()
    ours = not process(state) and not os.environ.get("ASCEND_TEST_CONTEXT")
    harness = [sys.executable, "-m", "tests.testcluster"]
    # A group of its own, so that whatever a command has started ends with it.
    start = subprocess.Popen([*harness, "up"], cwd=ROOT, stdout=subprocess.DEVNULL, process_group=0) if ours else None
    try:
        for command in commands:
            if start and command == commands[-1]:
                start.wait()
            if status := _call(command):
                return status
        return 0
    finally:
        if start:
            stop(start, [*harness, "down"])


def stop(start: Started, down: Sequence[str]) -> None:
    """End what starts the cluster, then the cluster by the command *down*."""
    # Once it has become root through sudo it takes no signal from us: then it is waited for.
    with suppress(PermissionError):
        start.terminate()
    start.wait()
    subprocess.run(down, cwd=ROOT, check=False)


def _call(command: str) -> int:
    with subprocess.Popen(["bash", "-c", command], stdin=subprocess.DEVNULL, process_group=0) as called:
        try:
            return called.wait()
        except BaseException as error:
            is_interrupt = isinstance(error, KeyboardInterrupt)
            os.killpg(called.pid, signal.SIGINT if is_interrupt else signal.SIGTERM)
            raise
