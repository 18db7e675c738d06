"""Memory of futures that wait for their turn, and the time that each `submit` takes."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
from functools import partial
from typing import Any

from benchmarks.measure import OURS, Options, Row, Table, alternate, in_child
from benchmarks.peers import LOADERS, resident

PEER = "ThreadPoolExecutor"
_UNIT = 10_000


def run(options: Options) -> list[Table]:
    traced, sizes = {}, {}
    for label in (OURS, PEER):
        traced[label] = partial(_child, label, options.pending, traced=True)
        sizes[label] = partial(_child, label, options.pending, traced=False)
    runs = min(options.runs, 3)
    allocated, _ = alternate(traced, runs)
    measured, _ = alternate(sizes, runs)
    scale = _UNIT / options.pending / 1e6

    def rows(found: dict[str, list[dict[str, Any]]], key: str, factor: float) -> list[Row]:
        made = []
        for label, results in found.items():
            values = [factor * result[key] for result in results if result[key] is not None]
            made.append(Row(label, values, "" if values else "this system does not show it"))
        return made

    return [
        Table(f"memory of {_UNIT:,} pending futures, as allocated", "MB", rows(allocated, "traced", scale)),
        Table(f"memory of {_UNIT:,} pending futures, resident", "MB", rows(measured, "resident", scale)),
        Table("submit, while all slots are taken", "µs", rows(measured, "seconds", 1e6 / options.pending)),
    ]


def _child(peer: str, count: int, *, traced: bool) -> dict[str, Any]:
    found: dict[str, Any] = in_child("benchmarks.pending", "fill", peer=peer, count=count, traced=traced)
    return found


def fill(peer: str, count: int, traced: bool) -> dict[str, Any]:
    """Block an executor of one slot, submit *count* calls, and return what they cost."""
    executor, release = _blocked(peer)
    gc.collect()
    if traced:
        tracemalloc.start()
    before = resident()
    start = time.perf_counter()
    futures = [executor.submit(abs, -number) for number in range(count)]
    seconds = time.perf_counter() - start
    gc.collect()
    after = resident()
    result = {
        "traced": tracemalloc.get_traced_memory()[0] if traced else None,
        "resident": None if before is None or after is None else after - before,
        "seconds": seconds,
    }
    tracemalloc.stop()
    for future in futures:
        future.cancel()
    release()
    executor.shutdown()
    return result


def _blocked(peer: str) -> tuple[Any, Any]:
    """Return an executor whose only slot is taken, and what frees it."""
    if peer == OURS:
        from ascend import AscendExecutor

        executor = AscendExecutor(cluster="local", max_parallel=1, progress=False)
        executor.submit(abs, -1).result()
        blocker = executor.submit(time.sleep, 600)
        return executor, blocker.kill
    pool, event = LOADERS[peer]()(), threading.Event()
    pool.submit(event.wait)
    return pool, event.set
