"""The way back: follows the Jobs of a run, and is the only place that settles futures.

::

    Cluster.watch ──> watcher thread ──> running: the future runs │ lines: to the display
                          │ last status
                          v
                      settling threads: outcome fetched, checked, unpickled ──> future, its callbacks
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from ascend._core.outcome import outcome_of
from ascend._core.output import displayed
from ascend._core.threads import Threads
from ascend._core.wire import join_frames, split_output, unpack_inline
from ascend.errors import ClusterError, TaskKilledError, TaskLostError
from ascend.model import JobOutput

if TYPE_CHECKING:
    from collections.abc import Callable

    from ascend._core.dispatch import Dispatcher
    from ascend._core.entry import Entry
    from ascend._core.progress.display import Display
    from ascend.model import JobStatus, Task

__all__ = ["Watcher"]

_logger = logging.getLogger("ascend")

# A thread is started only when no other is idle. A callback that waits for another future occupies one, and must
# never be the reason that this other future is not settled.
_SETTLING_THREADS = 10_000
_QUOTED_LINES = 20
_ENDED = {"succeeded", "failed"}


class Watcher:
    """Follows Jobs from their creation to the settled future."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        display: Display,
        *,
        report: Callable[[Task, str], None],
        ended: Callable[[Entry], None],
    ) -> None:
        self._dispatcher = dispatcher
        self._display = display
        self._report = report
        self._ended = ended
        self._entries: dict[str, Entry] = {}
        self._noted: dict[str, str] = {}
        self._guard = threading.Lock()
        self._failure: BaseException | None = None
        self._open = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ascend-watcher", daemon=True)
        self._own = threading.local()
        self._settlers = Threads(_SETTLING_THREADS, thread_name_prefix="ascend-settle", initializer=self._mark_thread)

    def start(self) -> None:
        """Start the threads that must be there before the interpreter ends; may be called again."""
        if self._thread.ident is None:
            self._thread.start()
            self._settlers.do(self._mark_thread)

    def opened(self) -> None:
        """Begin to watch: the cluster is open."""
        self._open.set()

    def is_own_thread(self) -> bool:
        """Tell whether this is a thread of the watcher: one that must not wait for the watcher."""
        return getattr(self._own, "marked", False)

    def _mark_thread(self) -> None:
        self._own.marked = True

    def close(self, *, wait: bool) -> None:
        """End the threads after the cluster was closed."""
        # The thread of a run that never got a Job still waits for its cluster.
        self._open.set()
        if wait and self._thread.ident is not None:
            self._thread.join()
        self._settlers.shutdown(wait=wait)

    def track(self, entry: Entry) -> None:
        """Expect events for the Job of *entry*, which is about to be created."""
        with self._guard:
            if self._failure is not None:
                msg = f"the Jobs of this run can no longer be watched: {self._failure}"
                raise ClusterError(msg) from self._failure
            self._entries[entry.task.job_name] = entry
            entry.created = True

    def fail(self, entry: Entry, exc: BaseException) -> None:
        """Settle a task that no Job was created for."""
        with self._guard:
            self._entries.pop(entry.task.job_name, None)
        if entry.future.start():
            self._settlers.do(self._settle_with, entry, exc)
        else:
            self._ended(entry)

    def killed(self, entry: Entry) -> None:
        """Settle a task that was stopped from here; its Job's end is still expected."""
        message = f"{entry.task.function} was stopped from here"
        entry.future.settle(None, TaskKilledError(message, task_id=entry.task.id))

    def let_go(self, entry: Entry) -> None:
        """Expect no end of the Job of a task that was stopped from here: its cluster has been silent for too long."""
        with self._guard:
            known = self._entries.pop(entry.task.job_name, None)
        if known is not None:
            self._settlers.do(self._settle_with, entry, TaskKilledError("it was stopped", task_id=entry.task.id))

    def _watch(self) -> None:
        self._mark_thread()
        self._open.wait()
        try:
            for event in self._dispatcher.cluster.watch():
                self._take(event)
            failure: BaseException = ClusterError("the cluster was closed")
        except BaseException as exc:  # whatever ends this thread, no future may be left waiting for it
            _logger.exception("the Jobs of this run can no longer be watched")
            failure = exc
        with self._guard:
            self._failure = failure
            left = list(self._entries.values())
            self._entries.clear()
        for entry in left:
            error = TaskLostError(f"{entry.task.function} can no longer be watched: {failure}", task_id=entry.task.id)
            error.__cause__ = failure
            self._settlers.do(self._settle_with, entry, error)

    def _take(self, event: JobStatus | JobOutput) -> None:
        try:
            self._observe(event)
        except BaseException:
            # A display that fails for one task must not keep the others from their ends.
            _logger.exception("an event of Job %s was not shown", event.job_name)

    def _observe(self, event: JobStatus | JobOutput) -> None:
        with self._guard:
            entry = self._entries.get(event.job_name)
            if entry is None:
                return
            if not isinstance(event, JobOutput) and event.phase in _ENDED and event.final:
                del self._entries[event.job_name]
        if isinstance(event, JobOutput):
            self._write(entry, event.lines)
        elif event.phase == "pending":
            self._wait(entry, event.message)
        elif event.phase == "running":
            entry.waiting = ""
            entry.future.started_attempt(event.attempt, event.at)
            if entry.future.start():
                self._report(entry.task, "run")
        elif event.final:
            self._settlers.do(self._settle, entry, event)

    def _wait(self, entry: Entry, reason: str) -> None:
        entry.waiting = reason
        function = entry.task.function
        # The thousand tasks of a map wait for the same.
        if reason and reason != self._noted.get(function):
            self._noted[function] = reason
            self._display.note(f"{function}: {reason}")

    def _write(self, entry: Entry, written: tuple[str, ...]) -> None:
        lines, frames = split_output(written)
        entry.frames += frames
        if not lines:
            return
        entry.output.add(lines)
        if entry.task.needs.stream_logs is not False:
            label = f"{entry.task.function}#{entry.task.id.rpartition('-')[2]}" if len(self._entries) > 1 else None
            self._display.lines(label, [displayed(line) for line in lines])

    def _settle(self, entry: Entry, status: JobStatus) -> None:
        try:
            outcome = outcome_of(
                entry.task,
                status,
                entry.output.tail(_QUOTED_LINES),
                lambda where: self._fetch(entry, where),
                self._dispatcher.serializer,
            )
        except BaseException as exc:  # noqa: BLE001 - a fault here is this task's end, and never a future that hangs
            self._settle_with(entry, exc)
            return
        entry.future.ran(outcome.times)
        try:
            self._finish(entry, failed=outcome.exception is not None)
        finally:
            entry.future.settle(outcome.value, outcome.exception)

    def _fetch(self, entry: Entry, where: str) -> memoryview:
        if where == "output":
            return unpack_inline(join_frames(entry.frames))
        return self._dispatcher.fetch_outcome(entry)

    def _settle_with(self, entry: Entry, exc: BaseException) -> None:
        try:
            self._finish(entry, failed=True)
        finally:
            entry.future.settle(None, exc)

    def _finish(self, entry: Entry, *, failed: bool) -> None:
        """Free what the task occupied, before its future's callbacks may do whatever they like."""
        try:
            self._dispatcher.clean_up(entry, failed=failed)
        except Exception:  # the answer is there: that its remains are too is no reason to lose it
            _logger.exception("what storage holds for task %s was not removed", entry.task.id)
        self._ended(entry)
