"""Ten thousand calls, a hundred at a time: what was taken comes back."""

from __future__ import annotations

import gc
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import pytest

from ascend import AscendExecutor, wait

CALLS = 10_000
PARALLEL = 100
MEBIBYTE = 1 << 20


class Held(NamedTuple):
    """What this process holds."""

    threads: int
    descriptors: int
    memory: int


def held() -> Held:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return Held(threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), pages * 4096)


@pytest.mark.timeout(1200)
@pytest.mark.skipif(sys.platform != "linux", reason="descriptors and memory are read from /proc")
def test_ten_thousand_calls_leave_nothing_behind() -> None:
    with AscendExecutor(cluster="local", max_parallel=1, progress=False) as executor:
        # What is loaded once is no leak.
        assert list(executor.map(abs, range(-3, 0))) == [3, 2, 1]
    before = held()

    with AscendExecutor(cluster="local", max_parallel=PARALLEL, progress=False) as executor:
        futures = [executor.submit(abs, -number) for number in range(CALLS)]
        wait(futures[: CALLS // 10])
        early = held()
        wait(futures[: CALLS * 9 // 10])
        late = held()
        assert [future.result() for future in futures] == list(range(CALLS))
        del futures
    after = held()

    # A thread and a few pipes for each task that runs, and some that settle: no more late than early.
    assert late.threads <= early.threads + PARALLEL
    assert late.descriptors <= early.descriptors + 4 * PARALLEL
    assert late.memory <= early.memory + 64 * MEBIBYTE
    assert after.threads == before.threads
    assert after.descriptors <= before.descriptors
    # Allocators keep some of what 10,000 futures had, and the next ones use it.
    assert after.memory <= before.memory + 64 * MEBIBYTE
