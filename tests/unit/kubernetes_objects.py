"""Pods and Jobs as API servers tell them, cut down to what matters."""

from __future__ import annotations

import copy

JOB = "asc-0badc0de-1"


def pod(name="asc-0badc0de-1-0-abcde", state=None, *, phase="Pending", failures=0, job=JOB, node="n1", **status):
    """Return a pod; *state* is its container's."""
    meta = {
        "name": name,
        "uid": f"u-{name}",
        "resourceVersion": "1",
        "labels": {"batch.kubernetes.io/job-name": job, "ascend.dev/run": "0badc0de"},
        "annotations": {"batch.kubernetes.io/job-index-failure-count": str(failures)},
        "creationTimestamp": "2026-11-24T09:50:05Z",
    }
    item = {"metadata": meta, "spec": {"nodeName": node} if node else {}, "status": {"phase": phase, **status}}
    if state is not None:
        item["status"]["containerStatuses"] = [
            {"name": "sidecar", "state": {"running": {}}, "ready": True},
            {"name": "main", "state": state, "ready": False, "restartCount": 0},
        ]
    return item


def init_containers(**states):
    """Return what a pod says of its init containers, by their names."""
    return [{"name": name, "state": state, "restartCount": 0} for name, state in states.items()]


def deleted(item, grace=30):
    """Return the pod with the marks of what is being deleted."""
    item = copy.deepcopy(item)
    item["metadata"] |= {"deletionTimestamp": "2026-11-24T09:51:00Z", "deletionGracePeriodSeconds": grace}
    return item


def waiting(reason="ContainerCreating", message=None):
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def running():
    return {"running": {"startedAt": "2026-11-24T09:50:06Z"}}


def terminated(code, reason="", message=None):
    details = {"exitCode": code, "reason": reason or ("Error" if code else "Completed")}
    if message is not None:
        details["message"] = message
    return {"terminated": {**details, "startedAt": "2026-11-24T09:50:06Z", "finishedAt": "2026-11-24T09:50:07Z"}}


def condition(kind, status="True", reason="", message=""):
    return {"type": kind, "status": status, "reason": reason, "message": message}


def disruption(reason="PreemptionByScheduler"):
    return [condition("DisruptionTarget", "True", reason, "default-scheduler: preempting to accommodate another pod")]


def unschedulable(message, reason="Unschedulable"):
    return [condition("PodScheduled", "False", reason, message)]


def job(name=JOB, *, conditions=(), **meta):
    return {"metadata": {"name": name, "uid": f"u-{name}", **meta}, "spec": {}, "status": {"conditions": [*conditions]}}
