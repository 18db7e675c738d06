"""What exists while a run is open: its Lease, its watches, the threads that look after its Jobs."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ascend._builtin.kubernetes.events import refusals_of
from ascend._builtin.kubernetes.failures import ApiError, refused
from ascend._builtin.kubernetes.features import JOBS
from ascend._builtin.kubernetes.finished import finished
from ascend._builtin.kubernetes.lease import RENEW_SECONDS, RunLease
from ascend._builtin.kubernetes.logs import PodLog
from ascend._builtin.kubernetes.options import options_of
from ascend._builtin.kubernetes.tracker import Tracker
from ascend._builtin.kubernetes.watching import Watch
from ascend.errors import ClusterError, ClusterUnreachableError
from ascend.model import LABEL_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ascend._builtin.kubernetes.connection import Connection
    from ascend._builtin.kubernetes.diagnosis import Diagnosis
    from ascend.model import Manifest, Profile

__all__ = ["KubernetesRun"]

_logger = logging.getLogger("ascend")

_DELETERS = 8
_LOOK_SECONDS = 0.5
_LAST_PATIENCE = 10.0
# Events are asked for that much later each time, as long as the same Jobs are without pods.
_EVENT_PAUSES = (0.0, 2.0, 5.0, 10.0, 30.0)


class KubernetesRun:
    """What exists while a run is open: its Lease, its watches, its threads."""

    def __init__(self, connection: Connection, run_id: str, profile: Profile, put: Callable[[Any], None]) -> None:
        self.connection = connection
        self.lease = RunLease(connection, run_id, profile.user, profile.project)
        self._put = put
        self._ending = threading.Event()
        self._unreachable = False
        self._deleters = ThreadPoolExecutor(_DELETERS, thread_name_prefix="ascend-delete")
        self._readers: set[threading.Thread] = set()
        self._guard = threading.Lock()
        self.tracker = Tracker(put, new_log=partial(PodLog, connection), in_thread=self._in_thread, stop=self.stop_job)
        selector = f"{LABEL_PREFIX}/run={run_id}"
        patience = options_of(profile).unreachable_timeout
        self._watches = [
            Watch(connection, connection.path("pods"), selector, self.tracker.observe_pod, patience=patience),
            Watch(connection, connection.path("jobs", api=JOBS), selector, self.tracker.observe_job, patience=patience),
        ]
        self._threads = [
            threading.Thread(target=self._guarded, args=(call,), name=f"ascend-{name}", daemon=True)
            for name, call in (
                *(("watch", watch.run) for watch in self._watches),
                ("lease", self._renew),
                ("look", self._look),
            )
        ]

    def start(self) -> None:
        """Begin to watch; what may not be read is refused here."""
        try:
            for watch in self._watches:
                watch.list()
        except ClusterError as error:
            # Where the server has gone since, `ascend runs gc` finds the Lease.
            self.connection.patience = min(self.connection.patience, _LAST_PATIENCE)
            with suppress(ClusterUnreachableError):
                self.lease.delete()
            if isinstance(error, ApiError):
                raise refused(error, "watch pods and Jobs") from error
            raise
        for thread in self._threads:
            thread.start()

    def create_job(self, manifest: Manifest) -> None:
        connection = self.connection
        job = finished(manifest, namespace=connection.namespace, owner=self.lease.owner)
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
        self._ending.set()
        for watch in self._watches:
            watch.close()
        self.tracker.give_up("Deleted")
        self._deleters.shutdown(wait=True)
        try:
            self.lease.delete()
        finally:
            with self._guard:
                readers = list(self._readers)
            for thread in (*self._threads, *readers):
                # None has begun where the run could not be opened.
                if thread.is_alive() and thread is not threading.current_thread():
                    thread.join(10)
            self.connection.close()

    def _delete_job(self, job_name: str) -> None:
        if self._unreachable and self._ending.is_set():
            return
        path = self.connection.path("jobs", job_name, api=JOBS)
        try:
            self.connection.delete(path)
        except ClusterError as error:
            self._unreachable = isinstance(error, ClusterUnreachableError)
            _logger.warning("the Job %s was not deleted: %s", job_name, error)

    def _in_thread(self, call: Callable[..., object], *args: Any) -> None:
        def run() -> None:
            try:
                call(*args)
            finally:
                with self._guard:
                    self._readers.discard(thread)

        thread = threading.Thread(target=run, name="ascend-pod", daemon=True)
        with self._guard:
            self._readers.add(thread)
        try:
            thread.start()
        except RuntimeError:
            with self._guard:
                self._readers.discard(thread)
            raise

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as exc:  # noqa: BLE001 - whatever ends a thread, no Job may be left waiting for it
            if not self._ending.is_set():
                self._put(exc)

    def _renew(self) -> None:
        while not self._ending.wait(RENEW_SECONDS):
            if not self.lease.renew():
                # Somebody has deleted the run: its Jobs go too, and the watches tell.
                return

    def _look(self) -> None:
        """Look at what waits, twice a second; ask the server only about what is odd, and ever more rarely."""
        asked: set[str] = set()
        pause, since = 0, 0.0
        refusals: Mapping[str, Diagnosis] = {}
        while not self._ending.wait(_LOOK_SECONDS):
            since += _LOOK_SECONDS
            late = self.tracker.without_pod()
            if not late:
                pause, since, refusals = 0, 0.0, {}
                asked.clear()
            elif since >= _EVENT_PAUSES[0 if asked.isdisjoint(late) else min(pause, len(_EVENT_PAUSES) - 1)]:
                refusals, pause, since = refusals_of(self.connection, late), pause + 1, 0.0
                asked.update(late)
            for name in self.tracker.overdue():
                self._look_for_pods(name)
            self.tracker.look(refusals)

    def _look_for_pods(self, job_name: str) -> None:
        """Tell of the pods of a Job that has ended, in case the watch of pods has lost its connection unawares."""
        selector = f"batch.kubernetes.io/job-name={job_name}"
        try:
            pods, _ = self.connection.items(self.connection.path("pods"), labelSelector=selector)
        except ClusterError as error:
            _logger.warning("the pods of the Job %s cannot be read: %s", job_name, error)
            return
        for pod in pods:
            self.tracker.observe_pod("MODIFIED", pod)
