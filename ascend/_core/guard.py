"""What guards a task in its pod: it ends with its client, with its time, and does not wait for what it left running."""

from __future__ import annotations

import os
import sys
import time
from _thread import allocate_lock, get_ident, start_new_thread

from ascend._core import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_CLIENT_CHECK = 2.0
_EXIT_GRACE = 10.0


class Failure(Exception):  # noqa: N818 - it becomes a receipt, nobody catches it as an error
    """The runner cannot go on; *kind* tells the client which error to raise."""

    def __init__(self, kind: str, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.exit_code = exit_code
        self.message = message


def guard_client(settings: dict[str, str]) -> None:
    if settings.get("ASCEND_LIFELINE") != "stdin":
        return
    lifeline = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    start_new_thread(_watch_client, (lifeline, settings))


def _watch_client(lifeline: int, settings: dict[str, str]) -> None:
    parent = os.getppid()
    if os.name == "posix":
        import select  # noqa: PLC0415

        # A forked sibling of ours may hold the other end open: a new parent tells as well.
        while os.getppid() == parent and not select.select([lifeline], [], [], _CLIENT_CHECK)[0]:
            pass
    else:
        os.read(lifeline, 1)
    if "ASCEND_CLIENT_DIR" in settings:
        import shutil  # noqa: PLC0415

        # Nobody is left to tell, and the other tasks of the run do the same.
        shutil.rmtree(settings["ASCEND_CLIENT_DIR"], ignore_errors=True)
    _kill_escaped(f"ASCEND_TASK_ID={settings['ASCEND_TASK_ID']}".encode())
    if os.name == "posix":
        os.killpg(os.getpgrp(), 9)
    os._exit(1)


def _kill_escaped(variable: bytes) -> None:
    """Kill what the task started and what left its process group, told by its environment."""
    if sys.platform != "linux":
        return
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if name.isdigit() and int(name) != os.getpid() and variable in file.read().split(b"\0"):
                    os.kill(int(name), 9)
        except OSError:
            # It is not a process, not ours, or gone.
            continue


class TimeGuard:
    """Ends the process when the function runs too long; says where it was."""

    def __init__(self, settings: dict[str, str], receipt: str) -> None:
        self._timeout = float(settings.get("ASCEND_TASK_TIMEOUT", "0"))
        self._receipt = receipt
        self._running = allocate_lock()
        self._thread = get_ident()

    def __enter__(self) -> None:
        self._running.acquire()
        if self._timeout:
            start_new_thread(self._watch, ())

    def __exit__(self, *_: object) -> None:
        self._running.release()

    def _watch(self) -> None:
        if self._running.acquire(timeout=self._timeout):
            self._running.release()
            return
        import traceback  # noqa: PLC0415 - here and below: what a task does not need it does not pay for

        message = f"it ran longer than {self._timeout:g} s"
        wire.write_receipt(self._receipt, {"status": "failed", "kind": "timeout"}, message.encode())
        try:
            sys.stderr.write(f"ascend: stopped after {self._timeout:g} s; this is where it was:\n")
            traceback.print_stack(sys._current_frames()[self._thread])  # noqa: SLF001 - documented, for debuggers
        finally:
            # The function may have closed the stream.
            flush_and_exit(wire.EXIT_TIMEOUT)


def leave(code: int) -> NoReturn:
    """End the process in good order, but do not wait for what the function left running."""
    start_new_thread(_exit_after, (_EXIT_GRACE, code))
    processes = sys.modules.get("multiprocessing.process")
    for child in processes.active_children() if processes else ():
        # Daemons are ended by multiprocessing itself, which would wait for all others.
        if not child.daemon:
            child.kill()
    threading = sys.modules.get("threading")
    # Taking down numpy and its like takes longer than many a call, and nobody will miss them.
    if "ctypes" in sys.modules or (threading and any(not thread.daemon for thread in threading.enumerate()[1:])):
        import atexit  # noqa: PLC0415

        atexit._run_exitfuncs()  # noqa: SLF001 - what the interpreter would do, but for waiting for those threads
        flush_and_exit(code)
    sys.exit(code)


def _exit_after(seconds: float, code: int) -> None:
    time.sleep(seconds)
    os._exit(code)


def flush() -> None:
    """Write what Python has buffered of the function's output."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            # The function closed it, or put something else in its place.
            continue


def flush_and_exit(code: int) -> NoReturn:
    flush()
    if "ctypes" in sys.modules and os.name == "posix":
        import ctypes  # noqa: PLC0415

        ctypes.CDLL(None).fflush(None)
    os._exit(code)
