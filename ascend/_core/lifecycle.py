"""What happens to runs at the end of the interpreter and after a fork."""

from __future__ import annotations

import atexit

# Registers its own end first, so that it comes after ours: our threads are needed until then.
import concurrent.futures.thread  # noqa: F401
import os
import sys
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["is_exiting", "register", "unregister"]


class Living(Protocol):
    """What a run must be able to do at such moments."""

    def shutdown(self, *, wait: bool, cancel_futures: bool = False, kill: bool = False) -> None:
        """End the run."""
        ...

    def abandon(self) -> None:
        """Forget everything: this is a forked child, and the threads stayed in the parent."""
        ...


_living: set[Living] = set()
# An executor that is collected as garbage ends in whatever thread, maybe one that is in here.
_guard = threading.RLock()
_exiting = False

# 128 and the number of SIGINT, as shells report it.
_INTERRUPTED = 130


def register(run: Living) -> None:
    """Have the interpreter wait for *run* before it exits."""
    with _guard:
        _living.add(run)


def unregister(run: Living) -> None:
    """Forget a run that has ended."""
    with _guard:
        _living.discard(run)


def is_exiting() -> bool:
    """Tell whether the interpreter is on its way out, when no thread can be started any more."""
    return _exiting


def _finish() -> None:
    global _exiting  # noqa: PLW0603 - there is one interpreter
    _exiting = True
    with _guard:
        runs = list(_living)
    # Whoever pressed Ctrl-C does not want to wait for the rest.
    # At an interactive prompt it may have been long ago.
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1")
    try:
        for run in runs:
            run.shutdown(wait=not interrupted, cancel_futures=interrupted, kill=interrupted)
        for run in runs:
            run.shutdown(wait=True)
    except KeyboardInterrupt:
        if interrupted:
            _leave_at_once()
        try:
            for run in runs:
                run.shutdown(wait=False, cancel_futures=True, kill=True)
            for run in runs:
                run.shutdown(wait=True)
        except KeyboardInterrupt:
            _leave_at_once()


def _leave_at_once() -> NoReturn:
    # A second Ctrl-C: not even a thread that installs requirements is waited for.
    os._exit(_INTERRUPTED)


def _forget_in_child() -> None:
    global _guard, _exiting  # noqa: PLW0603 - a thread of the parent may have held the lock
    _guard = threading.RLock()
    _exiting = False
    runs = list(_living)
    _living.clear()
    for run in runs:
        run.abandon()


# As the standard executors do: earlier than atexit, while threads can still be joined. It has to be registered
# before the interpreter ends, so at import and not at the first submit.
# There is no public way, so where the private one is missing the ordinary end has to do.
getattr(threading, "_register_atexit", atexit.register)(_finish)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
