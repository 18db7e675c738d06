"""The contestants, as they run in a process of their own; whatever is imported here counts for none of them."""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Each call has an argument of its own, since some executors keep answers. `abs` needs no import in the task.
_WARM_UP = -1_000_000


def ascend() -> Callable[[], Any]:
    from ascend import AscendExecutor

    return lambda: AscendExecutor(cluster="local", max_parallel=2, progress=False)


def executorlib() -> Callable[[], Any]:
    peer = import_module("executorlib")
    return lambda: peer.SingleNodeExecutor(max_workers=2, hostname_localhost=True)


def submitit() -> Callable[[], Any]:
    peer = import_module("submitit")

    def construct() -> Any:
        folder = tempfile.mkdtemp(prefix="bench-submitit-")
        executor = peer.LocalExecutor(folder=folder)
        # It has none, and leaves its folder behind.
        executor.shutdown = lambda: shutil.rmtree(folder, ignore_errors=True)
        return executor

    return construct


def process_pool() -> Callable[[], Any]:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    return lambda: ProcessPoolExecutor(2, mp_context=get_context("spawn"))


def thread_pool() -> Callable[[], Any]:
    from concurrent.futures import ThreadPoolExecutor

    return lambda: ThreadPoolExecutor(1)


LOADERS = {
    "ascend": ascend,
    "executorlib": executorlib,
    "submitit": submitit,
    "ProcessPoolExecutor": process_pool,
    "ThreadPoolExecutor": thread_pool,
}


def call_once_and_again(peer: str, calls: int) -> dict[str, Any]:
    """Return seconds: of the import, from constructor to first result, of each further call, of the end."""
    begin = perf_counter()
    construct = LOADERS[peer]()
    loaded = perf_counter()
    executor = construct()
    executor.submit(abs, _WARM_UP).result()
    first = perf_counter()
    trips = []
    for number in range(calls):
        start = perf_counter()
        executor.submit(abs, -number).result()
        trips.append(perf_counter() - start)
    last = perf_counter()
    executor.shutdown()
    return {"import": loaded - begin, "first": first - loaded, "trips": trips, "end": perf_counter() - last}


def map_many(peer: str, tasks: int, chunksize: int, seconds: float) -> dict[str, Any]:
    """Return calls a second; with a peer so slow that *tasks* calls take longer than *seconds*, of fewer calls."""
    executor = LOADERS[peer]()()
    executor.submit(abs, _WARM_UP).result()
    start = perf_counter()
    executor.submit(abs, _WARM_UP - 1).result()
    trip = perf_counter() - start
    # Two calls run side by side.
    count = tasks if chunksize > 1 else min(tasks, max(10, int(2 * seconds / trip)))
    numbers = range(1, count + 1)
    start = perf_counter()
    if hasattr(executor, "map"):
        options = {"chunksize": chunksize} if chunksize > 1 else {}
        values = list(executor.map(abs, numbers, **options))
    else:
        values = [future.result() for future in [executor.submit(abs, number) for number in numbers]]
    elapsed = perf_counter() - start
    executor.shutdown()
    if values != list(numbers):
        sys.exit(f"{peer} returned wrong values")
    return {"rate": count / elapsed, "tasks": count}


def resident() -> int | None:
    """Return the memory of this process in bytes, where ``/proc`` shows it."""
    return _status("VmRSS")


def peak() -> int | None:
    """Return the most memory that this process ever had, in bytes; nothing on Windows."""
    if (value := _status("VmHWM")) is not None:
        return value
    with suppress(ImportError):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return None


def _status(name: str) -> int | None:
    with suppress(OSError), Path("/proc/self/status").open(encoding="ascii") as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    return None
