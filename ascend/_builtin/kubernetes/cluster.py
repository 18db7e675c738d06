"""Cluster ``kubernetes``: puts connection, Lease, watches, logs and tracker together."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import Full, Queue
from typing import TYPE_CHECKING, Any

from ascend._builtin.kubernetes.connection import PATIENCE
from ascend._builtin.kubernetes.diagnosis import failed_create
from ascend._builtin.kubernetes.failures import ApiError, refused
from ascend._builtin.kubernetes.features import JOBS, check_features
from ascend._builtin.kubernetes.files import MOST_BYTES, place_file
from ascend._builtin.kubernetes.finished import finished
from ascend._builtin.kubernetes.kubeconfig import connect
from ascend._builtin.kubernetes.lease import RENEW_SECONDS, RunLease
from ascend._builtin.kubernetes.logs import PodLog
from ascend._builtin.kubernetes.options import options_of
from ascend._builtin.kubernetes.tracker import Tracker
from ascend._builtin.kubernetes.watching import Watch
from ascend.errors import ClusterError
from ascend.model import LABEL_PREFIX, ClusterTraits, JobOutput, JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from ascend._builtin.kubernetes.connection import Connection
    from ascend._builtin.kubernetes.diagnosis import Diagnosis
    from ascend.model import Manifest, PlacedFile, Profile

__all__ = ["KubernetesCluster"]

_logger = logging.getLogger("ascend")

_PARALLEL = 200
_INLINE_CALL = 64 * 1024
# The kubelet rotates a log at 10 MiB: what a task writes besides must have room.
_OUTPUT_OUTCOME = 6 << 20
_QUEUED_EVENTS = 10_000
_DELETERS = 8
_LOOK_SECONDS = 0.5
# Events are asked for that much later each time, as long as Jobs are without pods.
_EVENT_PAUSES = (0.0, 2.0, 5.0, 10.0, 30.0)
_FIRST_PATIENCE = 20.0
_GONE = {404, 409}


class KubernetesCluster:
    """Creates Jobs in one namespace and follows them."""

    name = "kubernetes"

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._run: _Run | None = None
        self._events: Queue[JobStatus | JobOutput | BaseException | None] = Queue(_QUEUED_EVENTS)
        self._closed = False
        self._unheard = threading.Event()
        self._guard = threading.Lock()

    @property
    def traits(self) -> ClusterTraits:
        return ClusterTraits(
            parallel=_PARALLEL,
            queues=True,
            inline_call=_INLINE_CALL,
            storage_url=None,
            image_builder="prebuilt",
            placed_file=MOST_BYTES,
            output_outcome=_OUTPUT_OUTCOME,
        )

    def open(self, run_id: str) -> None:
        connection = connect_profile(self._profile)
        # Who has named the wrong cluster need not wait as long as who has lost the right one for a moment.
        patience, connection.patience = connection.patience, min(connection.patience, _FIRST_PATIENCE)
        check_features(connection, folder=_cache_folder())
        run = _Run(connection, run_id, self._profile, self._put)
        connection.patience = patience
        with self._guard:
            self._run = run
        run.start()

    def place(self, name: str, content: bytes) -> PlacedFile:
        run = self._opened()
        return place_file(run.connection, run.lease.owner, name, content)

    def create_job(self, manifest: Manifest) -> None:
        self._opened().create_job(manifest)

    def watch(self) -> Iterator[JobStatus | JobOutput]:
        try:
            while (event := self._events.get()) is not None:
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            self._unheard.set()

    def delete_job(self, job_name: str) -> None:
        if self._run is not None and not self._closed:
            self._run.stop_job(job_name)

    def close(self) -> None:
        with self._guard:
            if self._closed:
                return
            self._closed = True
        try:
            if self._run is not None:
                self._run.close()
        finally:
            self._put(None)

    def _put(self, event: JobStatus | JobOutput | BaseException | None) -> None:
        """Queue an event; once nobody listens any more, a full queue must hold up no thread."""
        while not self._unheard.is_set():
            try:
                self._events.put(event, timeout=1)
            except Full:
                continue
            return

    def _opened(self) -> _Run:
        if self._run is None or self._closed:
            msg = "the connection to Kubernetes is closed"
            raise ClusterError(msg)
        return self._run


class _Run:
    """What exists while a run is open: its Lease, its watches, its threads."""

    def __init__(self, connection: Connection, run_id: str, profile: Profile, put: Callable[[Any], None]) -> None:
        self.connection = connection
        self.lease = RunLease(connection, run_id, profile.user, profile.project)
        self._put = put
        self._ending = threading.Event()
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
        except ApiError as error:
            self.lease.delete()
            raise refused(error, "watch pods and Jobs") from error
        for thread in self._threads:
            thread.start()

    def create_job(self, manifest: Manifest) -> None:
        connection = self.connection
        job = finished(manifest, namespace=connection.namespace, owner=self.lease.owner)
        name = job["metadata"]["name"]
        self.tracker.expect(job)
        try:
            connection.create(connection.path("jobs", api=JOBS), job, fieldValidation="Strict")
        except ApiError as error:
            # An answer was lost and the request repeated: names hold the random id of the run.
            if error.reason == "AlreadyExists":
                return
            self.tracker.forget(name)
            raise refused(error, f"create the Job {name}") from error
        except ClusterError:
            self.tracker.forget(name)
            raise

    def stop_job(self, job_name: str) -> None:
        try:
            self._deleters.submit(self._delete_job, job_name)
        except RuntimeError:
            # It is closed: everything has been deleted.
            return

    def close(self) -> None:
        """Stop all Jobs, have everything removed, end all threads."""
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
        path = self.connection.path("jobs", job_name, api=JOBS)
        try:
            self.connection.delete(path)
        except ClusterError as error:
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
        """Look at what waits, twice a second; ask for events only while Jobs have no pod, and ever more rarely."""
        pause, since = 0, 0.0
        refusals: Mapping[str, Diagnosis] = {}
        while not self._ending.wait(_LOOK_SECONDS):
            since += _LOOK_SECONDS
            late = self.tracker.without_pod()
            if not late:
                pause, since, refusals = 0, 0.0, {}
            elif since >= _EVENT_PAUSES[min(pause, len(_EVENT_PAUSES) - 1)]:
                refusals, pause, since = self._refusals(late), pause + 1, 0.0
            self.tracker.look(refusals)

    def _refusals(self, job_names: list[str]) -> dict[str, Diagnosis]:
        """Return why the given Jobs get no pods, as far as events say it: one request for all of them."""
        try:
            events, _ = self.connection.items(
                self.connection.path("events"), fieldSelector="involvedObject.kind=Job,reason=FailedCreate"
            )
        except ClusterError as error:
            _logger.debug("events cannot be read: %s", error)
            return {}
        found = {}
        for name in job_names:
            diagnosis = failed_create(each for each in events if each["involvedObject"]["name"] == name)
            if diagnosis is not None:
                found[name] = diagnosis
        return found


def connect_profile(profile: Profile) -> Connection:
    """Return a connection to where *profile* leads."""
    options = options_of(profile)
    patience = min(PATIENCE, options.unreachable_timeout)
    return connect(profile.context, profile.namespace, options.kubeconfig, patience)


def _cache_folder() -> Path:
    from platformdirs import user_cache_path  # noqa: PLC0415 - only who talks to a cluster needs it

    return user_cache_path("ascend")
