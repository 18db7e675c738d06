"""The command: `python -m benchmarks [NAME...] [--runs N] [--json FILE] [--quick]`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import array, call, environments, imports, kubernetes, pending, rate, soak
from benchmarks.measure import FULL, QUICK, Options, Table, document, machine
from benchmarks.report import show

if TYPE_CHECKING:
    from collections.abc import Callable

BENCHMARKS: dict[str, Callable[[Options], list[Table]]] = {
    "call": call.run,
    "rate": rate.run,
    "import": imports.run,
    "pending": pending.run,
    "array": array.run,
    "soak": soak.run,
    "kubernetes": kubernetes.run,
    "environments": environments.run,
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure ascend beside its peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all if none is given")
    parser.add_argument("--runs", type=int, help="how often each takes its turn")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured there")
    parser.add_argument("--quick", action="store_true", help="smaller, less sure")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    if given.runs is not None and given.runs < 1:
        parser.error("--runs must be at least 1")
    options = QUICK if given.quick else FULL
    if given.runs is not None:
        options = replace(options, runs=given.runs, imports=max(given.runs, options.imports))
    measured = _measure(given.names or list(BENCHMARKS), options)
    if given.json is not None:
        given.json.write_text(json.dumps(document(options, measured), indent=2) + "\n", encoding="utf-8")


def _measure(names: list[str], options: Options) -> dict[str, list[Table]]:
    facts = machine()
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    print(
        f"{facts['system']} {facts['architecture']}, {facts['cores']} cores, Python {facts['python']}; {versions}\n",
        flush=True,
    )
    measured = {}
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        measured[name] = BENCHMARKS[name](options)
        for table in measured[name]:
            show(table)
    return measured


if __name__ == "__main__":
    main()
