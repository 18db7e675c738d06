"""What a node of the cluster is said to be, and nodes that are only pretended."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from tests.testcluster.api import Api, ApiError, Object
from tests.testcluster.parts import API_SERVER, NODE, is_ready
from tests.testcluster.paths import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.testcluster.paths import State

PRETENDED = {"kwok.x-k8s.io/node": "fake"}
_GPU = "nvidia.com/gpu"


@contextlib.contextmanager
def changed_node(
    state: State,
    api: Api,
    *,
    labels: dict[str, str] | None = None,
    taints: list[Object] | None = None,
    gpus: int | None = None,
) -> Iterator[Object]:
    """Give the node labels, taints and GPUs for a while: one test after the other, but all that run then see them."""
    labels = labels or {}
    with FileLock(state.node_lock):
        before = api.get("nodes", NODE)
        had = {name: before["metadata"]["labels"].get(name) for name in labels}
        try:
            if gpus is not None:
                _advertise(api, str(gpus))
            yield _patch(api, labels, taints)
        finally:
            _patch(api, had, None if taints is None else before["spec"].get("taints", []))
            if gpus is not None:
                _advertise(api, before["status"]["capacity"].get(_GPU))


def _patch(api: Api, labels: Mapping[str, str | None], taints: list[Object] | None) -> Object:
    spec = {} if taints is None else {"taints": taints}
    return api.patch("nodes", NODE, {"metadata": {"labels": labels}, "spec": spec})


def _advertise(api: Api, count: str | None) -> None:
    # The kubelet would take the capacity over into what can be allocated, but only with its next report.
    amounts = {"capacity": {_GPU: count}, "allocatable": {_GPU: count}}
    api.patch("nodes", NODE, {"status": amounts}, part="status")


@contextlib.contextmanager
def pretended_nodes(kwok: Path, state: State, api: Api, nodes: list[Object]) -> Iterator[None]:
    """Add *nodes*, as made by ``pretended_node``: *kwok* says that they are ready and that their pods run."""
    selector = ",".join(f"{name}={value}" for name, value in PRETENDED.items())
    command = [str(kwok), "--kubeconfig", str(state.kubeconfig), "--server-address", "127.0.0.1:0"]
    command += ["--manage-nodes-with-annotation-selector", selector]
    with state.log("kwok").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        for node in nodes:
            api.create("nodes", node)
        for node in nodes:
            api.wait("nodes", node["metadata"]["name"], "", is_ready)
        yield
    finally:
        for node in nodes:
            with contextlib.suppress(ApiError):
                api.delete("nodes", node["metadata"]["name"])
        process.terminate()
        process.wait()


def pretended_node(name: str, *, labels: dict[str, str], capacity: dict[str, str]) -> Object:
    """Return a node that takes only pods that tolerate the taint ``pretended``."""
    amounts = {"cpu": "64", "memory": "256Gi", "pods": "110", "ephemeral-storage": "1Ti", **capacity}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}, "annotations": PRETENDED},
        "spec": {"taints": [{"key": "pretended", "value": "true", "effect": "NoSchedule"}]},
        "status": {"capacity": amounts, "allocatable": amounts},
    }


def api_server(state: State) -> int:
    """Return the process of the API server; when a signal ends it, the node starts it again."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        # Processes end while one looks.
        with contextlib.suppress(OSError):
            words = path.read_bytes().decode().split("\0")
            if API_SERVER in words[1:2] and any(str(state.folder) in word for word in words):
                return int(path.parent.name)
    raise ClusterError(f"no API server of {state.folder} runs here")
