"""The Job of a build and the Secret with its files: pure functions to what the API server gets."""

from __future__ import annotations

import math
from base64 import b64encode
from copy import deepcopy
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ascend.model import LABEL_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ascend.building.names import ImageName
    from ascend.building.recipes import Build
    from ascend.model import Manifest

__all__ = ["BUILD_LABEL", "FILES", "WAITS", "build_job", "files_secret", "job_name"]

BUILD_LABEL = f"{LABEL_PREFIX}/build"
"""The label of the Jobs and pods of builds: the key of the image."""

FILES = f"{LABEL_PREFIX}/files"
"""The annotation that names the Secret with the files of a build."""

WAITS = f"{LABEL_PREFIX}/waits-"
"""What the annotations of those who wait for a build begin with."""

_QUEUE_SECONDS = 3600.0
# What a pod needs between its node and its first step, and what comes after its last.
_SLACK_SECONDS = 900.0
_LABELS = {"app.kubernetes.io/managed-by": "ascend"}


def job_name(image: ImageName) -> str:
    """Return the name of the Job that builds *image*: who creates it, builds; everybody else waits.

    The same environment may be wanted in two registries.
    """
    return f"asc-build-{image.tag[:20]}-{sha256(str(image).encode()).hexdigest()[:8]}"


def build_job(build: Build, builder: str, pod: Manifest) -> Manifest:
    """Return the Job of *build*, suspended: it begins when its Secret is there."""
    key, profile, options = build.destination.tag, build.profile, build.options
    queue_timeout = profile.needs.queue_timeout or _QUEUE_SECONDS
    labels = {**_LABELS, BUILD_LABEL: key}
    annotations = {
        f"{LABEL_PREFIX}/builder": builder,
        f"{LABEL_PREFIX}/image": str(build.destination),
        f"{LABEL_PREFIX}/project": profile.project,
        f"{LABEL_PREFIX}/queue-timeout": f"{queue_timeout:.15g}",
        f"{LABEL_PREFIX}/requirements": ", ".join(build.environment.requirements),
        f"{LABEL_PREFIX}/user": profile.user,
        FILES: build.secret,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job_name(build.destination), "labels": labels, "annotations": annotations},
        "spec": {
            "suspend": True,
            "completionMode": "Indexed",
            "completions": 1,
            "parallelism": 1,
            "backoffLimitPerIndex": 0,
            "maxFailedIndexes": 1,
            "podReplacementPolicy": "Failed",
            # It counts from the Job's start, the pod's own from its node. Who joins may wait longer than who began.
            "activeDeadlineSeconds": math.ceil(max(queue_timeout, _QUEUE_SECONDS) + options.timeout + _SLACK_SECONDS),
            "ttlSecondsAfterFinished": math.ceil(options.keep),
            "podFailurePolicy": {
                # A preempted or drained build is begun again.
                "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "template": {"metadata": {"labels": labels}, "spec": _completed(build, pod)},
        },
    }


def _completed(build: Build, pod: Manifest) -> Manifest:
    """Return *pod* with what every pod of a build has, as far as the recipe says nothing of it."""
    pod = deepcopy(pod)
    for name, value in {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": math.ceil(build.options.timeout),
        "terminationGracePeriodSeconds": 5,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
    }.items():
        pod.setdefault(name, value)
    if build.profile.registry_secret is not None:
        pod.setdefault("imagePullSecrets", [{"name": build.profile.registry_secret}])
    main = next(each for each in pod["containers"] if each["name"] == "main")
    options = build.options
    resources = {"requests": {"cpu": options.cpu, "memory": options.memory}, "limits": {"memory": options.memory}}
    # Init containers run before the others, so they take nothing more; a quota wants all to say what they take.
    for container in (*pod.get("initContainers", ()), main):
        container.setdefault("imagePullPolicy", "IfNotPresent")
        container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
        container.setdefault("resources", deepcopy(resources))
    return pod


def files_secret(name: str, job: Mapping[str, Any], files: Mapping[str, bytes]) -> Manifest:
    """Return the Secret called *name* with *files*, which goes with *job*."""
    meta = job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "immutable": True,
        "metadata": {"name": name, "labels": dict(_LABELS), "ownerReferences": [owner]},
        "data": {name: b64encode(content).decode() for name, content in files.items()},
    }
