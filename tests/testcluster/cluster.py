"""Starts, joins and stops a cluster."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from filelock import FileLock

from tests.testcluster import cgroups, images, parts
from tests.testcluster.api import Api
from tests.testcluster.build import CLUSTER, MINIO, PAUSE
from tests.testcluster.certificates import Authority
from tests.testcluster.network import Network, cut_cable, free_network, lay_cable
from tests.testcluster.packages import ensure_packages
from tests.testcluster.paths import ROOT, ClusterError, State, cache
from tests.testcluster.report import report

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "ascend"
BUCKET = "ascend"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
_PATIENCE = 120.0
_NAMESPACES = ("--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc")


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Hold the lock of everything that starts and stops clusters."""
    cache().mkdir(parents=True, exist_ok=True)
    with FileLock(cache() / "lock"):
        yield


def up(state: State) -> None:
    """Have the cluster run: join it, or start it where there is none or a half one."""
    ensure_packages()
    programs = {program.name: str(program.path()) for program in (CLUSTER, MINIO, PAUSE)}
    if process(state) and Api.of_kubeconfig(state.kubeconfig).ready():
        report("joined the one that runs")
        return
    remove(state)
    begin = time.monotonic()
    network = free_network()
    state.folder.mkdir(parents=True)
    (state.folder / "log").mkdir()
    keys = {"access_key": secrets.token_hex(8), "secret_key": secrets.token_hex(16)}
    state.note(network=asdict(network), programs=programs, clone=str(ROOT), **keys)
    _write_certificates(state, network)
    cgroups.create(state.name)
    _start_node(state, network)
    try:
        _finish(state, network)
    except BaseException:
        kill(state)
        raise
    report(f"ready after {time.monotonic() - begin:.1f} s")


def remove(state: State) -> None:
    """Stop the cluster, and remove what it, or one that was killed, has left."""
    kill(state)
    cut_cable(state.name)
    cgroups.remove(state.name)
    if state.folder.exists():
        shutil.rmtree(state.folder)


def kill(state: State) -> None:
    """End the first process of the cluster's namespaces; the kernel ends all others before it is gone."""
    if pid := process(state):
        os.kill(pid, signal.SIGKILL)
        _until(lambda: not process(state), "the cluster does not end")


def process(state: State) -> int | None:
    """Return the process that holds the cluster, if it runs."""
    facts = state.facts()
    pid = facts.get("pid")
    return pid if pid and _started(pid) == facts["started"] else None


def _started(pid: int) -> str | None:
    """Return when *pid* started, which tells it from a later process of that number."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None
    return None if words[0] in "ZX" else words[19]


def _start_node(state: State, network: Network) -> None:
    command = ["unshare", *_NAMESPACES, sys.executable, "-m", "tests.testcluster.node", str(state.folder)]
    with state.log("node").open("ab") as log:
        node = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    children = Path(f"/proc/{node.pid}/task/{node.pid}/children")
    # The namespaces are there as soon as the first process in them is.
    _until(lambda: node.poll() is not None or children.read_text(), "no namespaces")
    if node.poll() is not None:
        raise ClusterError(f"no namespaces can be made: {state.log('node').read_text().strip()}")
    first = int(children.read_text())
    state.note(pid=first, started=_started(first))
    lay_cable(state.name, network, first)


def _finish(state: State, network: Network) -> None:
    """Wait until all parts serve, and give them what users find there."""
    api = Api.of_kubeconfig(state.kubeconfig)
    _wait(state, api.ready, "the API server is not ready")
    images.push_all(parts.registry(network))
    client = boto3.client(
        "s3",
        endpoint_url=parts.storage(network),
        region_name="us-east-1",
        aws_access_key_id=state.facts()["access_key"],
        aws_secret_access_key=state.facts()["secret_key"],
    )
    client.create_bucket(Bucket=BUCKET)
    api.create("namespaces", {"metadata": {"name": NAMESPACE, "labels": RESTRICTED}})
    _wait(state, lambda: _node_ready(api), "the node is not ready")
    _wait(state, lambda: api.find("serviceaccounts", NAMESPACE), "the controllers are not ready")


def _node_ready(api: Api) -> bool:
    conditions = (each for node in api.find("nodes") for each in node["status"].get("conditions", []))
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _wait(state: State, condition, what: str) -> None:
    def check() -> bool:
        if not process(state):
            raise ClusterError(
                f"the cluster ended: {state.log('node').read_text().strip()}; see {state.folder / 'log'}"
            )
        return bool(condition())

    _until(check, f"{what}; see {state.folder / 'log'}")


def _until(condition, what: str) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise ClusterError(f"{what} after {_PATIENCE:.0f} s")
        time.sleep(0.02)


def _write_certificates(state: State, network: Network) -> None:
    authority = Authority(state.folder / "pki")
    authority.key_pair("tokens")
    here = (network.node, "127.0.0.1", "10.91.0.1", parts.NODE, "localhost", "kubernetes.default.svc")
    authority.issue("server", parts.NODE, names=here)
    authority.issue("kubelet-client", "testcluster:kubelet-client", "system:masters")
    clients = {
        "admin": ("admin", "system:masters"),
        "controllers": ("system:kube-controller-manager", ""),
        "scheduler": ("system:kube-scheduler", ""),
        "node": (f"system:node:{parts.NODE}", "system:nodes"),
    }
    for file, (name, group) in clients.items():
        authority.issue(file, name, group)
        authority.kubeconfig(file, parts.server(network), NAMESPACE)


def image(state: State, name: str, version: str) -> str:
    """Return the reference of an image that is made on request, in the registry of the cluster that runs."""
    python = images.pythons().get(version)
    if not python:
        raise ClusterError(f"there is no Python {version} here to make the image {name} from; install it")
    return images.push(parts.registry(Network(**state.facts()["network"])), name, version, python)


def exports(state: State) -> dict[str, str]:
    """Return what a shell needs to use the cluster."""
    facts = state.facts()
    network = Network(**facts["network"])
    return {
        "KUBECONFIG": str(state.kubeconfig),
        "ASCEND_NAMESPACE": NAMESPACE,
        "ASCEND_BASE_IMAGE": f"{parts.registry(network)}/python:{{python}}-slim",
        "ASCEND_STORAGE": f"s3://{BUCKET}/tasks",
        "AWS_ACCESS_KEY_ID": facts["access_key"],
        "AWS_SECRET_ACCESS_KEY": facts["secret_key"],
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": parts.storage(network),
        "AWS_ALLOW_HTTP": "true",
    }
