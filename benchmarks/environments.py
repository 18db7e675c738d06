"""Calls that need packages, each way to an environment beside the others, pip in the pod and bare Jobs, in one run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.kubernetes import BARE
from benchmarks.measure import ROOT, ChildError, Options, Row, Table, minor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.testcluster.access import Access
    from tests.testcluster.namespaces import Namespace
    from tests.testcluster.paths import State

ENVIRONMENTS = {
    "small": ["cloudpickle", "packaging"],
    "science": ["numpy", "pandas", "scikit-learn"],
}
PYTHON = ROOT / ".cache" / "venvs" / "bench" / "bin" / "python"
_SECONDS = 3600
_WAYS = ("pip in the pod", "uv", "uv, package cache", "layer", "kaniko", "buildkit")


def run(options: Options) -> list[Table]:
    from tests.testcluster import access
    from tests.testcluster.namespaces import temporary_claim, temporary_namespace
    from tests.testcluster.paths import ClusterError, State

    much = {"rounds": max(1, options.runs // 2), "again": options.calls, "environments": ENVIRONMENTS}
    subprocess.run([sys.executable, ".ci/environments.py", "bench"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    state = State.of_this_clone()
    try:
        cluster = access.own_access(state)
    except ClusterError as error:
        return [Table("from submit to the first result, with packages", "s", [Row("layer", [], str(error))])]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        namespace = stack.enter_context(temporary_namespace(cluster, Path(folder)))
        given = {**namespace.environ, "BENCH_CLAIM": stack.enter_context(temporary_claim(namespace))}
        given |= stack.enter_context(_builders(cluster, namespace, state, folder))
        found = _client(much, given, folder)
    return _tables(found, list(ENVIRONMENTS))


@contextmanager
def _builders(cluster: Access, namespace: Namespace, state: State, folder: str) -> Iterator[dict[str, str]]:
    """Make what the plugins need: their images, a namespace each, named in the variables, and settings in *folder*."""
    from tests.testcluster.cluster import image
    from tests.testcluster.cluster import lock as cluster_lock
    from tests.testcluster.namespaces import temporary_builders

    def make_image(name: str) -> str:
        with cluster_lock():
            return image(state, name, minor(PYTHON))

    with temporary_builders(cluster, namespace, make_image) as (found, lines):
        Path(folder, "ascend.toml").write_text("\n".join(lines), encoding="utf-8")
        yield {f"BENCH_NAMESPACE_{name.upper()}": made for name, made in found.items()}


def _client(much: dict[str, Any], variables: dict[str, str], folder: str) -> dict[str, Any]:
    image = variables["ASCEND_BASE_IMAGE"].replace("{python}", minor(PYTHON))
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
    titles = {
        "first": "from submit to the first result, nothing resolved or built",
        "environment": "of it, until the environment was resolved, and built where that is done before the call",
        "next": "the first call of the next client",
        "later": "every later call",
    }
    tables = []
    for name in names:
        for what, title in titles.items():
            beside = [Row(BARE, found["bare"])] if what == "later" else []
            tables.append(Table(f"{name}: {title}", "s", [*_rows(found, what, name), *beside], ours="layer"))
    return tables


def _rows(found: dict[str, Any], what: str, name: str) -> list[Row]:
    rows = []
    for way in _WAYS:
        key = f"{name}/{way}"
        values = found[what].get(key, [])
        if values or key in found["failed"]:
            rows.append(Row(way, values, found["failed"].get(key, "")))
    return rows
