"""One process of the local cluster: started in a group of its own, followed to its end, killed with all it started."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["End", "bytes_of", "follow", "kill_escaped", "kill_group", "start"]

_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 20
# The most that Linux lets a pipe of an ordinary user hold; what comes after it was written after the end.
_PIPE_SIZE = 1 << 20
# What select takes has an upper limit.
_LONGEST_PAUSE = 3600.0
_NO_PIDFD_INTERVAL = 0.05
_MEMORY_INTERVAL = 0.05


class End(NamedTuple):
    """How a process ended; *signal* is a name, *reason* is Kubernetes' word if the end was ordered here."""

    exit_code: int | None
    signal: str | None
    reason: str


def start(command: list[str], folder: Path, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a process whose standard input ends when this process does, and whose output is one pipe."""
    # On Windows a group cannot be killed as such: taskkill follows the tree of processes instead.
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        start_new_session=True,
    )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all that it started."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        subprocess.run(  # the system's own, wherever it lies
            ["taskkill", "/F", "/T", "/PID", str(process.pid)],  # noqa: S607
            capture_output=True,
            check=False,
        )


def kill_escaped(variable: str) -> None:
    """Kill every process of ours that has *variable*, ``NAME=beginning``, in its environment; where ``/proc`` shows it.

    A daemon leaves the group that it was started in, and in a pod it would end with it all the same.
    """
    if sys.platform != "linux":
        return
    for path in Path("/proc").glob("[0-9]*/environ"):
        # Processes of others cannot be read, and those that end meanwhile are gone.
        with contextlib.suppress(OSError):
            if any(entry.startswith(variable.encode()) for entry in path.read_bytes().split(b"\0")):
                os.kill(int(path.parent.name), signal.SIGKILL)


def follow(
    process: subprocess.Popen[bytes],
    output: Callable[[tuple[str, ...]], None],
    *,
    deadline: float | None,
    memory: int | None,
) -> End:
    """Hand whole lines to *output* until the process ends, and return how.

    *deadline* is in seconds from now. *memory*, in bytes, bounds the resident memory of the process and its
    children; it is looked at from outside, 20 times a second, and only where ``/proc`` shows it.
    """
    lines = _Lines(output)
    with process:
        if os.name == "posix":
            reason = _follow_posix(process, lines, _Limits(process.pid, deadline, memory))
        else:
            reason = _follow_windows(process, lines, deadline)
        # Before it is reaped, so that the number cannot yet belong to another group.
        kill_group(process)
        lines.drain(process.stdout)
        lines.end()
        code = process.wait()
    return _end(code, reason)


def _follow_posix(process: subprocess.Popen[bytes], lines: _Lines, limits: _Limits) -> str:
    reason = ""
    with selectors.DefaultSelector() as selector, _pidfd(process.pid) as pidfd:
        selector.register(_pipe(process), selectors.EVENT_READ, "output")
        if pidfd is not None:
            selector.register(pidfd, selectors.EVENT_READ, "end")
        while True:
            ready = {key.data for key, _ in selector.select(limits.pause(pidfd is not None))}
            if "output" in ready and not lines.read(_pipe(process)):
                selector.unregister(_pipe(process))
            if "end" in ready or (pidfd is None and _has_ended(process)):
                return reason
            if not reason and (reason := limits.exceeded()):
                kill_group(process)


def _follow_windows(process: subprocess.Popen[bytes], lines: _Lines, deadline: float | None) -> str:
    reasons: list[str] = []

    def stop() -> None:
        reasons.append("DeadlineExceeded")
        kill_group(process)

    timer = threading.Timer(deadline, stop) if deadline is not None else None
    if timer:
        timer.start()
    while lines.read(_pipe(process)):
        pass
    if timer:
        timer.cancel()
    return "".join(reasons[:1])


class _Limits:
    """What a process may use: time from now, and memory."""

    def __init__(self, pid: int, deadline: float | None, memory: int | None) -> None:
        self._pid = pid
        self._until = None if deadline is None else monotonic() + deadline
        # Elsewhere there is no cheap way to ask for the memory of a process tree.
        self._memory = memory if sys.platform == "linux" else None

    def pause(self, wakes_at_end: bool) -> float | None:
        """Return how long to wait for output before looking again."""
        pauses = [] if wakes_at_end else [_NO_PIDFD_INTERVAL]
        if self._until is not None:
            pauses.append(min(_LONGEST_PAUSE, max(_NO_PIDFD_INTERVAL, self._until - monotonic())))
        if self._memory is not None:
            pauses.append(_MEMORY_INTERVAL)
        return min(pauses, default=None)

    def exceeded(self) -> str:
        """Return Kubernetes' word for the limit that was passed, or nothing."""
        if self._until is not None and monotonic() >= self._until:
            return "DeadlineExceeded"
        if self._memory is not None and _resident(self._pid) > self._memory:
            return "OOMKilled"
        return ""


class _Lines:
    """Cuts what comes out of a pipe into whole lines."""

    def __init__(self, output: Callable[[tuple[str, ...]], None]) -> None:
        self._output = output
        self._rest = b""

    def read(self, pipe: IO[bytes]) -> bool:
        """Take what is there; false at its end."""
        chunk = os.read(pipe.fileno(), _CHUNK)
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            whole.append(self._rest)
            self._rest = b""
        if whole:
            self._output(tuple(line.decode(errors="replace") for line in whole))
        return bool(chunk)

    def drain(self, pipe: IO[bytes] | None) -> None:
        """Take what is left, but do not wait for a process that escaped its group and holds the pipe open."""
        if pipe is None or os.name != "posix":
            return
        os.set_blocking(pipe.fileno(), False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(_PIPE_SIZE // _CHUNK):
                if not self.read(pipe):
                    break

    def end(self) -> None:
        """Hand over a last line without an end."""
        if self._rest:
            self._output((self._rest.decode(errors="replace"),))
            self._rest = b""


def _pipe(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdout is None:
        msg = "the process was started without a pipe"
        raise RuntimeError(msg)
    return process.stdout


@contextlib.contextmanager
def _pidfd(pid: int) -> Iterator[int | None]:
    if not hasattr(os, "pidfd_open"):
        yield None
        return
    fd = os.pidfd_open(pid)
    try:
        yield fd
    finally:
        os.close(fd)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether the process ended, and leave it unreaped where the system allows that."""
    if hasattr(os, "waitid"):
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return process.poll() is not None


def _resident(pid: int) -> int:
    """Return the resident memory of the process and its descendants, in bytes."""
    total = 0
    with contextlib.suppress(OSError, ValueError):
        proc = Path("/proc", str(pid))
        total = int((proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        for children in proc.glob("task/*/children"):
            total += sum(map(_resident, map(int, children.read_text().split())))
    return total


def _end(code: int, reason: str) -> End:
    if code >= 0:
        return End(code, None, reason)
    try:
        return End(None, signal.Signals(-code).name, reason)
    except ValueError:
        return End(None, f"signal {-code}", reason)


_UNITS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18, "m": 1e-3}
_BINARY_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}


def bytes_of(quantity: str) -> int:
    """Return a Kubernetes quantity of memory in bytes."""
    for unit, factor in (_BINARY_UNITS | _UNITS).items():
        if quantity.endswith(unit):
            return int(float(quantity.removesuffix(unit)) * factor)
    return int(float(quantity))
