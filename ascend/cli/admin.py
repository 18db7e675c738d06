"""``ascend admin``: what who runs a cluster does for those who use ascend on it."""

from __future__ import annotations

import secrets
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import click

from ascend._builtin.kubernetes.diagnosis import diagnose
from ascend._builtin.kubernetes.failures import ApiError
from ascend._builtin.kubernetes.features import JOBS
from ascend._builtin.kubernetes.pods import read_pod
from ascend._core.manifest import image_of
from ascend.cli.kubernetes import asking, json_option, open_connection, pick_profile, place_options, pods_of
from ascend.cli.suggest import SuggestingGroup
from ascend.cli.tables import print_json, print_table
from ascend.errors import ClusterError, ImagePullError
from ascend.model import NodeType

if TYPE_CHECKING:
    from ascend._builtin.kubernetes.connection import Connection
    from ascend.model import Manifest, Profile

__all__ = ["admin", "prepull_job"]

_DENIED = {401, 403}
_LOOK_SECONDS = 0.5
_TASK_USER = 10001
# Each pod stays until the others have been put onto other nodes.
_STAY_SECONDS = 5
_COLUMNS = ("node", "state", "reason")


@click.group(cls=SuggestingGroup)
def admin() -> None:
    """Prepare a cluster for those who use ascend on it."""


@admin.command()
@click.argument("image")
@click.option("--node-type", metavar="TYPE", help="Only nodes of this type.  [default: all nodes]")
@click.option(
    "--nodes", type=click.IntRange(1), metavar="N", help="How many nodes there are, if they may not be listed."
)
@click.option("--timeout", type=click.FloatRange(1), default=1800.0, show_default=True, help="Seconds to wait.")
@json_option
@place_options
@click.pass_obj
def prepull(
    name: str | None,
    /,
    image: str,
    *,
    node_type: str | None,
    nodes: int | None,
    timeout: float,
    as_json: bool,
    context: str | None,
    namespace: str | None,
) -> None:
    """Have all nodes, or those of a type, pull IMAGE, so that the first tasks there need not wait for it.

    A Job with one pod for each node does that, and is removed. What is pulled stays until the node needs the room.
    """
    profile = pick_profile(name, context, namespace)
    connection = open_connection(profile)
    try:
        kind = _node_type(profile, node_type)
        count = nodes or _count_nodes(connection, kind)
        job = prepull_job(image_of(image), kind, count, profile, timeout)
        with asking(f"create the Job {job['metadata']['name']}"):
            connection.create(connection.path("jobs", api=JOBS), job, fieldValidation="Strict")
        try:
            rows = _wait(connection, job["metadata"]["name"], count, timeout)
        finally:
            connection.delete(connection.path("jobs", job["metadata"]["name"], api=JOBS))
    finally:
        connection.close()
    if as_json:
        print_json([dict(zip(_COLUMNS, row, strict=True)) for row in rows])
    else:
        print_table(_COLUMNS, rows)
    missing = [row for row in rows if row[1] != "pulled"]
    if missing or len(rows) < count:
        msg = (
            f"{image} is on {len(rows) - len(missing)} of {count} nodes only: {missing[0][2] if missing else 'no pods'}"
        )
        raise ImagePullError(msg)


def prepull_job(image: str, node_type: NodeType, nodes: int, profile: Profile, timeout: float) -> Manifest:
    """Return the Job that has *nodes* nodes pull *image*: an index for each, spread over host names."""
    name = f"asc-prepull-{secrets.token_hex(4)}"
    labels = {"app.kubernetes.io/managed-by": "ascend", "ascend.dev/prepull": name}
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", f"import time; time.sleep({_STAY_SECONDS})"],
        "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"ascend.dev/prepull": name}},
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": dict(node_type.labels),
        "tolerations": [dict(each) for each in node_type.tolerations],
        "topologySpreadConstraints": [spread],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _TASK_USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    if profile.registry_secret is not None:
        pod["imagePullSecrets"] = [{"name": profile.registry_secret}]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "completionMode": "Indexed",
            "completions": nodes,
            "parallelism": nodes,
            "backoffLimitPerIndex": 0,
            "maxFailedIndexes": nodes,
            "activeDeadlineSeconds": int(timeout) + 60,
            "ttlSecondsAfterFinished": 60,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _node_type(profile: Profile, name: str | None) -> NodeType:
    if name is None:
        return NodeType({})
    from ascend._core.plugins.asking import Plugins  # noqa: PLC0415 - not for --help

    return Plugins.load(profile).node_type(name, profile)


def _count_nodes(connection: Connection, node_type: NodeType) -> int:
    selector = ",".join(f"{name}={value}" for name, value in node_type.labels.items())
    try:
        found, _ = connection.items("/api/v1/nodes", **({"labelSelector": selector} if selector else {}))
    except ApiError as error:
        if error.status not in _DENIED:
            raise
        msg = "you may not list nodes: say by --nodes how many there are"
        raise ClusterError(msg) from error
    ready = [each for each in found if not (each["spec"] or {}).get("unschedulable")]
    if not ready:
        msg = f"no node has the labels {selector}: one may have to be started before it can pull anything"
        raise ClusterError(msg)
    return len(ready)


def _wait(connection: Connection, job: str, count: int, timeout: float) -> list[tuple[str, str, str]]:
    """Return for each pod its node, whether that has the image, and why not; a pod that runs has pulled."""
    end = monotonic() + timeout
    while True:
        pods = pods_of(connection, job=job).get(job, [])
        rows = sorted(_row(pod) for pod in pods)
        settled = [row for row in rows if row[1] != "pulling"]
        if len(settled) >= count or monotonic() > end:
            return rows
        sleep(_LOOK_SECONDS)


def _row(item: dict[str, Any]) -> tuple[str, str, str]:
    pod = read_pod(item)
    if pod.state in {"running", "terminated"}:
        return pod.node, "pulled", ""
    found = diagnose(pod, None, None)
    if found is None:
        return pod.node, "pulling", ""
    return pod.node, "pulling" if found.fatal_after is None else "failed", found.message
