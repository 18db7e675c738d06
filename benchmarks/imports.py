"""How long `import ascend` takes in a fresh interpreter, beside imports that everybody knows."""

from __future__ import annotations

import sys
from functools import partial

from benchmarks.measure import OURS, Options, Row, Table, alternate, installed, last_json

EXECUTOR = "ascend, the executor and decorator"
PEER = "urllib3"
STATEMENTS = {
    OURS: "import ascend",
    EXECUTOR: "from ascend import AscendExecutor, ascend",
    "concurrent.futures, threads": "import concurrent.futures.thread",
    "concurrent.futures, processes": "import concurrent.futures.process",
    PEER: "import urllib3",
}


def run(options: Options) -> list[Table]:
    labels = [label for label in STATEMENTS if options.peers or label != PEER]
    missing = {PEER: "not installed"} if PEER in labels and not installed(PEER) else {}
    contestants = {label: partial(_seconds, STATEMENTS[label]) for label in labels if label not in missing}
    # Not counted: it leaves bytecode behind and fills the page cache.
    alternate(contestants, 1)
    found, failures = alternate(contestants, options.imports)
    missing |= failures
    rows = {
        label: Row(label, [1000 * value for value in found.get(label, [])], missing.get(label, STATEMENTS[label]))
        for label in labels
    }
    peers = [rows[label] for label in labels if label not in {OURS, EXECUTOR}]
    return [
        Table("import in a fresh interpreter", "ms", [rows[OURS], *peers], ours=OURS),
        Table("what a program that uses it imports", "ms", [rows[EXECUTOR], *peers], ours=EXECUTOR),
    ]


def _seconds(statement: str) -> float:
    code = f"from time import perf_counter as now; begin = now(); {statement}; print(now() - begin)"
    return float(last_json([sys.executable, "-c", code]))
