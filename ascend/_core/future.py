"""`AscendFuture`: a standard Future that knows its task."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import CancelledError, Future, InvalidStateError
from time import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ascend.model import Phase, Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ascend._core.output import Output
    from ascend.model import Task

__all__ = ["AscendFuture", "Control"]

_logger = logging.getLogger("ascend")

_PHASES_THERE = ("install", "load", "run", "return")

T = TypeVar("T")


class Control(Protocol):
    """What a future asks of the run that it belongs to."""

    def future_cancelled(self, future: AscendFuture[Any]) -> None:
        """Let go of the call; it will not be made."""
        ...

    def kill(self, future: AscendFuture[Any]) -> None:
        """Stop the task."""
        ...

    def explain(self, future: AscendFuture[Any]) -> str:
        """Say what the task is waiting for."""
        ...


class AscendFuture(Future[T]):
    """A `concurrent.futures.Future` of one task.

    It is pending until the task was handed to a cluster that starts it at once, or until its pod runs.
    `cancel` works while it is pending, as for every Future; `kill` stops a running task.
    """

    def __init__(self, task: Task | None = None, control: Control | None = None, output: Output | None = None) -> None:
        super().__init__()
        self._task = task
        self._control = control
        self._output = output
        self._attempts = 0
        self._marks: list[tuple[str, float]] = [("queue", time())]
        self._ended_at: float | None = None
        # Keeps the one notification that Future allows to one thread.
        self._changing = threading.Lock()
        self._notified = False
        self._let_go = False

    @property
    def task_id(self) -> str:
        """Which task this is; part of its Job's name and of its keys in storage."""
        return self._task.id if self._task else ""

    @property
    def run_id(self) -> str:
        """Which run the task belongs to: all tasks of one executor."""
        return self._task.run_id if self._task else ""

    @property
    def attempts(self) -> int:
        """How many processes were started for it so far: more than one after *retries*."""
        return self._attempts

    @property
    def timeline(self) -> Timeline:
        """Where the time went so far; complete once the future is done."""
        # Other threads add to it meanwhile.
        marks = list(self._marks)
        ends = [*(began for _, began in marks[1:]), self._ended_at or time()]
        rows = zip(marks, ends, strict=True)
        return Timeline(tuple(Phase(name, began, max(0.0, end - began)) for (name, began), end in rows))

    def logs(self, *, follow: bool = False) -> Iterator[str]:
        """Yield the lines that the task wrote, standard output and error in one order, also after its end.

        The last million characters are kept. With *follow* the iterator waits for more until the task has ended.
        """
        return iter(()) if self._output is None else self._output.read(follow=follow)

    def explain(self) -> str:
        """Say in one sentence what the task is doing or waiting for."""
        if self.done() or self._control is None:
            return _ending(self)
        return self._control.explain(self)

    def kill(self) -> bool:
        """Stop the task now, running or not, with all the processes that it started.

        A running task's future gets a `TaskKilledError`; a pending one is cancelled.
        Returns false if the future was done already.
        """
        if self.done():
            return False
        if not self.cancel() and self._control is not None:
            self._control.kill(self)
        return True

    def cancel(self) -> bool:
        """Cancel the call if it is still pending; a running one goes on (see `kill`)."""
        if not super().cancel():
            return False
        if self._control is None:
            return True
        with self._changing:
            notify, self._notified = not self._notified, True
            let_go, self._let_go = not self._let_go, True
        if notify:
            self._end()
            # Future.cancel leaves waking up `wait` and `as_completed` to a worker, and a pending task has none.
            super().set_running_or_notify_cancel()
        if let_go:
            self._control.future_cancelled(self)
        return True

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Call *fn* with this future when it is done; what it raises is logged."""

        def call(future: Future[T]) -> None:
            try:
                fn(future)
            except BaseException:
                # SystemExit in a callback must not end the thread that settles the other futures.
                _logger.exception("exception calling callback for %r", future)

        super().add_done_callback(call)

    # For the engine only.

    def start(self) -> bool:
        """Make a pending future a running one; false if it was cancelled or settled before."""
        with self._changing:
            if self._notified or self.running() or self._ended_at is not None:
                return self.running()
            if self.set_running_or_notify_cancel():
                return True
            self._notified = True
            return False

    def mark(self, phase: str, at: float | None = None) -> None:
        """Note that *phase* of the timeline began."""
        self._marks.append((phase, time() if at is None else at))

    def started_attempt(self, number: int, at: float) -> None:
        """Note that a process runs; when it loaded and called, only its receipt can tell."""
        self._attempts = number
        self.mark("run", at)

    def ran(self, times: tuple[float, ...]) -> None:
        """Note when installing, if anything was, loading, running and returning began, as the receipt tells."""
        if times:
            before = [mark for mark in self._marks if mark[0] != "run"]
            self._marks = [*before, *zip(_PHASES_THERE[-len(times) :], times, strict=True)]

    def settle(self, value: T | None, exception: BaseException | None) -> bool:
        """Give the future its end; false if it has one."""
        self._end()
        try:
            if exception is None:
                self.set_result(value)  # type: ignore[arg-type] # without an exception there is a value
            else:
                self.set_exception(exception)
        except InvalidStateError:
            return False
        return True

    def _end(self) -> None:
        if self._ended_at is None:
            self._ended_at = time()
        if self._output is not None:
            self._output.end()


def _ending(future: AscendFuture[Any]) -> str:
    try:
        exception = future.exception(timeout=0)
    except CancelledError:
        return "It was cancelled before it ran."
    except TimeoutError:
        return "It belongs to no executor."
    if exception is None:
        return f"It is done: {future.timeline}."
    return f"It is done and raised {type(exception).__name__}: {future.timeline}."
