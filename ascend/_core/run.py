"""A run: all tasks of one executor, the queue in which they wait for a slot, and the threads that serve them.

::

    submit ──> queue ──> slot ──> dispatch threads ──> cluster ──> pod: ascend.runner
                                                                      │
    Future <── watcher ........................................... receipt, outcome
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import OrderedDict
from functools import partial
from itertools import count
from time import time
from typing import TYPE_CHECKING, Any, Literal

from ascend._core import lifecycle
from ascend._core.config.files import project_folder
from ascend._core.dispatch import Dispatcher
from ascend._core.entry import Entry
from ascend._core.future import AscendFuture
from ascend._core.output import Output
from ascend._core.threads import Threads
from ascend._core.watcher import Watcher
from ascend.errors import InitializerError
from ascend.model import Task, TaskEvent

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from ascend._core.bundle import Call
    from ascend._core.plugins.asking import Plugins
    from ascend._core.progress.display import Display
    from ascend.model import Needs, Profile

__all__ = ["Run"]

_logger = logging.getLogger("ascend")

_DISPATCH_THREADS = 16
# How long the ends of stopped Jobs are waited for before everything is removed at once.
_LAST_WORD_SECONDS = 10.0
_NOT_AFTER_FORK = (
    "belongs to the process that was forked; a process that needs an executor of its own "
    "must be started with 'spawn' or 'forkserver'"
)


class Run:
    """The engine behind an executor and all its views."""

    def __init__(self, profile: Profile, plugins: Plugins, display: Display) -> None:
        self.id = secrets.token_hex(4)
        self.profile = profile
        self.display = display
        self.broken: str | None = None
        self._plugins = plugins
        folder = project_folder(None)
        self.dispatcher = Dispatcher(self.id, profile, plugins, report=self._report, note=display.note, folder=folder)
        self._watcher = Watcher(self.dispatcher, display, report=self._report, ended=self._ended)
        self._dispatchers = Threads(_DISPATCH_THREADS, thread_name_prefix="ascend-dispatch")
        self._parallel = profile.max_parallel or self.dispatcher.cluster.traits.parallel
        self._numbers = count(1)
        self._queue: OrderedDict[str, Entry] = OrderedDict()
        self._running: dict[str, Entry] = {}
        self._changed = threading.Condition()
        self._shutdown = False
        self._closed = False
        self._abandoned = False
        lifecycle.register(self)

    def submit(self, call: Call, needs: Needs, name: str, group: str | None = None) -> AscendFuture[Any]:
        """Queue a call; never touches the network. `RuntimeError` after shutdown and in a forked child."""
        task = self._task(needs, name)
        output = Output()
        future: AscendFuture[Any] = AscendFuture(task, self, output)
        with self._changed:
            self._check_open()
            self._watcher.start()
            self._queue[task.job_name] = Entry(task, future, output, call)
        self.display.submitted(task, group)
        future.add_done_callback(partial(self._report_end, task))
        self._fill()
        return future

    def shutdown(self, *, wait: bool, cancel_futures: bool = False, kill: bool = False) -> None:
        """Take no more calls; with *kill* stop those that run."""
        if self._abandoned:
            # What there is belongs to the parent of this fork.
            return
        with self._changed:
            self._shutdown = True
            pending = list(self._queue.values()) if cancel_futures else []
            running = list(self._running.values()) if kill or cancel_futures else []
        for entry in (*pending, *running):
            if cancel_futures:
                _try(entry.future.cancel)
            if kill:
                _try(entry.future.kill)
        if kill:
            self.dispatcher.stop_waiting()
        self._close_if_done()
        # A done-callback that ends its own executor cannot wait for itself.
        if wait and not self._watcher.is_own_thread():
            while not self._wait_closed():
                self._let_go()
            self._dispatchers.shutdown(wait=True)
            self._watcher.close(wait=True)

    def _wait_closed(self) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._closed or self._abandoned, _LAST_WORD_SECONDS)

    def _let_go(self) -> None:
        """Where only stopped Jobs are left, wait no longer for their ends: to close the cluster removes them."""
        with self._changed:
            left = list(self._running.values())
            # One without a Job is still being dispatched, and ends there.
            if self._queue or not all(entry.created and entry.future.done() for entry in left):
                return
        for entry in left:
            self._watcher.let_go(entry)

    def abandon(self) -> None:
        """Fail what is open: this process is a fork, and the threads that would go on stayed in the parent."""
        self._abandoned = True
        self._changed = threading.Condition()
        error = f"this task {_NOT_AFTER_FORK}"
        for entry in (*self._queue.values(), *self._running.values()):
            future = entry.future
            # Waiters and locks are the parent's threads'.
            future._condition = threading.Condition()  # noqa: SLF001
            future._waiters = []  # noqa: SLF001
            future._done_callbacks = []  # type: ignore[attr-defined] # noqa: SLF001
            entry.output.abandon()
            if not future.done():
                future.set_exception(RuntimeError(error))

    # What futures ask for.

    def future_cancelled(self, future: AscendFuture[Any]) -> None:
        with self._changed:
            queued = self._queue.pop(_job_name(future.task_id), None)
            if queued is not None:
                queued.call = None
        if queued is None:
            self.dispatcher.cluster.delete_job(_job_name(future.task_id))
        self._close_if_done()

    def kill(self, future: AscendFuture[Any]) -> None:
        with self._changed:
            entry = self._running.get(_job_name(future.task_id))
            if entry is None:
                return
            entry.killed = True
        if entry.created:
            self.dispatcher.cluster.delete_job(entry.task.job_name)
        self._watcher.killed(entry)

    def explain(self, future: AscendFuture[Any]) -> str:
        with self._changed:
            ahead = list(self._queue).index(name) if (name := _job_name(future.task_id)) in self._queue else None
            busy = len(self._running)
            entry = self._running.get(name)
        if ahead is not None:
            return f"It waits for one of {self._parallel} slots: {busy} tasks run and {ahead} wait before it."
        if entry is not None and entry.waiting:
            return f"It waits on the cluster: {entry.waiting.rstrip('. ')}."
        phase = future.timeline.phases[-1]
        return f"It is in phase {phase.name!r} since {time() - phase.started:.1f} s, attempt {max(1, future.attempts)}."

    # The way of a task.

    def _task(self, needs: Needs, name: str) -> Task:
        number = next(self._numbers)
        project = needs.project or self.profile.project
        task_id = f"{self.id}-{number}"
        return Task(task_id, self.id, _job_name(task_id), name, self.profile.user, project, needs)

    def _check_open(self) -> None:
        if self._abandoned:
            msg = f"this executor {_NOT_AFTER_FORK}"
            raise RuntimeError(msg)
        if self.broken is not None:
            raise InitializerError(self.broken)
        if lifecycle.is_exiting():
            msg = "cannot schedule new futures after interpreter shutdown"
            raise RuntimeError(msg)
        if self._shutdown:
            msg = "cannot schedule new futures after shutdown"
            raise RuntimeError(msg)

    def _fill(self) -> None:
        """Hand queued tasks to dispatch threads as long as there are slots."""
        while True:
            with self._changed:
                if not self._queue or (self._parallel is not None and len(self._running) >= self._parallel):
                    return
                _, entry = self._queue.popitem(last=False)
                self._running[entry.task.job_name] = entry
            if not self.dispatcher.cluster.traits.queues and not entry.future.start():
                self._ended(entry)
                continue
            try:
                self._dispatchers.do(self._dispatch, entry)
            except RuntimeError as exc:
                # The system has no thread left.
                self._running.pop(entry.task.job_name, None)
                entry.future.settle(None, exc)

    def _dispatch(self, entry: Entry) -> None:
        try:
            # Before and after what takes long where the cluster is gone.
            if not entry.future.done() and self.dispatcher.open(entry):
                self._watcher.opened()
            if entry.future.done():
                self._ended(entry)
                return
            self.dispatcher.dispatch(entry, self._watcher.track)
            if entry.killed or entry.future.cancelled():
                self.dispatcher.cluster.delete_job(entry.task.job_name)
        except BaseException as exc:  # noqa: BLE001 - whatever stops a dispatch belongs to that future, and to no other
            entry.call = None
            self._watcher.fail(entry, exc)

    def _ended(self, entry: Entry) -> None:
        with self._changed:
            self._running.pop(entry.task.job_name, None)
        self._fill()
        self._close_if_done()

    def _report(self, task: Task, phase: str) -> None:
        self.display.phase(task, phase)
        self._plugins.task_event(TaskEvent(task, phase, time()))

    def _report_end(self, task: Task, future: Future[Any]) -> None:
        exception = None if future.cancelled() else future.exception()
        if isinstance(exception, InitializerError):
            self._break(exception)
        outcome: Literal["succeeded", "failed", "cancelled"] = "succeeded" if exception is None else "failed"
        if future.cancelled():
            outcome = "cancelled"
        timeline = future.timeline if isinstance(future, AscendFuture) else None
        self.display.finished(task, outcome)
        self._plugins.task_event(TaskEvent(task, outcome, time(), timeline))

    def _break(self, exception: InitializerError) -> None:
        """Fail all that waits, since the initializer would fail for it too; as the standard executors do."""
        with self._changed:
            self.broken = str(exception)
            waiting = list(self._queue.values())
            self._queue.clear()
        for entry in waiting:
            entry.call = None
            if entry.future.start():
                entry.future.settle(None, InitializerError(str(exception), task_id=entry.task.id))

    def _close_if_done(self) -> None:
        with self._changed:
            if self._abandoned or not self._shutdown or self._queue or self._running or self._closed:
                return
            self._closed = True
        _try(self.dispatcher.cluster.close)
        self._dispatchers.shutdown(wait=False)
        self._watcher.close(wait=False)
        self.display.close()
        lifecycle.unregister(self)
        with self._changed:
            self._changed.notify_all()


def _job_name(task_id: str) -> str:
    return f"asc-{task_id}"


def _try(step: Callable[[], object]) -> None:
    """Do one of several steps that must all be done, whatever becomes of the others."""
    try:
        step()
    except Exception:
        _logger.exception("a step on the way to the end of a run failed")
