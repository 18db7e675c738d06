"""A large array as argument and as result: peak memory on both sides, and throughput beside pickle and a file."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Options, Row, Table, alternate, installed, last_json

if TYPE_CHECKING:
    from collections.abc import Callable

ARGUMENT = "ascend: as argument"
RESULT = "ascend: as result"
FILE = "pickle to a file and back"
_WAYS = {ARGUMENT: "argument", RESULT: "result", FILE: "pickle"}
_NOTES = {FILE: "protocol 5, one process, the same folder for temporary files"}


def run(options: Options) -> list[Table]:
    items = options.array_bytes // 8
    size = 8 * items
    if installed("numpy"):
        ways = {label: partial(_client, way, items) for label, way in _WAYS.items()}
        found, missing = alternate(ways, min(options.runs, 3))
    else:
        found, missing = {}, dict.fromkeys(_WAYS, "numpy is not installed")
    megabytes = f"an array of {size / 1e6:,.0f} MB"

    def rows(labels: list[str], value: Callable[[dict[str, Any]], float | None]) -> list[Row]:
        made = []
        for label in labels:
            values = [number for result in found.get(label, []) if (number := value(result)) is not None]
            note = missing.get(label, _NOTES.get(label, "") if values else "this system does not show it")
            made.append(Row(label, values, note))
        return made

    def peak(side: str) -> Callable[[dict[str, Any]], float | None]:
        return lambda result: None if result[side] is None else result[side] / size

    return [
        Table(
            f"{megabytes}: throughput, submit to result",
            "MB/s",
            rows(list(_WAYS), lambda result: size / 1e6 / result["seconds"]),
            better="higher",
            ours=ARGUMENT,
        ),
        Table(f"{megabytes}: peak memory of the client", "its size", rows(list(_WAYS), peak("client")), ours=ARGUMENT),
        Table(
            f"{megabytes}: peak memory of the task", "its size", rows([ARGUMENT, RESULT], peak("task")), ours=ARGUMENT
        ),
    ]


def _client(way: str, items: int) -> dict[str, Any]:
    found: dict[str, Any] = last_json([sys.executable, "-m", "benchmarks.array_client", way, str(items)])
    return found
