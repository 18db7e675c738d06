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

from benchmarks.peers import peak


def receive(array):
    _print_peak_at_exit()
    return int(array[0]) + int(array[-1])


def make(items):
    import numpy as np

    _print_peak_at_exit()
    return np.ones(items)


def _print_peak_at_exit():
    # At the end, since the answer is pickled after the function returned. By path: the task cannot import this folder.
    import atexit
    import os

    def show():
        if os.path.exists("/proc/self/status"):
            with open("/proc/self/status", encoding="ascii") as file:
                print("peak", *[line.split()[1] for line in file if line.startswith("VmHWM:")], flush=True)

    atexit.register(show)


def send(direction, items):
    import numpy as np

    from ascend import AscendExecutor

    array = np.ones(items if direction == "argument" else 1)
    with AscendExecutor(cluster="local", progress=False, stream_logs=False) as executor:
        executor.submit(abs, -1).result()
        start = perf_counter()
        if direction == "argument":
            future = executor.submit(receive, array)
            correct = future.result() == 2
        else:
            future = executor.submit(make, items)
            value = future.result()
            correct = value.shape == (items,) and value[-1] == 1
        seconds = perf_counter() - start
    if not correct:
        sys.exit("the array arrived damaged")
    task = [1024 * int(line.split()[1]) for line in future.logs() if line.startswith("peak ")]
    return {"seconds": seconds, "client": peak(), "task": task[0] if task else None}


def write_and_read(items):
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
