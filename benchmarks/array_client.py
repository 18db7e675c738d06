"""Sends one large array there or back, or writes it to a file and reads it; run as a program of its own.

As a program, so that its functions travel by value: a task needs nothing of this folder.
"""

from __future__ import annotations

import json
import pickle
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.peers import peak


def receive(array: Any) -> int:
    _print_peak_at_exit()
    return int(array[0]) + int(array[-1])


def make(items: int) -> Any:
    import numpy as np

    _print_peak_at_exit()
    return np.ones(items)


def _print_peak_at_exit() -> None:
    # At the end, since the answer is pickled after the function returned. By path: the task cannot import this folder.
    import atexit
    from pathlib import Path

    def show() -> None:
        status = Path("/proc/self/status")
        if status.exists():
            lines = status.read_text(encoding="ascii").splitlines()
            print("peak", *[line.split()[1] for line in lines if line.startswith("VmHWM:")], flush=True)

    atexit.register(show)


def send(direction: str, items: int) -> dict[str, Any]:
    import numpy as np

    from ascend import AscendExecutor

    array = np.ones(items if direction == "argument" else 1)
    with AscendExecutor(cluster="local", progress=False, stream_logs=False) as executor:
        executor.submit(abs, -1).result()
        start = perf_counter()
        future: Any = executor.submit(receive, array) if direction == "argument" else executor.submit(make, items)
        value = future.result()
        seconds = perf_counter() - start
    if value != 2 if direction == "argument" else (value.shape != (items,) or value[-1] != 1):
        sys.exit("the array arrived damaged")
    task = [1024 * int(line.split()[1]) for line in future.logs() if line.startswith("peak ")]
    return {"seconds": seconds, "client": peak(), "task": task[0] if task else None}


def write_and_read(items: int) -> dict[str, Any]:
    import numpy as np

    array = np.ones(items)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "array")
        start = perf_counter()
        with path.open("wb") as file:
            pickle.dump(array, file, protocol=5)
        with path.open("rb") as file:
            value = pickle.load(file)
        seconds = perf_counter() - start
    if value[-1] != 1:
        sys.exit("the array was read wrongly")
    return {"seconds": seconds, "client": peak(), "task": None}


if __name__ == "__main__":
    what, size = sys.argv[1], int(sys.argv[2])
    print(json.dumps(write_and_read(size) if what == "pickle" else send(what, size)))
