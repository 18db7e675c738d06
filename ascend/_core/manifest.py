"""A task as a Kubernetes Job: one pure function from what is known to a plain dict."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

from ascend._core import wire
from ascend.model import LABEL_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ascend.model import Manifest, Needs, NodeType, PlacedFile, Profile, Secret, Task, Volume

__all__ = ["BOOT", "Delivery", "Installation", "base_image_of", "default_image", "image_of", "job_manifest"]

BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from ascend._core.bytecode import install; install(sys.argv[1]); "
    "from ascend.runner import main; main()"
)
"""What the container runs: the runner out of its archive. Starting the archive itself would import runpy, 8 ms."""

_SETUP_SECONDS = 300
_INSTALL_SECONDS = 1800
_QUEUE_SECONDS = 3600.0
_GPU = "nvidia.com/gpu"
# What most clusters keep their GPU nodes free with; not all of them tolerate it for a pod that asks for a GPU.
_GPU_TOLERATION = {"key": _GPU, "operator": "Exists", "effect": "NoSchedule"}
_QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_LABELS = {"app.kubernetes.io/managed-by": "ascend"}
# A node that is little used is emptied and removed; a task would have to begin anew.
_KEEP_NODE = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}


class Installation(NamedTuple):
    """The variables for the runner, those of them that come from Secrets, and what is mounted."""

    variables: Mapping[str, str] = {}
    secrets: Mapping[str, Secret] = {}
    files: tuple[PlacedFile, ...] = ()
    volumes: Mapping[str, Volume] = {}


class Delivery(NamedTuple):
    """How the pod gets at what travels: the *runner* archive, the variables of `ascend.runner`, and other *files*.

    *installation* is what the runner needs to install what the image lacks.
    """

    runner: PlacedFile
    variables: dict[str, str]
    files: tuple[PlacedFile, ...] = ()
    installation: Installation = Installation()


def default_image() -> str:
    """Return the stock image of this Python's minor version; it carries nothing but Python."""
    return image_of("python:{python}-slim")


def image_of(base_image: str) -> str:
    """Return *base_image* with this Python's minor version in the place of ``{python}``."""
    return base_image.replace("{python}", wire.python_minor())


def base_image_of(needs: Needs, profile: Profile) -> str:
    """Return what *needs* name as base image, else what *profile* has for their node type, else the stock image."""
    images = profile.base_images
    named = needs.base_image or images.get(needs.node_type or "default") or images.get("default")
    return image_of(named) if named else default_image()


def job_manifest(task: Task, *, image: str, delivery: Delivery, node_type: NodeType | None = None) -> Manifest:
    """Return the Job of *task*: an Indexed Job with one index, whose pod may run under the restricted profile.

    Names of users and functions stand in annotations only: labels take no free text.
    """
    labels = {**(task.needs.labels or {}), **_LABELS, f"{LABEL_PREFIX}/run": task.run_id}
    queue = {} if task.needs.queue is None else {_QUEUE_LABEL: task.needs.queue}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": task.job_name,
            "labels": {**labels, **queue},
            "annotations": {
                f"{LABEL_PREFIX}/function": task.function,
                f"{LABEL_PREFIX}/project": task.project,
                # All its digits: a plain g would make 1.23457e+06 of 1234567.
                f"{LABEL_PREFIX}/queue-timeout": f"{task.needs.queue_timeout or _QUEUE_SECONDS:.15g}",
                f"{LABEL_PREFIX}/task": task.id,
                f"{LABEL_PREFIX}/user": task.user,
            },
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": 1,
            "parallelism": 1,
            "backoffLimitPerIndex": task.needs.retries or 0,
            "maxFailedIndexes": 1,
            "podReplacementPolicy": "Failed",
            "ttlSecondsAfterFinished": 900,
            "podFailurePolicy": {"rules": _failure_rules()},
            "template": {
                "metadata": {"labels": labels, "annotations": dict(_KEEP_NODE)},
                "spec": _pod(task, image, delivery, node_type),
            },
        },
    }


def _failure_rules() -> list[dict[str, Any]]:
    # The first match wins: a preempted pod also exits with 137, and is not the task's fault.
    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "FailIndex",
            "onExitCodes": {"containerName": "main", "operator": "In", "values": list(wire.FINAL_EXIT_CODES)},
        },
    ]


def _pod(task: Task, image: str, delivery: Delivery, node_type: NodeType | None) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 30,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(task, image, delivery, node_type)],
        "volumes": [
            {"name": "work", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            *({"name": name, **deepcopy(dict(volume))} for name, _, volume in _placed(delivery)),
            *_volumes(task, delivery),
        ],
    }
    if task.needs.service_account is not None:
        pod["serviceAccountName"] = task.needs.service_account
    if task.needs.priority is not None:
        pod["priorityClassName"] = task.needs.priority
    if task.needs.timeout is not None:
        # The runner keeps the timeout; this bound is for one that cannot, and leaves time for its set-up.
        set_up = _INSTALL_SECONDS if delivery.installation.variables else _SETUP_SECONDS
        pod["activeDeadlineSeconds"] = int(task.needs.timeout) + set_up
    if selector := _selector(task, node_type):
        pod["nodeSelector"] = selector
    if tolerations := _tolerations(task, node_type):
        pod["tolerations"] = tolerations
    return pod


def _selector(task: Task, node_type: NodeType | None) -> dict[str, str]:
    labels = dict(node_type.labels) if node_type else {}
    if task.needs.platform is not None:
        labels.setdefault("kubernetes.io/arch", task.needs.platform.rpartition("/")[2])
    return labels


def _tolerations(task: Task, node_type: NodeType | None) -> list[dict[str, str]]:
    tolerations = [dict(toleration) for toleration in node_type.tolerations] if node_type else []
    if _asked(task, node_type).get(_GPU, "0") != "0" and _GPU_TOLERATION not in tolerations:
        tolerations.append(dict(_GPU_TOLERATION))
    return tolerations


def _container(task: Task, image: str, delivery: Delivery, node_type: NodeType | None) -> dict[str, Any]:
    return {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", BOOT, delivery.runner.path],
        "workingDir": "/ascend/work",
        "env": _variables(task, delivery),
        "resources": _resources(task, node_type),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "work", "mountPath": "/ascend/work"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
            *({"name": name, "mountPath": folder, "readOnly": True} for name, folder, _ in _placed(delivery)),
            *_mounts(task, delivery),
        ],
    }


def _placed(delivery: Delivery) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield name, folder and source of the volumes that bring placed files."""
    for number, file in enumerate((delivery.runner, *delivery.files, *delivery.installation.files)):
        if file.volume is not None:
            yield f"placed-{number}", file.path.rpartition("/")[0], file.volume


def _volumes(task: Task, delivery: Delivery) -> list[dict[str, Any]]:
    return [{"name": name, **_source(volume)} for name, _, volume in _named_volumes(task, delivery)]


def _mounts(task: Task, delivery: Delivery) -> list[dict[str, Any]]:
    return [
        {"name": name, "mountPath": path} | ({"readOnly": True} if volume.read_only else {})
        for name, path, volume in _named_volumes(task, delivery)
    ]


def _named_volumes(task: Task, delivery: Delivery) -> list[tuple[str, str, Volume]]:
    volumes = {**(task.needs.volumes or {}), **delivery.installation.volumes}
    return [(f"volume-{number}", path, volume) for number, (path, volume) in enumerate(sorted(volumes.items()))]


def _source(volume: Volume) -> dict[str, Any]:
    if volume.memory is not None:
        return {"emptyDir": {"medium": "Memory", "sizeLimit": volume.memory}}
    claim: dict[str, Any] = {"claimName": volume.claim}
    # A claim that many nodes may only read is attached to none that asks for more.
    return {"persistentVolumeClaim": claim | ({"readOnly": True} if volume.read_only else {})}


def _variables(task: Task, delivery: Delivery) -> list[dict[str, Any]]:
    installation = delivery.installation
    secrets = {
        name: {"valueFrom": {"secretKeyRef": {"name": secret.name, "key": secret.key}}}
        for name, secret in {**(task.needs.secrets or {}), **installation.secrets}.items()
    }
    ours = {**delivery.variables, **installation.variables, "ASCEND_TASK_ID": task.id}
    if task.needs.timeout is not None:
        ours["ASCEND_TASK_TIMEOUT"] = str(task.needs.timeout)
    # The kubelet replaces $(NAME), and takes $$ for a plain $.
    env = {"PYTHONUNBUFFERED": "1", **(task.needs.env or {})}
    plain: dict[str, Any] = {name: {"value": value.replace("$", "$$")} for name, value in env.items()}
    fixed = {name: {"value": value} for name, value in ours.items()}
    return [{"name": name, **source} for name, source in {**plain, **secrets, **fixed}.items()]


def _resources(task: Task, node_type: NodeType | None) -> dict[str, Any]:
    asked = _asked(task, node_type)
    return {"requests": asked, "limits": dict(asked)} if asked else {}


def _asked(task: Task, node_type: NodeType | None) -> dict[str, str]:
    asked = dict(node_type.resources) if node_type else {}
    if task.needs.cpu is not None:
        asked["cpu"] = task.needs.cpu
    if task.needs.memory is not None:
        asked["memory"] = task.needs.memory
    if task.needs.gpus is not None:
        asked[_GPU] = str(task.needs.gpus)
    return asked
