"""Cluster ``kubernetes``: puts connection, Lease, watches, logs and tracker together."""

from __future__ import annotations

import threading
from queue import Full, Queue
from typing import TYPE_CHECKING

from ascend._builtin.kubernetes.connection import PATIENCE
from ascend._builtin.kubernetes.features import check_features
from ascend._builtin.kubernetes.files import MOST_BYTES, place_file
from ascend._builtin.kubernetes.kubeconfig import connect
from ascend._builtin.kubernetes.options import options_of
from ascend._builtin.kubernetes.run import KubernetesRun
from ascend.errors import ClusterError
from ascend.model import ClusterTraits, JobOutput, JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ascend._builtin.kubernetes.connection import Connection
    from ascend.model import Manifest, PlacedFile, Profile

__all__ = ["KubernetesCluster"]

_PARALLEL = 200
_INLINE_CALL = 64 * 1024
# The kubelet rotates a log at 10 MiB: what a task writes besides must have room.
_OUTPUT_OUTCOME = 6 << 20
_QUEUED_EVENTS = 10_000
_FIRST_PATIENCE = 20.0


class KubernetesCluster:
    """Creates Jobs in one namespace and follows them."""

    name = "kubernetes"

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._run: KubernetesRun | None = None
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
            image_builder="uv",
            placed_file=MOST_BYTES,
            output_outcome=_OUTPUT_OUTCOME,
        )

    def open(self, run_id: str) -> None:
        connection = connect_profile(self._profile)
        # Who has named the wrong cluster need not wait as long as who has lost the right one for a moment.
        patience, connection.patience = connection.patience, min(connection.patience, _FIRST_PATIENCE)
        check_features(connection, folder=_cache_folder())
        run = KubernetesRun(connection, run_id, self._profile, self._put)
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

    def _opened(self) -> KubernetesRun:
        if self._run is None or self._closed:
            msg = "the connection to Kubernetes is closed"
            raise ClusterError(msg)
        return self._run


def connect_profile(profile: Profile) -> Connection:
    """Return a connection to where *profile* leads."""
    options = options_of(profile)
    patience = min(PATIENCE, options.unreachable_timeout)
    return connect(profile.context, profile.namespace, options.kubeconfig, patience)


def _cache_folder() -> Path:
    from platformdirs import user_cache_path  # noqa: PLC0415 - only who talks to a cluster needs it

    return user_cache_path("ascend")
