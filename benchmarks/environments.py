"""Calls that need packages, each way to an environment beside the others, pip in the pod and bare Jobs, in one run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.kubernetes import BARE, PYTHON
from benchmarks.measure import ROOT, ChildError, Options, Row, Table

ENVIRONMENTS = {
    "small": ["cloudpickle", "packaging"],
    "science": ["numpy", "pandas", "scikit-learn"],
}
_SECONDS = 3600
_WAYS = ("pip in the pod", "uv", "layer", "kaniko", "buildkit")


def run(options: Options) -> list[Table]:
    from tests.testcluster import access
    from tests.testcluster.namespaces import temporary_namespace
    from tests.testcluster.paths import ClusterError, State

    much = {"rounds": max(1, options.runs // 2), "again": options.calls, "environments": ENVIRONMENTS}
    subprocess.run([sys.executable, ".ci/environments.py", "demo"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    try:
        cluster = access.own_access(State.of_this_clone())
    except ClusterError as error:
        return [Table("from submit to the first result, with packages", "s", [Row("layer", [], str(error))])]
    with tempfile.TemporaryDirectory() as folder, temporary_namespace(cluster, Path(folder)) as namespace:
        found = _client(much, namespace.environ, folder)
    return _tables(found, list(ENVIRONMENTS))


def _client(much: dict[str, Any], variables: dict[str, str], folder: str) -> dict[str, Any]:
    minor = subprocess.run(
        [PYTHON, "-c", "import sys; print(*sys.version_info[:2], sep='.')"], capture_output=True, text=True, check=True
    ).stdout.strip()
    image = variables["ASCEND_BASE_IMAGE"].replace("{python}", minor)
    given = {
        **os.environ,
        **variables,
        "BENCH_IMAGE": image,
        "BENCH_REGISTRY": f"http://{image.partition('/')[0]}/bench",
        "XDG_CACHE_HOME": folder,
    }
    command = [str(PYTHON), "-P", str(ROOT / "benchmarks" / "environments_client.py"), json.dumps(much)]
    done = subprocess.run(
        command, cwd=folder, env=given, stdout=subprocess.PIPE, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        raise ChildError(f"exit code {done.returncode}")
    measured: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return measured


def _tables(found: dict[str, Any], names: list[str]) -> list[Table]:
    tables = []
    for name in names:
        tables.append(
            Table(
                f"{name}: from submit to the first result, nothing resolved or built",
                "s",
                _rows(found, "first", name),
                ours="layer",
            )
        )
        tables.append(
            Table(f"{name}: the first call of the next client", "s", _rows(found, "next", name), ours="layer")
        )
        tables.append(
            Table(
                f"{name}: every later call",
                "s",
                [*_rows(found, "later", name), Row(BARE, found["bare"])],
                ours="layer",
            )
        )
    return tables


def _rows(found: dict[str, Any], what: str, name: str) -> list[Row]:
    rows = []
    for way in _WAYS:
        key = f"{name}/{way}"
        values = found[what].get(key, [])
        if values or key in found["failed"]:
            rows.append(Row(way, values, found["failed"].get(key, "")))
    return rows
