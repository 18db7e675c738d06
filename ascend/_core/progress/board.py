"""What there is to show: the pending tasks and groups of all executors, counted, with nothing of how it looks."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ascend.model import Task


MOST_ROWS = 10
"""How many tasks, and how many groups, are shown one by one."""


@dataclass
class Row:
    """One pending task."""

    function: str
    owner: object
    group: str | None = None
    phase: str = "queue"
    started: float = field(default_factory=monotonic)


@dataclass
class Bar:
    """One ``map``: how far its tasks have come. *total* is `None` until, and unless, its caller knows."""

    label: str
    owner: object
    total: int | None = None
    announced: bool = False
    pending: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    started: float = field(default_factory=monotonic)

    @property
    def finished(self) -> int:
        """How many tasks have ended, in whatever way."""
        return self.succeeded + self.failed + self.cancelled

    def seconds_left(self) -> float | None:
        """Return the time that the rest takes if it goes on like this; `None` if that cannot be told."""
        if not self.finished or self.total is None:
            return None
        return (monotonic() - self.started) / self.finished * (self.total - self.finished)

    def summary(self) -> str:
        """Return the counts as words, as in ``12/40 done, 3 running, 1 failed``."""
        total = self.finished + self.pending if self.total is None else self.total
        words = [f"{self.finished}/{total} done"]
        counts = {"running": self.running, "failed": self.failed, "cancelled": self.cancelled}
        return ", ".join(words + [f"{count} {what}" for what, count in counts.items() if count])

    def __str__(self) -> str:
        """Return the summary and the time that is left, as in ``12/40 done, 3 running, 0:07 left``."""
        left = self.seconds_left()
        return self.summary() if left is None else f"{self.summary()}, {left // 60:.0f}:{left % 60:02.0f} left"


class Board:
    """The pending tasks and groups; every method may be called from any thread and takes constant time."""

    def __init__(self) -> None:
        # An executor that is collected as garbage ends its display in whatever thread, maybe one that is in here.
        self._lock = threading.RLock()
        self._rows: dict[str, Row] = {}
        self._bars: dict[str, Bar] = {}

    def submitted(self, task: Task, group: str | None, owner: object) -> None:
        """Add *task*."""
        with self._lock:
            self._rows[task.id] = Row(task.function, owner, group)
            if group is not None:
                self._bars.setdefault(group, Bar(task.function, owner)).pending += 1

    def phase(self, task: Task, phase: str) -> None:
        """Note that *task* is in *phase*."""
        with self._lock:
            row = self._rows.get(task.id)
            if row is None:
                return
            if row.group is not None:
                self._bars[row.group].running += (phase == "run") - (row.phase == "run")
            row.phase = phase

    def finished(self, task: Task, outcome: str) -> bool:
        """Remove *task*; return whether nothing is pending any more."""
        with self._lock:
            row = self._rows.pop(task.id, None)
            if row is not None and row.group is not None:
                bar = self._bars[row.group]
                bar.pending -= 1
                bar.running -= row.phase == "run"
                setattr(bar, outcome, getattr(bar, outcome) + 1)
                self._drop_if_over(row.group)
            return not self._rows

    def group(self, name: str, total: int | None) -> None:
        """Set how many tasks a group has, once all that are known have been submitted."""
        with self._lock:
            bar = self._bars.get(name)
            if bar is not None:
                bar.total, bar.announced = total, True
                self._drop_if_over(name)

    def group_of(self, task: Task) -> str | None:
        """Return the group of a pending task."""
        with self._lock:
            row = self._rows.get(task.id)
            return None if row is None else row.group

    def bar(self, group: str) -> Bar | None:
        """Return the group's counts; they go on changing."""
        with self._lock:
            return self._bars.get(group)

    def forget(self, owner: object) -> bool:
        """Remove what *owner* added; return whether nothing is pending any more."""
        with self._lock:
            self._rows = {key: row for key, row in self._rows.items() if row.owner is not owner}
            self._bars = {key: bar for key, bar in self._bars.items() if bar.owner is not owner}
            return not self._rows

    def idle(self) -> bool:
        """Return whether nothing is pending."""
        return not self._rows

    def snapshot(self, most: int = MOST_ROWS) -> tuple[list[Row], int, list[Bar]]:
        """Return at most *most* single tasks, the oldest first, how many more there are, and the groups with tasks."""
        with self._lock:
            rows: list[Row] = []
            single = len(self._rows) - sum(bar.pending for bar in self._bars.values())
            for row in self._rows.values():
                if len(rows) == min(most, single):
                    break
                if row.group is None:
                    rows.append(row)
            return rows, single - len(rows), [bar for bar in self._bars.values() if bar.pending]

    def _drop_if_over(self, name: str) -> None:
        # Before it is announced, a group without pending tasks may only be slower to submit than to run.
        bar = self._bars[name]
        if bar.announced and not bar.pending:
            del self._bars[name]
