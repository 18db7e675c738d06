"""What the API server understands: asked once with a Job that is never created, and remembered.

A server drops fields whose feature is switched off without a word; what it echoes tells.
"""

from __future__ import annotations

from hashlib import sha256
from time import time
from typing import TYPE_CHECKING, Any

from ascend import __version__
from ascend._builtin.kubernetes.failures import ApiError, refused
from ascend.errors import ClusterError, JobRefusedError, QuotaExceededError

if TYPE_CHECKING:
    from pathlib import Path

    from ascend._builtin.kubernetes.connection import Connection

__all__ = ["JOBS", "check_features"]

JOBS = "apis/batch/v1"
_REMEMBERED_SECONDS = 24 * 3600
_FLOOR = "1.29"
_BY_RULE = {400, 403}
_FIELDS = ("backoffLimitPerIndex", "maxFailedIndexes", "podFailurePolicy", "podReplacementPolicy", "completionMode")


def check_features(connection: Connection, *, folder: Path) -> None:
    """Raise `ClusterError` if the server does not know what a Job of ours needs; asks once a day and server."""
    key = sha256(f"{connection.place.server} {connection.namespace} {__version__}".encode()).hexdigest()[:20]
    mark = folder / "kubernetes" / f"features-{key}"
    if _is_fresh(mark):
        return
    missing = missing_features(connection)
    if missing:
        version = connection.get("/version").get("gitVersion", "of an unknown version")
        msg = (
            f"the API server at {connection.place.server} ({version}) does not keep {', '.join(missing)} of a Job: "
            f"ascend needs Kubernetes {_FLOOR} or newer"
        )
        raise ClusterError(msg)
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError:
        # Then it is asked again next time.
        return


def missing_features(connection: Connection) -> list[str]:
    """Return the fields of a Job that the server refuses or drops; none if a rule of the cluster refuses the sample."""
    try:
        echo = connection.create(connection.path("jobs", api=JOBS), _sample(), dryRun="All", fieldValidation="Strict")
    except ApiError as error:
        unknown = [field for field in _FIELDS if f'"spec.{field}"' in error.message]
        if unknown:
            return unknown
        problem = refused(error, "create Jobs")
        if error.status in _BY_RULE and isinstance(problem, JobRefusedError | QuotaExceededError):
            # A quota, a policy, a webhook that knows no dry runs: what they say of a task's own Job is what counts.
            return []
        raise problem from error
    return [field for field in _FIELDS if field not in echo["spec"]]


def _is_fresh(mark: Path) -> bool:
    try:
        return time() - mark.stat().st_mtime < _REMEMBERED_SECONDS
    except OSError:
        return False


def _sample() -> dict[str, Any]:
    rules = [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [64]}}]
    container = {"name": "main", "image": "python", "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}}}
    container["resources"]["limits"] = container["resources"]["requests"]  # type: ignore[index]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": "asc-dry-run-", "labels": {"app.kubernetes.io/managed-by": "ascend"}},
        "spec": {
            "completionMode": "Indexed",
            "completions": 1,
            "parallelism": 1,
            "backoffLimitPerIndex": 0,
            "maxFailedIndexes": 1,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": rules},
            "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
        },
    }
