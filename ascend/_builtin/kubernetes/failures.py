"""What API servers answer when they refuse, as errors that name the object and the remedy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ascend.errors import (
    ClusterError,
    JobRefusedError,
    NamespaceNotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ascend._builtin.kubernetes.connection import Place

__all__ = ["ApiError", "refused"]

_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404
_INVALID = {400, 422}


class ApiError(ClusterError):
    """An API server's refusal: its HTTP *status*, its *reason* in one word, its *message*.

    *retry_after* is how many seconds it asks to wait.
    """

    def __init__(self, status: int, reason: str, message: str, place: Place, retry_after: float = 0.0) -> None:
        super().__init__(f"the API server at {place.server} answers {status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.place = place
        self.retry_after = retry_after
        self.details: Mapping[str, Any] = {}

    @classmethod
    def of(cls, status: int, body: bytes, headers: Mapping[str, str], place: Place) -> ApiError:
        """Return the error of an answer; what stands before an API server does not always send a Status object."""
        try:
            answer = json.loads(body)
        except ValueError:
            answer = {}
        answer = answer if isinstance(answer, dict) else {}
        message = answer.get("message") or body[:300].decode(errors="replace")
        error = cls(status, answer.get("reason") or "", message, place, _seconds(headers.get("Retry-After")))
        error.details = answer.get("details") or {}
        return error


def refused(error: ApiError, action: str) -> ClusterError:
    """Return what *error* means for who wanted to do *action*, such as ``create the Job asc-1``."""
    place, words = error.place, error.message
    # Who shows no credentials, since a plugin could not get any, is somebody: without rights.
    if error.status == _UNAUTHORIZED or 'User "system:anonymous" cannot ' in words:
        who = f"the context {place.context!r}" if place.context else "the service account of this pod"
        return PermissionDeniedError(
            f"the credentials of {who} are not valid at {place.server}: log in again ({words})"
        )
    if error.status == _NOT_FOUND and error.details.get("kind") == "namespaces":
        return NamespaceNotFoundError(
            f"cannot {action}: there is no namespace {place.namespace!r} at {place.server}; "
            f"set namespace (ASCEND_NAMESPACE), or create it: kubectl create namespace {place.namespace}"
        )
    if error.status == _FORBIDDEN:
        return _forbidden(error, action)
    if error.status in _INVALID:
        return JobRefusedError(f"cannot {action} in namespace {place.namespace!r}: {words}")
    return error


def _forbidden(error: ApiError, action: str) -> ClusterError:
    what = f"cannot {action} in namespace {error.place.namespace!r}: {error.message}"
    if "exceeded quota" in error.message:
        return QuotaExceededError(f"{what}; delete Jobs that have ended, or have the quota raised")
    # So the authorizer says it; everything else that is forbidden is an admission rule's.
    if ' is forbidden: User "' in error.message and " cannot " in error.message:
        return PermissionDeniedError(
            f"{what}; `ascend doctor` shows which rights are missing, `ascend doctor --role` prints a Role with them"
        )
    return JobRefusedError(what)


def _seconds(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
