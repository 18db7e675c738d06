"""Builds that never began: their Jobs stay suspended where a client was killed in between, and nothing ends them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ascend._builtin.kubernetes.failures import ApiError, refused
from ascend._builtin.kubernetes.features import JOBS
from ascend.cli.images import builds_of
from ascend.cli.state import moment_of
from ascend.model import LABEL_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ascend._builtin.kubernetes.connection import Connection

__all__ = ["abandoned_builds", "delete_builds", "is_abandoned"]

_QUEUE_SECONDS = 3600.0
_NOT_FOUND, _CONFLICT = 404, 409


def abandoned_builds(connection: Connection, now: float) -> list[dict[str, Any]]:
    """Return the Jobs of builds that nobody has begun, and that are not worth waiting for any more."""
    return [job for job in builds_of(connection) if is_abandoned(job, now)]


def is_abandoned(job: Mapping[str, Any], now: float) -> bool:
    """Tell whether a build has been suspended for longer than its client would have waited for a queue."""
    meta = job["metadata"]
    patience = float((meta.get("annotations") or {}).get(f"{LABEL_PREFIX}/queue-timeout", _QUEUE_SECONDS))
    created = moment_of(meta.get("creationTimestamp"))
    return bool(job["spec"].get("suspend")) and created is not None and now - created > patience


def delete_builds(connection: Connection, jobs: Iterable[Mapping[str, Any]]) -> None:
    """Delete *jobs*, each unless it has changed: somebody may have begun it in this moment."""
    for job in jobs:
        meta = job["metadata"]
        only = {name: meta[name] for name in ("uid", "resourceVersion")}
        options = {"propagationPolicy": "Background", "preconditions": only}
        try:
            connection.exchange("DELETE", connection.path("jobs", meta["name"], api=JOBS), options)
        except ApiError as error:
            if error.status not in {_NOT_FOUND, _CONFLICT}:
                raise refused(error, f"delete the Job {meta['name']}") from error
            click.echo(f"Kept the build {meta['name']}: it has gone, or somebody has begun it in this moment")
        else:
            click.echo(f"Deleted the build {meta['name']}, which never began")
