"""The parts of `map`: what is checked, cut into tasks, and put together again."""

from __future__ import annotations

from itertools import islice
from time import monotonic

# A task of a chunked map imports this module: nothing here may cost it time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeVar

    from ascend._core.future import AscendFuture

    R = TypeVar("R")


def check_map(chunksize: int, buffersize: object) -> None:
    if chunksize < 1:
        msg = f"chunksize must be >= 1, not {chunksize}"
        raise ValueError(msg)
    if buffersize is None:
        return
    if not isinstance(buffersize, int):
        msg = "buffersize must be an integer or None"
        raise TypeError(msg)
    if buffersize < 1:
        msg = "buffersize must be None or > 0"
        raise ValueError(msg)


def batched(calls: Iterable[tuple[Any, ...]], size: int) -> Iterator[tuple[list[tuple[Any, ...]]]]:
    """Yield the arguments of `call_each` for every *size* calls."""
    source = iter(calls)
    while batch := list(islice(source, size)):
        yield (batch,)


def call_each(fn: Callable[..., R], calls: list[tuple[Any, ...]]) -> list[R]:
    return [fn(*args) for args in calls]


def results_of(
    futures: deque[AscendFuture[R]], deadline: float | None, refill: Callable[[], Iterable[AscendFuture[R]]]
) -> Iterator[R]:
    """Yield the results in order; *refill* is asked for more after each. What is left at the end is cancelled."""
    try:
        while futures:
            # No reference to the future may be left when its result is handed out.
            yield _next_result(futures, deadline)
            futures.extend(refill())
    finally:
        for future in futures:
            future.cancel()


def flatten(lists: Iterator[list[R]]) -> Iterator[R]:
    try:
        for each in lists:
            each.reverse()
            while each:
                yield each.pop()
    finally:
        lists.close()  # type: ignore[attr-defined] # it is the generator above


def _next_result(futures: deque[AscendFuture[R]], deadline: float | None) -> R:
    future = futures.popleft()
    try:
        try:
            return future.result(None if deadline is None else deadline - monotonic())
        except KeyboardInterrupt:
            # Ctrl-C here, and not an answer: whoever waits for a map has no other hold of its tasks.
            if not future.done():
                for each in (future, *futures):
                    each.kill()
            raise
        finally:
            future.cancel()
    finally:
        # Break the cycle with the exception's traceback.
        del future
