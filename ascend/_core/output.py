"""What a task wrote: its last lines, kept for `AscendFuture.logs` and for the message of a crash."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Output"]

_KEPT_CHARACTERS = 1 << 20


class Output:
    """The lines of one task, the oldest dropped beyond a million characters."""

    __slots__ = ("_arrived", "_ended", "_first", "_lines", "_size")

    def __init__(self) -> None:
        self._lines: deque[str] = deque()
        self._size = 0
        # The number of the oldest line that is kept.
        self._first = 0
        self._ended = False
        self._arrived = threading.Condition()

    def add(self, lines: Sequence[str]) -> None:
        with self._arrived:
            for line in lines:
                self._lines.append(line)
                self._size += len(line) + 1
            while self._size > _KEPT_CHARACTERS and len(self._lines) > 1:
                self._size -= len(self._lines.popleft()) + 1
                self._first += 1
            self._arrived.notify_all()

    def end(self) -> None:
        """Tell those who follow that nothing more comes."""
        with self._arrived:
            self._ended = True
            self._arrived.notify_all()

    def tail(self, count: int) -> tuple[str, ...]:
        with self._arrived:
            return tuple(self._lines)[-count:]

    def read(self, *, follow: bool) -> Iterator[str]:
        """Yield the lines that are kept; with *follow* also those to come, until the task has ended."""
        position = 0
        while True:
            with self._arrived:
                while follow and not self._ended and position >= self._first + len(self._lines):
                    self._arrived.wait()
                dropped = self._first - position
                fresh = list(self._lines)[max(0, -dropped) :]
                position = self._first + len(self._lines)
                ended = self._ended
            if dropped > 0:
                yield f"... {dropped} earlier lines are no longer kept"
            yield from fresh
            if ended or not follow:
                return


def displayed(line: str) -> str:
    """Return what a terminal would show of *line*: a progress bar rewrites its own with carriage returns."""
    return line.rstrip("\r").rsplit("\r", 1)[-1]
