"""One build in the cluster, seen by one of those who wait for it: begun or joined, followed to its end, perhaps left.

::

    create the Job, suspended ──> its Secret, owned by it ──> resume
        │ there is one already
        ├── it runs: wait for that one
        └── it has ended without an image: remove it, begin anew

The API server is the lock: two Jobs cannot have one name. Nobody must stay until the end: a build needs no client,
what it made is found by its name, and the Job goes some time after its end, with its Secret.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from contextlib import suppress
from queue import Empty, Queue
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, NamedTuple

from ascend._builtin.kubernetes.conditions import has_ended
from ascend._builtin.kubernetes.connection import MERGE_PATCH
from ascend._builtin.kubernetes.failures import ApiError, refused
from ascend._builtin.kubernetes.features import JOBS
from ascend._builtin.kubernetes.following import Following
from ascend.building.build_manifest import BUILD_LABEL, FILES, WAITS, files_secret
from ascend.errors import ClusterError
from ascend.model import LABEL_PREFIX, JobOutput, JobStatus

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from ascend._builtin.kubernetes.connection import Connection
    from ascend.model import Manifest

__all__ = ["BuildRun", "Order"]

_logger = logging.getLogger("ascend")

_NOT_FOUND, _CONFLICT = 404, 409
_FAILED = f"{LABEL_PREFIX}/build-failed"
_LOOK_SECONDS = 0.5
# Who has created a Job resumes it at once, unless it was killed in between.
_RESUME_SECONDS = 5.0
_ATTEMPTS = 20


class Order(NamedTuple):
    """What is to be built: the *job*, the *files* of its Secret, and who waits, in *user*'s words."""

    job: Manifest
    files: Mapping[str, bytes]
    user: str


class BuildRun:
    """Waits for one build.

    *exists* tells whether its image is there by now, *report* takes what is said to who waits, *take* the build's log.
    """

    def __init__(
        self,
        connection: Connection,
        order: Order,
        *,
        exists: Callable[[], bool],
        report: Callable[[str], None],
        take: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._order = order
        self._exists = exists
        self._report = report
        self._take = take
        self._mark = f"{WAITS}{secrets.token_hex(4)}"
        self._name: str = order.job["metadata"]["name"]
        self._path = connection.path("jobs", self._name, api=JOBS)

    def run(self, closing: threading.Event, patience: float) -> JobStatus | None:
        """Return how the build ended; `None` if its image was there already, or if *closing* ended the wait."""
        job = self._obtain()
        if job is None:
            return None
        events: Queue[JobStatus | JobOutput | BaseException] = Queue()
        selector = f"{BUILD_LABEL}={job['metadata']['labels'][BUILD_LABEL]}"
        following = Following(self._connection, selector, events.put, stop=lambda _: self._leave(), patience=patience)
        ended = False
        try:
            following.tracker.expect(self._order.job)
            following.tracker.created(self._name, job["metadata"]["uid"])
            following.start()
            status = self._wait(events, closing)
            ended = status is not None
            if status is not None and _failed_for_all(status):
                self._note_failure(job["metadata"]["uid"])
            return status
        finally:
            following.stop()
            # Whoever reads its log stops, too.
            following.tracker.give_up("Deleted")
            following.close()
            if not ended:
                self._leave()

    def _wait(self, events: Queue[JobStatus | JobOutput | BaseException], closing: threading.Event) -> JobStatus | None:
        while not closing.is_set():
            try:
                event = events.get(timeout=_LOOK_SECONDS)
            except Empty:
                continue
            if isinstance(event, BaseException):
                raise event
            if isinstance(event, JobOutput):
                for line in event.lines:
                    self._take(line)
            elif event.phase in {"succeeded", "failed"} and event.final:
                return event
            elif event.phase == "pending":
                self._report(f"the build waits: {event.message}")
        return None

    # The Job: created, joined or replaced.

    def _obtain(self) -> dict[str, Any] | None:
        """Return the Job that builds now; `None` if the image is there."""
        for _ in range(_ATTEMPTS):
            made = self._create()
            if made is not None:
                self._resume(made)
                return made
            found = self._get()
            if found is None or "deletionTimestamp" in found["metadata"]:
                sleep(_LOOK_SECONDS)
            elif has_ended(found) or _FAILED in found["metadata"].get("annotations", {}):
                # It may have ended since the registry was asked.
                if self._exists():
                    return None
                self._replace(found)
            elif (joined := self._join(found)) is not None:
                return joined
        msg = f"the Job {self._name} comes and goes in namespace {self._connection.namespace!r}: who deletes it?"
        raise ClusterError(msg)

    def _create(self) -> dict[str, Any] | None:
        """Create the Job; `None` if there is one of that name."""
        job = self._order.job
        job["metadata"]["annotations"][self._mark] = self._waiting()
        try:
            return self._connection.create(self._connection.path("jobs", api=JOBS), job, fieldValidation="Strict")
        except ApiError as error:
            if error.status == _CONFLICT:
                return None
            raise refused(error, f"create the Job {self._name}, which builds an image") from error

    def _get(self) -> dict[str, Any] | None:
        try:
            return self._connection.get(self._path)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise refused(error, f"read the Job {self._name}") from error

    def _resume(self, job: Mapping[str, Any]) -> None:
        """Give the Job its Secret, and let it begin."""
        name = job["metadata"]["annotations"][FILES]
        secret = files_secret(name, job, self._order.files)
        try:
            self._connection.create(self._connection.path("secrets"), secret)
        except ApiError as error:
            if error.status != _CONFLICT:
                self._leave()
                raise refused(error, f"create the Secret {name} with the files of a build") from error
        try:
            self._connection.patch(self._path, {"spec": {"suspend": False}})
        except ApiError as error:
            if error.status != _NOT_FOUND:
                self._leave()
                raise refused(error, f"start the Job {self._name}") from error

    def _join(self, found: Mapping[str, Any]) -> dict[str, Any] | None:
        """Say that one more waits for a Job; return it, or `None` if it has gone."""
        waiting = {"metadata": {"annotations": {self._mark: self._waiting()}}}
        try:
            joined = self._connection.patch(self._path, waiting)
            who = found["metadata"].get("annotations", {}).get("ascend.dev/user", "somebody")
            self._report(f"{who} has this image built already: waiting for the Job {self._name}")
            end = monotonic() + _RESUME_SECONDS
            while joined["spec"].get("suspend"):
                if monotonic() > end:
                    self._resume(joined)
                    break
                sleep(_LOOK_SECONDS)
                joined = self._connection.get(self._path)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise refused(error, f"wait for the Job {self._name}") from error
        return joined

    def _replace(self, found: Mapping[str, Any]) -> None:
        self._report(f"an earlier build has ended without this image: building again ({self._name})")
        self._delete({"uid": found["metadata"]["uid"]})

    def _note_failure(self, uid: str) -> None:
        """Say that it has failed, which the Job itself does only a few seconds later: nobody is to wait for it."""
        # With another uid the patch is refused: somebody has begun anew under the same name.
        noted = {"metadata": {"uid": uid, "annotations": {_FAILED: "true"}}}
        with suppress(ClusterError):
            self._connection.patch(self._path, noted, MERGE_PATCH)

    def _leave(self) -> None:
        """Wait no more; a build that nobody waits for is stopped."""
        try:
            for _ in range(_ATTEMPTS):
                left = self._connection.patch(
                    self._path, {"metadata": {"annotations": {self._mark: None}}}, MERGE_PATCH
                )
                waiting = [each for each in left["metadata"].get("annotations") or {} if each.startswith(WAITS)]
                if waiting or has_ended(left):
                    return
                # If somebody comes in this moment, the version is another one; it also is if the cluster has counted.
                if self._delete({name: left["metadata"][name] for name in ("uid", "resourceVersion")}):
                    return
        except ClusterError as error:
            if not (isinstance(error, ApiError) and error.status == _NOT_FOUND):
                _logger.warning("the build %s was not stopped, and ends by itself: %s", self._name, error)

    def _delete(self, only: Mapping[str, str]) -> bool:
        """Delete the Job, *only* if it is still that one; tell whether it was."""
        options = {"propagationPolicy": "Background", "preconditions": dict(only)}
        try:
            self._connection.exchange("DELETE", self._path, options)
        except ApiError as error:
            if error.status not in {_NOT_FOUND, _CONFLICT}:
                raise
            return error.status == _NOT_FOUND
        return True

    def _waiting(self) -> str:
        return f"{self._order.user}@{socket.gethostname()}:{os.getpid()}"


def _failed_for_all(status: JobStatus) -> bool:
    """Tell whether the build itself failed; what one waiter gave up on may still come about for the others."""
    ran = status.exit_code is not None or status.signal is not None
    # A disrupted pod is made again, however often this one has seen it.
    return status.phase == "failed" and ran and status.reason != "Disrupted"
