"""The Lease of a run: its heartbeat, and the owner of all that the run makes.

Whatever has it as its owner goes when it goes: by `delete`, by ``ascend runs delete``, or by ``ascend runs gc`` after
a client was killed and no longer renews it.
"""

from __future__ import annotations

import logging
import os
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ascend._builtin.kubernetes.failures import ApiError, refused
from ascend.errors import ClusterError
from ascend.model import LABEL_PREFIX

if TYPE_CHECKING:
    from ascend._builtin.kubernetes.connection import Connection

__all__ = ["LEASES", "RENEW_SECONDS", "RunLease", "lease_name", "lease_of"]

LEASES = "apis/coordination.k8s.io/v1"
RENEW_SECONDS = 30.0
_DURATION = 300
_NOT_FOUND = 404
_logger = logging.getLogger("ascend")


def lease_name(run_id: str) -> str:
    return f"asc-{run_id}"


def lease_of(run_id: str, user: str, project: str) -> dict[str, Any]:
    """Return the Lease of a run whose client is this process."""
    moment = _now()
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": lease_name(run_id),
            "labels": {"app.kubernetes.io/managed-by": "ascend", f"{LABEL_PREFIX}/run": run_id},
            "annotations": {f"{LABEL_PREFIX}/user": user, f"{LABEL_PREFIX}/project": project},
        },
        "spec": {
            "holderIdentity": f"{user}@{socket.gethostname()}:{os.getpid()}",
            "leaseDurationSeconds": _DURATION,
            "acquireTime": moment,
            "renewTime": moment,
        },
    }


class RunLease:
    """The Lease that this process holds."""

    def __init__(self, connection: Connection, run_id: str, user: str, project: str) -> None:
        """Create it, or take it over: an answer was lost, or the run was opened before; its id is random."""
        self._connection = connection
        self._path = connection.path("leases", lease_name(run_id), api=LEASES)
        lease = lease_of(run_id, user, project)
        made = self._make(lease)
        self.owner = {
            "apiVersion": lease["apiVersion"],
            "kind": "Lease",
            "name": lease["metadata"]["name"],
            "uid": made["metadata"]["uid"],
        }

    def _make(self, lease: dict[str, Any]) -> dict[str, Any]:
        connection = self._connection
        try:
            try:
                return connection.create(connection.path("leases", api=LEASES), lease)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
                return connection.patch(self._path, {"spec": lease["spec"]})
        except ApiError as error:
            raise refused(error, f"create the Lease {lease['metadata']['name']}") from error

    def renew(self) -> bool:
        """Say that the client lives; false if somebody has deleted the Lease, and with it the run."""
        try:
            self._connection.patch(self._path, {"spec": {"renewTime": _now()}})
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return False
            _logger.warning("the Lease of the run was not renewed: %s", error)
        except ClusterError as error:
            # The watches say so too, and know for how long.
            _logger.warning("the Lease of the run was not renewed: %s", error)
        return True

    def delete(self) -> None:
        """Have everything removed that the run has made; returns without waiting for it."""
        self._connection.delete(self._path)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
