from __future__ import annotations

import pytest

from benchmarks.kubernetes import run
from benchmarks.measure import Options

TINY = Options(runs=1, calls=1, tasks=4)


@pytest.mark.timeout(900, func_only=True)
def test_the_benchmark_on_kubernetes_measures_everything(own_cluster, environ, monkeypatch):
    # It looks for the cluster where its user has it, and not in the folders of a test.
    for name in ("HOME", "XDG_CACHE_HOME"):
        if name in environ:
            monkeypatch.setenv(name, environ[name])
        else:
            monkeypatch.delenv(name, raising=False)

    tables = run(TINY)

    assert len(tables) == 10
    for each in tables:
        assert each.rows, each
        assert all(row.values for row in each.rows), each
