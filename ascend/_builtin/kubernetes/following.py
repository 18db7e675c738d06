"""Follows the Jobs that a selector selects: their watches, their logs, and the threads that look after what waits."""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from ascend._builtin.kubernetes.events import refusals_of
from ascend._builtin.kubernetes.failures import ApiError, refused
from ascend._builtin.kubernetes.features import JOBS
from ascend._builtin.kubernetes.logs import PodLog
from ascend._builtin.kubernetes.tracker import Tracker
from ascend._builtin.kubernetes.watching import Watch
from ascend.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ascend._builtin.kubernetes.connection import Connection
    from ascend._builtin.kubernetes.diagnosis import Diagnosis

__all__ = ["Following"]

_logger = logging.getLogger("ascend")

_LOOK_SECONDS = 0.5
# Events are asked for that much later each time, as long as the same Jobs are without pods.
_EVENT_PAUSES = (0.0, 2.0, 5.0, 10.0, 30.0)


class Following:
    """Hands to *put* what happens to the Jobs that *selector* selects and that the *tracker* expects.

    What ends a thread is handed over too, as the exception that it is. *stop* is called with the name of a Job that no
    longer has a purpose.
    """

    def __init__(
        self,
        connection: Connection,
        selector: str,
        put: Callable[[Any], None],
        *,
        stop: Callable[[str], None],
        patience: float,
    ) -> None:
        self._connection = connection
        self._put = put
        self._ending = threading.Event()
        self._readers: set[threading.Thread] = set()
        self._guard = threading.Lock()
        self.tracker = Tracker(put, new_log=partial(PodLog, connection), in_thread=self._in_thread, stop=stop)
        self._watches = [
            Watch(connection, connection.path("pods"), selector, self.tracker.observe_pod, patience=patience),
            Watch(connection, connection.path("jobs", api=JOBS), selector, self.tracker.observe_job, patience=patience),
        ]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to watch; what may not be read is refused here."""
        try:
            for watch in self._watches:
                watch.list()
        except ApiError as error:
            raise refused(error, "watch pods and Jobs") from error
        for watch in self._watches:
            self.run("watch", watch.run)
        self.run("look", self._look)

    def run(self, name: str, call: Callable[[], None]) -> None:
        """Make a call in a thread of its own, which `close` waits for."""
        thread = threading.Thread(target=self._guarded, args=(call,), name=f"ascend-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def ends_within(self, seconds: float) -> bool:
        """Wait; tell whether `stop` was called meanwhile."""
        return self._ending.wait(seconds)

    @property
    def is_ending(self) -> bool:
        """Whether `stop` was called."""
        return self._ending.is_set()

    def stop(self) -> None:
        """End the watches; from then on nothing that breaks is told."""
        self._ending.set()
        for watch in self._watches:
            watch.close()

    def close(self) -> None:
        """Wait for all threads."""
        self.stop()
        with self._guard:
            readers = list(self._readers)
        for thread in (*self._threads, *readers):
            if thread is not threading.current_thread():
                thread.join(10)

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
                refusals, pause, since = refusals_of(self._connection, late), pause + 1, 0.0
                asked.update(late)
            for name in self.tracker.overdue():
                self._look_for_pods(name)
            self.tracker.look(refusals)

    def _look_for_pods(self, job_name: str) -> None:
        """Tell of the pods of a Job that has ended, in case the watch of pods has lost its connection unawares."""
        selector = f"batch.kubernetes.io/job-name={job_name}"
        try:
            pods, _ = self._connection.items(self._connection.path("pods"), labelSelector=selector)
        except ClusterError as error:
            _logger.warning("the pods of the Job %s cannot be read: %s", job_name, error)
            return
        for pod in pods:
            self.tracker.observe_pod("MODIFIED", pod)
