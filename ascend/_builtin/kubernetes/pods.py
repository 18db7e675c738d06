"""A pod as the API server tells it, reduced to what a task's fate depends on: pure functions from dicts."""

from __future__ import annotations

import signal
from typing import Any, NamedTuple

__all__ = ["End", "Pod", "end_of", "read_pod"]

_JOB_NAME = "batch.kubernetes.io/job-name"
_FAILURES = "batch.kubernetes.io/job-index-failure-count"
_CONTAINER = "main"
_SIGNALLED = 128
_NEVER_STARTED = {"ContainerCannotRun", "StartError"}


class Pod(NamedTuple):
    """One attempt of a Job.

    *owner* is the uid of the Job that made it. *container* is ``main``, or an init container that keeps it from
    starting; *state* is its state: a key of ``waiting``, ``running`` or ``terminated`` with its details, or empty.
    *failures* is how many attempts of its index failed before it. *disrupted* is the reason of the condition
    ``DisruptionTarget``, or empty. *grace* is how many seconds its deletion leaves it. *unscheduled*
    is the reason and the words of the scheduler, while there are any.
    """

    uid: str
    name: str
    job_name: str
    owner: str
    phase: str
    failures: int
    node: str
    being_deleted: bool
    grace: float
    disrupted: str
    unscheduled: tuple[str, str] | None
    container: str
    state: str
    details: dict[str, Any]
    reason: str
    message: str

    @property
    def has_ended(self) -> bool:
        """Whether nothing will run in it any more."""
        return self.state == "terminated" or self.phase in {"Succeeded", "Failed"}


class End(NamedTuple):
    """How the process of a pod ended; see `ascend.model.JobStatus`."""

    exit_code: int | None
    signal: str | None
    reason: str
    message: str
    receipt: bytes


def read_pod(item: dict[str, Any]) -> Pod:
    meta, status = item["metadata"], item.get("status") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    disrupted = conditions.get("DisruptionTarget", {})
    container, state, details = _decisive(status)
    return Pod(
        uid=meta["uid"],
        name=meta["name"],
        job_name=(meta.get("labels") or {}).get(_JOB_NAME, ""),
        owner=next((each["uid"] for each in meta.get("ownerReferences") or () if each.get("controller")), ""),
        phase=status.get("phase", ""),
        failures=int((meta.get("annotations") or {}).get(_FAILURES, "0")),
        node=(item.get("spec") or {}).get("nodeName", ""),
        being_deleted="deletionTimestamp" in meta,
        grace=meta.get("deletionGracePeriodSeconds") or 0,
        disrupted=disrupted.get("reason", "") if disrupted.get("status") == "True" else "",
        unscheduled=_unscheduled(conditions.get("PodScheduled", {})),
        container=container,
        state=state,
        details=details,
        reason=status.get("reason", ""),
        message=status.get("message", ""),
    )


def _decisive(status: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Return the name, the state and its details of the container that the pod depends on now."""
    containers = status.get("containerStatuses") or ()
    state, details = _state(next((each for each in containers if each["name"] == _CONTAINER), {}))
    if state in {"", "waiting"}:
        for each in status.get("initContainerStatuses") or ():
            found = _state(each)
            if _holds_up(*found, status.get("phase", "")):
                return (each["name"], *found)
    return _CONTAINER, state, details


def _state(container: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    for state, details in (container.get("state") or {}).items():
        return state, details or {}
    return "", {}


def _holds_up(state: str, details: dict[str, Any], phase: str) -> bool:
    """Tell whether an init container in *state* is why the others do not start; those that wait their turn are not."""
    if state == "terminated":
        # One that is to run beside the others is started again as long as the pod has not failed.
        return phase == "Failed" and details.get("exitCode", 0) != 0
    return state == "waiting" and details.get("reason") != "PodInitializing"


def _unscheduled(condition: dict[str, Any]) -> tuple[str, str] | None:
    if condition.get("status") != "False":
        return None
    return condition.get("reason", ""), condition.get("message", "")


def end_of(pod: Pod) -> End:
    """Return how a pod that has ended did so."""
    details = pod.details if pod.state == "terminated" else {}
    words = details.get("message", "")
    reason = pod.reason or _container_reason(details)
    if reason in _NEVER_STARTED:
        # What would be the receipt is the runtime's word here.
        return End(None, None, "StartError", words, b"")
    if pod.state != "terminated":
        return End(None, None, reason or ("PodDeleted" if pod.being_deleted else "Lost"), pod.message, b"")
    code = details.get("exitCode", 0)
    name = _signal_name(code)
    # A pod that is deleted gets a SIGTERM and, if it does not heed that, a SIGKILL.
    if code and pod.being_deleted and not pod.disrupted and not pod.reason:
        reason = "PodDeleted"
    if pod.container != _CONTAINER:
        # Only the main container leaves a receipt.
        return End(None if name else code, name, reason, pod.message or _init_failed(pod), b"")
    return End(None if name else code, name, reason, pod.message, words.encode())


def _init_failed(pod: Pod) -> str:
    return f"its init container {pod.container!r} failed"


def _container_reason(details: dict[str, Any]) -> str:
    # The others, Completed and Error, say what the exit code says.
    reason: str = details.get("reason", "")
    return reason if reason in {"OOMKilled", *_NEVER_STARTED} else ""


def _signal_name(code: int) -> str | None:
    try:
        return signal.Signals(code - _SIGNALLED).name if code > _SIGNALLED else None
    except ValueError:
        return None
