"""The Job as the API server gets it: one pure function that adds what holds on Kubernetes only."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ascend.model import Manifest

__all__ = ["finished"]

# The root file system is read-only: whatever libraries write to a home or a cache goes where the pod may write.
_FOLDERS = {
    "HOME": "/ascend/work",
    "XDG_CACHE_HOME": "/tmp/.cache",  # noqa: S108 - here and below: the pod's own
    "MPLCONFIGDIR": "/tmp/.matplotlib",  # noqa: S108
    "ASCEND_RECEIPT": "/dev/termination-log",
    "ASCEND_SOURCE_DIR": "/tmp/.ascend",  # noqa: S108
}
# Libraries start a thread for every core of the node unless told otherwise.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_MAX_THREADS")
# Who waits in a queue, for an image or between attempts does not use up the time of the function.
_SLACK_SECONDS = 900


def finished(
    manifest: Manifest, *, namespace: str, owner: Mapping[str, Any], pull_secret: str | None = None
) -> Manifest:
    """Return *manifest* in *namespace*, owned by the run's Lease, with what its container finds here."""
    job = deepcopy(manifest)
    job["metadata"]["namespace"] = namespace
    job["metadata"]["ownerReferences"] = [dict(owner)]
    pod = job["spec"]["template"]["spec"]
    # The task is not process 1, for which the kernel has other rules about signals, and orphans have a parent.
    pod.setdefault("shareProcessNamespace", True)
    if pull_secret is not None:
        pod.setdefault("imagePullSecrets", [{"name": pull_secret}])
    container = pod["containers"][0]
    container["env"] = _variables(container)
    if "activeDeadlineSeconds" in pod:
        attempts = job["spec"].get("backoffLimitPerIndex", 0) + 1
        waiting = float(job["metadata"]["annotations"].get("ascend.dev/queue-timeout", 0))
        bound = waiting + attempts * pod["activeDeadlineSeconds"] + _SLACK_SECONDS
        job["spec"].setdefault("activeDeadlineSeconds", math.ceil(bound))
    return job


def _variables(container: Mapping[str, Any]) -> list[dict[str, Any]]:
    given = {each["name"]: each for each in container["env"]}
    ours = dict(_FOLDERS)
    cpu = container.get("resources", {}).get("limits", {}).get("cpu")
    if cpu is not None:
        # A plugin may have written a number.
        ours |= dict.fromkeys(_THREADS, str(_whole(str(cpu))))
    return [*({"name": name, "value": value} for name, value in ours.items() if name not in given), *given.values()]


def _whole(cpu: str) -> int:
    return max(1, math.ceil(float(cpu.removesuffix("m")) / (1000 if cpu.endswith("m") else 1)))
