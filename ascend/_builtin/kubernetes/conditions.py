"""What the conditions of a Job say: pure functions from what the API server tells of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["has_ended", "is_late", "last_words"]

_DEADLINE = "DeadlineExceeded"


def has_ended(job: Mapping[str, Any]) -> bool:
    """Tell whether the Job says that nothing of it will run any more."""
    return any(each["type"] in {"Complete", "Failed"} for each in _holding(job))


def is_late(job: Mapping[str, Any] | None) -> bool:
    """Tell whether the Job has passed its own deadline, which is not its pods'."""
    # FailureTarget comes before its pods are deleted, Failed after (KEP-3939).
    ends = (each for each in _holding(job) if each["type"] in {"FailureTarget", "Failed"})
    return any(each.get("reason") == _DEADLINE for each in ends)


def last_words(job: Mapping[str, Any] | None) -> dict[str, str]:
    """Return reason and message of a Job that ended without any word of its pods."""
    for condition in _holding(job):
        if condition["type"] == "Failed":
            reason = _DEADLINE if condition.get("reason") == _DEADLINE else "PodDeleted"
            return {"reason": reason, "message": condition.get("message", "")}
    return {"reason": "Lost", "message": "its pod is gone, and with it its answer"}


def _holding(job: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    conditions = ((job or {}).get("status") or {}).get("conditions") or ()
    return (each for each in conditions if each["status"] == "True")
