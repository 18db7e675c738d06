"""What all benchmarks share: options, alternating runs in fresh processes, statistics, tables and JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

OURS = "ascend"
ROOT = Path(__file__).resolve().parent.parent
_VERSIONS = ("ascend", "cloudpickle", "numpy", "executorlib", "submitit", "urllib3")
_CHILD_SECONDS = 1800
_CHILD = "import json, sys; from {module} import {function} as f; print(json.dumps(f(**json.loads(sys.argv[1]))))"


@dataclass(frozen=True)
class Options:
    """How much is measured; *peers* false leaves out all that is not installed with the project."""

    runs: int = 5
    calls: int = 5
    tasks: int = 200
    seconds: float = 6.0
    imports: int = 15
    pending: int = 10_000
    array_bytes: int = 10**9
    soak: int = 10_000
    peers: bool = True


FULL = Options()
QUICK = Options(runs=3, calls=3, tasks=100, seconds=3.0, imports=7, pending=2_000, array_bytes=2 * 10**8, soak=1_000)


class ChildError(Exception):
    """A process of a benchmark failed; the message holds the end of what it wrote."""


@dataclass(frozen=True)
class Row:
    """What was measured of one contestant; without values, *note* says why there are none."""

    label: str
    values: list[float]
    note: str = ""

    @property
    def median(self) -> float | None:
        return statistics.median(self.values) if self.values else None

    @property
    def spread(self) -> tuple[float, float] | None:
        return (min(self.values), max(self.values)) if self.values else None


@dataclass(frozen=True)
class Table:
    """One quantity of all contestants; *ours* is the label of the row that the others are compared with."""

    title: str
    unit: str
    rows: list[Row]
    better: Literal["lower", "higher"] = "lower"
    ours: str = OURS
    notes: list[str] = field(default_factory=list)

    def ratio(self, row: Row) -> float | None:
        """Return our median divided by that of *row*; nothing for our own row and for rows without values."""
        ours = next((each.median for each in self.rows if each.label == self.ours), None)
        if ours is None or not row.median or row.label == self.ours:
            return None
        return ours / row.median


def alternate(contestants: Mapping[str, Callable[[], T]], runs: int) -> tuple[dict[str, list[T]], dict[str, str]]:
    """Let all take turns, *runs* times, every other time in reverse: what slows the machine down slows all down.

    Returns what each returned, and for those that failed why. A failure of ours is raised.
    """
    results: dict[str, list[T]] = {label: [] for label in contestants}
    failures: dict[str, str] = {}
    for number in range(runs):
        order = list(contestants)
        for label in order if number % 2 == 0 else reversed(order):
            if label in failures:
                continue
            try:
                results[label].append(contestants[label]())
            except ChildError as exc:
                if label.startswith(OURS):
                    raise
                failures[label] = f"failed: {str(exc).strip().splitlines()[-1]}"
    return results, failures


def in_child(module: str, function: str, **arguments: Any) -> Any:
    """Return what *function* of *module* returns in a fresh interpreter; arguments and value travel as JSON."""
    code = _CHILD.format(module=module, function=function)
    return last_json([sys.executable, "-c", code, json.dumps(arguments)])


def last_json(command: list[str]) -> Any:
    """Run *command* in the project's root and return the last line that it prints, read as JSON."""
    done = subprocess.run(
        command, cwd=ROOT, env=environ(), capture_output=True, text=True, timeout=_CHILD_SECONDS, check=False
    )
    if done.returncode or not done.stdout.strip():
        message = f"exit code {done.returncode}\n{done.stdout[-500:]}{done.stderr[-2000:]}"
        raise ChildError(message)
    return json.loads(done.stdout.strip().splitlines()[-1])


def minor(python: Path) -> str:
    """Return the minor version of the interpreter *python*, as in ``3.13``."""
    code = "import sys; print(*sys.version_info[:2], sep='.')"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def environ() -> dict[str, str]:
    """Return this process's variables without those that would change what is measured."""
    # A Python that may not keep bytecode compiles everything in every task.
    ignored = {"PYTHONDONTWRITEBYTECODE", "PYTHONPROFILEIMPORTTIME", "COVERAGE_PROCESS_START"}
    return {name: value for name, value in os.environ.items() if name not in ignored and not name.startswith("ASCEND_")}


def installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def machine() -> dict[str, Any]:
    """Return what figures depend on, and nothing that identifies the machine."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cores": cores(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) if installed(name) else "absent" for name in _VERSIONS},
    }


def cores() -> int:
    # Not on macOS and Windows.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def document(options: Options, tables: Mapping[str, list[Table]]) -> dict[str, Any]:
    """Return everything that was measured as what JSON can hold."""
    return {
        "machine": machine(),
        "options": asdict(options),
        "benchmarks": {
            name: [
                {
                    **{key: getattr(table, key) for key in ("title", "unit", "better", "ours", "notes")},
                    "rows": [
                        {**asdict(row), "median": row.median, "spread": row.spread, "ratio": table.ratio(row)}
                        for row in table.rows
                    ],
                }
                for table in each
            ]
            for name, each in tables.items()
        },
    }
