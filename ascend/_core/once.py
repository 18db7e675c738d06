"""What many tasks need and one of them makes."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Once"]

T = TypeVar("T")


class Once(Generic[T]):
    """Holds one value, made by whoever asks for it first; the others wait for that.

    Where the attempt fails, its error belongs to all who have waited since before its end: a server that takes 20 s to
    not answer would take them again for each.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._made: list[T] = []
        self._error: BaseException | None = None
        self._origin: TracebackType | None = None
        self._failed_at = 0.0

    def get(self, make: Callable[[], T], *, since: float) -> tuple[T, bool]:
        """Return the value, and whether this call has made it; *since* says when its task began to wait."""
        with self._guard:
            if self._made:
                return self._made[0], False
            if self._error is not None and since <= self._failed_at:
                # Without the frames of those who got it before.
                raise self._error.with_traceback(self._origin)
            try:
                self._made.append(make())
            except BaseException as exc:
                self._error, self._origin, self._failed_at = exc, exc.__traceback__, monotonic()
                raise
            return self._made[0], True
