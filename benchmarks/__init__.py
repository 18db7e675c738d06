"""Measures the executor beside its peers, in the same run: `python -m benchmarks`."""
