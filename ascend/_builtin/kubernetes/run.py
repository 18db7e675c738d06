"""What exists while a run is open: its Lease and its heartbeat, its Jobs, and what follows them."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ascend._builtin.kubernetes.failures import ApiError, refused
from ascend._builtin.kubernetes.features import JOBS
from ascend._builtin.kubernetes.finished import finished
from ascend._builtin.kubernetes.following import Following
from ascend._builtin.kubernetes.lease import RENEW_SECONDS, RunLease
from ascend._builtin.kubernetes.options import options_of
from ascend.building.names import check_images
from ascend.errors import ClusterError, ClusterUnreachableError
from ascend.model import LABEL_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from ascend._builtin.kubernetes.connection import Connection
    from ascend.model import Manifest, Profile

__all__ = ["KubernetesRun"]

_logger = logging.getLogger("ascend")

_DELETERS = 8
_LAST_PATIENCE = 10.0
_AGAIN_SECONDS = 5.0


class KubernetesRun:
    """What exists while a run is open."""

    def __init__(self, connection: Connection, run_id: str, profile: Profile, put: Callable[[Any], None]) -> None:
        self.connection = connection
        self._profile = profile
        self.lease = RunLease(connection, run_id, profile.user, profile.project)
        self._unreachable = False
        # Jobs whose deletion has failed, and those of which that was told.
        self._failed: set[str] = set()
        self._warned: set[str] = set()
        self._guard = threading.Lock()
        self._deleters = ThreadPoolExecutor(_DELETERS, thread_name_prefix="ascend-delete")
        selector = f"{LABEL_PREFIX}/run={run_id}"
        patience = options_of(profile).unreachable_timeout
        self._following = Following(connection, selector, put, stop=self.stop_job, patience=patience)
        self.tracker = self._following.tracker

    def start(self) -> None:
        """Begin to watch; what may not be read is refused here."""
        try:
            self._following.start()
        except ClusterError:
            # Where the server has gone since, `ascend runs gc` finds the Lease.
            self.connection.patience = min(self.connection.patience, _LAST_PATIENCE)
            with suppress(ClusterUnreachableError):
                self.lease.delete()
            raise
        self._following.run("lease", self._renew)
        self._following.run("delete", self._delete_again)

    def create_job(self, manifest: Manifest) -> None:
        connection = self.connection
        profile, owner = self._profile, self.lease.owner
        job = finished(manifest, namespace=connection.namespace, owner=owner, pull_secret=profile.registry_secret)
        check_images(job, profile.allowed_registries)
        name = job["metadata"]["name"]
        self.tracker.expect(job)
        try:
            made = self._create(job)
        except ClusterError:
            self.tracker.forget(name)
            raise
        self.tracker.created(name, made["metadata"]["uid"])

    def _create(self, job: Manifest) -> dict[str, Any]:
        connection, name = self.connection, job["metadata"]["name"]
        try:
            return connection.create(connection.path("jobs", api=JOBS), job, fieldValidation="Strict")
        except ApiError as error:
            if error.reason == "AlreadyExists":
                # An answer was lost and the request repeated, or somebody else wants to answer in its place.
                made = connection.get(connection.path("jobs", name, api=JOBS))
                if self.lease.owner in made["metadata"].get("ownerReferences", ()):
                    return made
            raise refused(error, f"create the Job {name}") from error

    def stop_job(self, job_name: str) -> None:
        """Delete a Job, as often as it takes: whoever asked does not ask again."""
        try:
            self._deleters.submit(self._delete_job, job_name)
        except RuntimeError:
            # It is closed: everything has been deleted.
            return

    def close(self) -> None:
        """Stop all Jobs, have everything removed, end all threads."""
        # Where the server is gone, `ascend runs gc` finds the Lease, and removes it with all that is left.
        self.connection.patience = min(self.connection.patience, _LAST_PATIENCE)
        for name in self.tracker.unfinished():
            self.stop_job(name)
        self._following.stop()
        self.tracker.give_up("Deleted")
        self._deleters.shutdown(wait=True)
        try:
            self.lease.delete()
        finally:
            self._following.close()
            self.connection.close()

    def _delete_job(self, job_name: str) -> None:
        if self._unreachable and self._following.is_ending:
            return
        path = self.connection.path("jobs", job_name, api=JOBS)
        try:
            self.connection.delete(path)
        except ClusterError as error:
            self._unreachable = isinstance(error, ClusterUnreachableError)
            with self._guard:
                again = job_name in self._warned
                self._failed.add(job_name)
                self._warned.add(job_name)
            if not again:
                _logger.warning("the Job %s was not deleted, and is tried again: %s", job_name, error)

    def _delete_again(self) -> None:
        while not self._following.ends_within(_AGAIN_SECONDS):
            with self._guard:
                again, self._failed = self._failed, set()
            for name in again:
                self.stop_job(name)

    def _renew(self) -> None:
        while not self._following.ends_within(RENEW_SECONDS):
            if not self.lease.renew():
                # Somebody has deleted the run: its Jobs go too, and the watches tell.
                return
