"""Pools of threads that go on working while the interpreter ends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Threads"]


class Threads(ThreadPoolExecutor):
    """Does calls whose results nobody asks for; what they raise is their own affair."""

    def do(self, call: Callable[..., object], *args: Any) -> None:
        """Have *call* made by an idle thread or a new one.

        Python 3.12.0 and 3.12.1 refuse new threads as soon as the main thread has ended (python/cpython#113964).
        Then those that are there do the work: the call is in their queue before a new one is asked for.
        """
        try:
            self.submit(call, *args)
        except RuntimeError:
            if self._shutdown or not self._threads:
                raise
