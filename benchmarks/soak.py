"""Thousands of trivial calls through one executor: whether it slows down, and whether it leaves anything behind."""

from __future__ import annotations

import gc
import threading
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.measure import Options, Row, Table, in_child
from benchmarks.peers import resident

_PARALLEL = 100
_PARTS = 10
_FIRST = "tenth 1"


def run(options: Options) -> list[Table]:
    found = in_child("benchmarks.soak", "soak", count=options.soak)
    rates = [Row(f"tenth {number}", [rate]) for number, rate in enumerate(found["rates"], 1)]
    before, after, closed = found["before"], found["after"], found["closed"]
    kept = [
        Row(f"{name}: {when}", [facts[name]] if facts[name] is not None else [], _note(facts[name]))
        for name in before
        for when, facts in (("before", before), ("all done", after), ("after shutdown", closed))
    ]
    total = f"{options.soak:,} calls in {found['seconds']:.1f} s, {_PARALLEL} at a time"
    title = f"{options.soak:,} submitted futures, by tenths of them"
    return [
        Table(title, "calls a second", rates, better="higher", ours=_FIRST, notes=[total]),
        Table("what one process holds", "count, or MB", kept, ours=""),
    ]


def _note(value: float | None) -> str:
    return "" if value is not None else "this system does not show it"


def soak(count: int) -> dict[str, Any]:
    """Submit *count* calls to a warm executor and return rates and what the process holds, before and after."""
    from ascend import AscendExecutor

    ends: list[float] = []
    with AscendExecutor(cluster="local", max_parallel=_PARALLEL, progress=False) as executor:
        executor.submit(abs, -1).result()
        before = _held()
        start = perf_counter()
        futures = [executor.submit(abs, -number) for number in range(count)]
        for future in futures:
            future.add_done_callback(lambda _: ends.append(perf_counter()))
        wrong = [number for number, future in enumerate(futures) if future.result() != number]
        del future, futures
        after = _held()
    if wrong:
        message = f"{len(wrong)} calls returned wrong values"
        raise ValueError(message)
    return {
        "seconds": ends[-1] - start,
        "rates": _rates(start, sorted(ends)),
        "before": before,
        "after": after,
        "closed": _held(),
    }


def _rates(start: float, ends: list[float]) -> list[float]:
    """Return calls a second for each tenth of the calls, in the order in which they ended."""
    size = max(1, len(ends) // _PARTS)
    edges = [start, *ends[size - 1 :: size]]
    return [size / max(end - begin, 1e-9) for begin, end in pairwise(edges)][:_PARTS]


def _held() -> dict[str, float | None]:
    gc.collect()
    memory = resident()
    shown = Path("/proc/self/fd")
    return {
        "threads": threading.active_count(),
        "descriptors": len(list(shown.iterdir())) if shown.is_dir() else None,
        "MB resident": None if memory is None else memory / 1e6,
    }
