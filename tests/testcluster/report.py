"""Progress, on standard error: standard output is for the shell that evaluates it."""

from __future__ import annotations

import sys


def report(text: str) -> None:
    """Say what is being done."""
    print(f"testcluster: {text}", file=sys.stderr, flush=True)
