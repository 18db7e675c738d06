"""Calls a second by `map`, one call a task and fifty a task."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.measure import OURS, Options, Row, Table, alternate, environ, in_child, installed

if TYPE_CHECKING:
    from collections.abc import Callable

POOL = "ProcessPoolExecutor"
FLOOR = "floor: bare Python processes"
CHUNK = 50
NOTES = {
    OURS: "a process a task, 2 at a time",
    "executorlib": "a process a call, 2 at a time",
    "submitit": "a process a call, all at once",
    POOL: "a pool of 2 spawned processes: no process a call",
    FLOOR: "2 at a time",
}


def run(options: Options) -> list[Table]:
    peers = ["executorlib", "submitit"] if options.peers else []
    absent = {name: "not installed" for name in peers if not installed(name)}
    names = [OURS, *peers, POOL]
    runs = min(options.runs, 3)
    contestants: dict[str, Callable[[], dict[str, Any]]] = {
        name: partial(_map, name, 1, options) for name in names if name not in absent
    }
    contestants[FLOOR] = partial(_bare, min(options.tasks, 50))
    singles, failures = alternate(contestants, runs)
    chunked, _ = alternate({name: partial(_map, name, CHUNK, options) for name in (OURS, POOL)}, runs)
    missing = absent | failures
    return [
        Table(
            "map, a task for each call",
            "calls a second",
            [_row(name, singles.get(name, []), missing) for name in (*names, FLOOR)],
            better="higher",
        ),
        Table(
            f"map with chunksize={CHUNK}",
            "calls a second",
            [_row(name, chunked.get(name, []), missing, chunked=True) for name in names],
            better="higher",
        ),
    ]


def _map(peer: str, chunksize: int, options: Options) -> dict[str, Any]:
    found: dict[str, Any] = in_child(
        "benchmarks.peers", "map_many", peer=peer, tasks=options.tasks, chunksize=chunksize, seconds=options.seconds
    )
    return found


def _row(name: str, results: list[dict[str, Any]], missing: dict[str, str], *, chunked: bool = False) -> Row:
    note = missing.get(name, NOTES[name])
    if chunked and not results and name not in missing:
        return Row(name, [], "has no chunksize")
    if results and not chunked:
        counts = sorted({result["tasks"] for result in results})
        note += f"; {' to '.join(str(count) for count in (counts[0], counts[-1])[: len(counts)])} calls"
    return Row(name, [result["rate"] for result in results], note)


def _bare(count: int) -> dict[str, Any]:
    def start(_: int) -> None:
        subprocess.run([sys.executable, "-c", "pass"], env=environ(), check=True)

    with ThreadPoolExecutor(2) as pool:
        begin = perf_counter()
        list(pool.map(start, range(count)))
        return {"rate": count / (perf_counter() - begin), "tasks": count}
