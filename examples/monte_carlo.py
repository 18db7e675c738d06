"""Estimate pi by throwing darts: many small calls, a few tasks."""

from __future__ import annotations

import random
from statistics import mean, stdev

from ascend import AscendExecutor

THROWS = 20_000
CALLS = 64


def estimate(seed: int) -> float:
    source = random.Random(seed)
    hits = sum(source.random() ** 2 + source.random() ** 2 <= 1 for _ in range(THROWS))
    return 4 * hits / THROWS


def main() -> None:
    with AscendExecutor(timeout=120) as executor:
        # A task is a process, which takes longer to start than this function takes to run: 16 calls share one.
        estimates = list(executor.map(estimate, range(CALLS), chunksize=16))
    print(f"pi is {mean(estimates):.3f}, give or take {stdev(estimates) / CALLS**0.5:.3f}")


if __name__ == "__main__":
    main()
