"""What a task wrote: its last lines, kept for `AscendFuture.logs` and for the message of a crash."""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Output", "displayed"]

_KEPT_CHARACTERS = 1 << 20

# One for all tasks: most of ten thousand pending ones never write, and nobody follows more than a few.
_arrived = threading.Condition()


def _renew_in_child() -> None:
    global _arrived  # noqa: PLW0603 - a thread of the parent may have held it
    _arrived = threading.Condition()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_in_child)


class Output:
    """The lines of one task, the oldest dropped beyond a million characters."""

    __slots__ = ("_ended", "_first", "_lines", "_size")

    def __init__(self) -> None:
        self._lines: deque[str] | None = None
        self._size = 0
        # The number of the oldest line that is kept.
        self._first = 0
        self._ended = False

    def add(self, lines: Sequence[str]) -> None:
        with _arrived:
            kept = self._lines = deque() if self._lines is None else self._lines
            for line in lines:
                kept.append(line)
                self._size += len(line) + 1
            while self._size > _KEPT_CHARACTERS and len(kept) > 1:
                self._size -= len(kept.popleft()) + 1
                self._first += 1
            _arrived.notify_all()

    def end(self) -> None:
        """Tell those who follow that nothing more comes."""
        with _arrived:
            self._ended = True
            _arrived.notify_all()

    def abandon(self) -> None:
        """End in a forked child, where a lock may belong to a thread of the parent."""
        self._ended = True

    def tail(self, count: int | None) -> tuple[str, ...]:
        """Return the last *count* lines, or all that are kept."""
        with _arrived:
            lines = tuple(self._lines or ())
        return lines if count is None else lines[-count:]

    def read(self, *, follow: bool) -> Iterator[str]:
        """Yield the lines that are kept; with *follow* also those to come, until the task has ended."""
        position = 0
        while True:
            with _arrived:
                while follow and not self._ended and position >= self._first + len(self._lines or ()):
                    _arrived.wait()
                dropped = self._first - position
                fresh = list(self._lines or ())[max(0, -dropped) :]
                position = self._first + len(self._lines or ())
                ended = self._ended
            if dropped > 0:
                yield f"... {dropped} earlier lines are no longer kept"
            yield from fresh
            if ended or not follow:
                return


def displayed(line: str) -> str:
    """Return what a terminal would show of *line*: a progress bar rewrites its own with carriage returns."""
    return line.rstrip("\r").rsplit("\r", 1)[-1]
