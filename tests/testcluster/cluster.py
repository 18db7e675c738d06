"""Starts, joins and stops a cluster."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import boto3
from filelock import FileLock, Timeout

from tests.testcluster import cgroups, images, parts, processes
from tests.testcluster.api import Api
from tests.testcluster.build import CLUSTER, MINIO, PAUSE
from tests.testcluster.certificates import Authority
from tests.testcluster.network import Network, cut_cable, free_network, lay_cable
from tests.testcluster.packages import ensure_packages
from tests.testcluster.paths import ROOT, ClusterError, State, cache, hand_over
from tests.testcluster.processes import process, until
from tests.testcluster.report import report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMESPACE = "ascend"
BUCKET = "ascend"
REGION = "us-east-1"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Hold the lock of everything that builds, starts and stops."""
    cache().mkdir(parents=True, exist_ok=True)
    held = FileLock(cache() / "lock")
    try:
        held.acquire(timeout=1)
    except Timeout:
        report("waiting for another, which builds, starts or stops")
        held.acquire()
    try:
        yield
    finally:
        held.release()


def prepare() -> None:
    """Install, build and make what a cluster needs; does nothing where all is there. Needs no root."""
    ensure_packages()
    for program in (CLUSTER, MINIO, PAUSE):
        program.path()
    images.prepare()


def joined(state: State) -> bool:
    """Tell whether the cluster runs, and then use it: it may be another clone's of the same content."""
    if not (process(state) and state.facts().get("finished") and Api.of_kubeconfig(state.kubeconfig).ready()):
        return False
    report("joined the one that runs")
    return True


def start(state: State) -> None:
    """Start the cluster, after what is left of one that was killed."""
    for other in [state, *earlier(state)]:
        remove(other)
    begin = time.monotonic()
    network = free_network()
    (state.folder / "log").mkdir(parents=True)
    programs = {program.name: str(program.path()) for program in (CLUSTER, MINIO, PAUSE)}
    keys = {"access_key": secrets.token_hex(8), "secret_key": secrets.token_hex(16)}
    state.note(network=asdict(network), programs=programs, clone=str(ROOT), **keys)
    state.kubectl.symlink_to(programs["testcluster"])
    shared = (state.audit_log, state.log("kwok"), state.node_lock)
    for path in shared:
        path.touch()
    _write_certificates(state, network)
    hand_over(state.kubeconfig, *shared)
    try:
        cgroups.create(state.name)
        lay_cable(state.name, network, processes.start_node(state))
        _finish(state, network)
        state.note(finished=True)
    except BaseException:
        processes.kill(state)
        raise
    report(f"ready after {time.monotonic() - begin:.1f} s")
    report(f"kubectl: {state.kubectl}; logs: {state.folder / 'log'}")


def stop(state: State) -> None:
    """Stop the cluster, and those of earlier contents of this clone."""
    for each in found(state):
        remove(each)
        report("stopped")


def found(state: State) -> list[State]:
    """Return what there is to stop."""
    return [each for each in (state, *earlier(state)) if each.folder.exists()]


def earlier(state: State) -> list[State]:
    """Return the clusters that this clone has started when its content was another."""
    if state.is_named:
        return []
    others = (State(path.parent) for path in (cache() / "clusters").glob("*/cluster.json"))
    return [other for other in others if other != state and other.facts()["clone"] == str(ROOT)]


def remove(state: State) -> None:
    """Stop the cluster, and remove what it, or one that was killed, has left."""
    processes.kill(state)
    cut_cable(state.name)
    cgroups.remove(state.name)
    if state.folder.exists():
        shutil.rmtree(state.folder)


def image(state: State, name: str, version: str) -> str:
    """Return the reference of an image that is made on request, in the registry of the cluster that runs."""
    if not process(state):
        raise ClusterError("no cluster runs; start it with make cluster")
    return images.push_made(parts.registry(Network(**state.facts()["network"])), name, version)


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
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": parts.storage(network),
        "AWS_ALLOW_HTTP": "true",
    }


def _finish(state: State, network: Network) -> None:
    """Wait until all parts serve, and give them what users find there."""
    api = Api.of_kubeconfig(state.kubeconfig)
    _wait(state, api.ready, "the API server is not ready")
    images.push_all(parts.registry(network))
    _create_bucket(state, network)
    api.create("namespaces", {"metadata": {"name": NAMESPACE, "labels": RESTRICTED}})
    _wait(state, lambda: all(map(parts.is_ready, api.find("nodes") or [{}])), "the node is not ready")
    # Pods are refused until the controllers have made the account that they use.
    _wait(state, lambda: api.find("serviceaccounts", NAMESPACE), "the controllers are not ready")


def _wait(state: State, condition: Callable[[], object], what: str) -> None:
    logs = state.folder / "log"

    def check() -> bool:
        if not process(state):
            raise ClusterError(f"the cluster ended: {state.log('node').read_text().strip()}; see {logs}")
        return bool(condition())

    until(check, f"{what}; see {logs}")


def _create_bucket(state: State, network: Network) -> None:
    facts = state.facts()
    client = boto3.client(
        "s3",
        endpoint_url=parts.storage(network),
        region_name=REGION,
        aws_access_key_id=facts["access_key"],
        aws_secret_access_key=facts["secret_key"],
    )
    client.create_bucket(Bucket=BUCKET)


def _write_certificates(state: State, network: Network) -> None:
    authority = Authority(state.folder / "pki")
    authority.key_pair("tokens")
    names = (network.node, "127.0.0.1", parts.NODE, "localhost", "kubernetes.default.svc")
    authority.issue("server", parts.NODE, names=names)
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
