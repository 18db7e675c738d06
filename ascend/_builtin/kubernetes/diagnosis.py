"""Why a task is not running: one pure function from what the cluster says to a sentence and a verdict."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ascend._builtin.kubernetes.pods import Pod

__all__ = ["Diagnosis", "diagnose", "failed_create"]

_SOON = 5.0
_IMAGE_SECONDS = 15.0
_CONFIG_SECONDS = 20.0
# How older kubelets say that they try again later: without a word about why.
_BACK_OFF = re.compile(r'Back-off pulling image "[^"]*"')
_BUSY_REGISTRY = re.compile(r"429 Too Many Requests|toomanyrequests", re.IGNORECASE)
# What registries say when asking again cannot help.
_FINAL_IMAGE_WORDS = re.compile(
    r"not found|manifest unknown|no such (host|image)|repository does not exist|denied|unauthorized|forbidden"
    r"|authentication required|no match for platform|couldn't parse image|HTTP response to HTTPS client",
    re.IGNORECASE,
)
_NAMES = re.compile(r'"[^"]*"')
_RULE_WORDS = re.compile(r"is forbidden: |is invalid: |denied (the )?request")
_QUANTITY = re.compile(r"([\w./-]+)=([0-9.]+(?:e[0-9]+)?)([A-Za-z]*)")
_UNITS = {
    "": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip


class Diagnosis(NamedTuple):
    """What a task waits for, in Kubernetes' *reason* and the cluster's own words.

    *fatal_after* is how many seconds of it end the task; `None` if waiting may help.
    """

    reason: str
    message: str
    fatal_after: float | None = None

    def continues(self, before: Diagnosis) -> bool:
        """Tell whether it is for the same reason, and as hopeless, as *before*, in whatever words."""
        return (self.reason, self.fatal_after) == (before.reason, before.fatal_after)


def diagnose(
    pod: Pod | None, job: Mapping[str, Any] | None, refusal: Diagnosis | None, before: Diagnosis | None = None
) -> Diagnosis | None:
    """Return why a Job has no running pod; `None` if nothing is known.

    *refusal* is `failed_create` of its events, *before* is what was returned last.
    """
    if pod is None:
        if job is not None and (job.get("spec") or {}).get("suspend"):
            return Diagnosis("QueueTimeout", "its Job is suspended, and no queue has admitted it yet")
        return refusal
    if pod.unscheduled is not None:
        return _unscheduled(*pod.unscheduled)
    if pod.state == "waiting":
        found = _waiting(pod.details.get("reason", ""), pod.details.get("message", ""))
        if found and before and found.reason == before.reason and _BACK_OFF.fullmatch(found.message):
            return before
        return found
    return None


def _unscheduled(reason: str, message: str) -> Diagnosis:
    if "persistentvolumeclaim" in message and "not found" in message:
        return Diagnosis("CreateContainerConfigError", message, _CONFIG_SECONDS)
    return Diagnosis("Unschedulable", message or f"the scheduler says {reason}")


def _waiting(reason: str, message: str) -> Diagnosis | None:
    if reason == "InvalidImageName":
        return Diagnosis("ErrImagePull", message, _SOON)
    if reason in {"ErrImagePull", "ImagePullBackOff"}:
        return Diagnosis("ErrImagePull", message, _IMAGE_SECONDS if _is_final(message) else None)
    if reason in {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}:
        return Diagnosis("CreateContainerConfigError", message, _CONFIG_SECONDS)
    # ContainerCreating and PodInitializing are the ordinary way.
    return None


def _is_final(message: str) -> bool:
    # In quotes are names, which may be any words.
    words = _NAMES.sub("", message)
    return _FINAL_IMAGE_WORDS.search(words) is not None and _BUSY_REGISTRY.search(words) is None


def failed_create(events: Iterable[Mapping[str, Any]]) -> Diagnosis | None:
    """Return what the newest ``FailedCreate`` among the events of a Job means."""
    refusals = [event for event in events if event.get("reason") == "FailedCreate"]
    if not refusals:
        return None
    message: str = max(refusals, key=_moment).get("message", "")
    if "exceeded quota" in message:
        return Diagnosis("ExceededQuota", message, _SOON if _never_fits(message) else None)
    if not _RULE_WORDS.search(message):
        # The API server, or a webhook before it, does not answer as it should.
        return Diagnosis("FailedCreate", message)
    # A service account may be on its way; everything else is a rule that will not change its mind.
    return Diagnosis("FailedCreate", message, _CONFIG_SECONDS if "serviceaccount" in message else _SOON)


def _moment(event: Mapping[str, Any]) -> str:
    return event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or ""


def _never_fits(message: str) -> bool:
    """Tell whether the pod alone asks for more than the quota's limit."""
    requested, limited = (_quantities(message, key) for key in ("requested", "limited"))
    return any(requested[name] > limit for name, limit in limited.items() if name in requested)


def _quantities(message: str, key: str) -> dict[str, float]:
    _, _, rest = message.partition(f"{key}: ")
    # The next key ends the list: "requested: cpu=4,memory=1Gi, used: cpu=0, limited: cpu=2".
    listed = re.split(r", (?:used|limited): ", rest)[0]
    return {name: float(number) * _UNITS.get(unit, 1.0) for name, number, unit in _QUANTITY.findall(listed)}
