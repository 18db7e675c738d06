"""One small call through `local`, beside others that start a process for a call, and beside a bare process."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.measure import OURS, Options, Row, Table, alternate, environ, in_child, installed

if TYPE_CHECKING:
    from collections.abc import Callable

POOL = "ProcessPoolExecutor"
FLOOR = "floor: a bare Python process"
NOTES = {
    OURS: "a process a call",
    "executorlib": "a process a call",
    "submitit": "a process a call; looks for the end once a second",
    POOL: "spawned for the call, then shut down",
    FLOOR: 'subprocess.run([python, "-c", "pass"])',
}


def run(options: Options) -> list[Table]:
    peers = ["executorlib", "submitit"] if options.peers else []
    absent = {name: "not installed" for name in peers if not installed(name)}
    contestants: dict[str, Callable[[], dict[str, Any]]] = {
        OURS: partial(_in_child, OURS, options.calls),
        "executorlib": partial(_in_child, "executorlib", options.calls),
        # A second each.
        "submitit": partial(_in_child, "submitit", 1),
        POOL: partial(_in_child, POOL, 0),
        FLOOR: partial(_bare, options.calls),
    }
    wanted = {OURS, POOL, FLOOR, *peers} - set(absent)
    results, failures = alternate({k: v for k, v in contestants.items() if k in wanted}, options.runs)
    missing = absent | failures

    def table(title: str, values: Callable[[str, dict[str, Any]], list[float]], labels: list[str]) -> Table:
        rows = [
            Row(
                label,
                [1000 * value for result in results.get(label, []) for value in values(label, result)],
                missing.get(label, NOTES[label]),
            )
            for label in labels
        ]
        return Table(title, "ms", rows)

    executors = [OURS, *peers, POOL]
    return [
        table("one call, submit to result, after a warm-up call", _trips, [*executors, FLOOR]),
        table("from the constructor to the first result", lambda _, result: [result["first"]], executors),
        table("from the import to the first result", lambda _, result: [result["import"] + result["first"]], executors),
    ]


def _in_child(peer: str, calls: int) -> dict[str, Any]:
    found: dict[str, Any] = in_child("benchmarks.peers", "call_once_and_again", peer=peer, calls=calls)
    return found


def _trips(label: str, result: dict[str, Any]) -> list[float]:
    if label == POOL:
        return [result["first"] + result["end"]]
    trips: list[float] = result["trips"]
    return trips


def _bare(calls: int) -> dict[str, Any]:
    trips = []
    for _ in range(calls):
        start = perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], env=environ(), check=True)
        trips.append(perf_counter() - start)
    return {"trips": trips}
