"""What the user sees while tasks are pending: a display, chosen by setting and by where the process runs.

::

    executors ──> Display ──> lines: whole, to standard output, always
                     └─────> Board ──> Region (terminal or notebook): one for the process, gone when nothing is pending
"""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, Literal, Protocol

from ascend._core.progress.lines import write_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ascend._core.progress.region import Region
    from ascend.model import Task

    Outcome = Literal["succeeded", "failed", "cancelled"]

_STATUS = {"environment": "preparing its environment", "start": "starting", "run": "running"}
_GROUP_PAUSE = 1.0  # seconds between two status lines of a group


class Display(Protocol):
    """What the engine tells of its tasks. Every method may be called from any thread, and none raises."""

    def submitted(self, task: Task, group: str | None) -> None:
        """Show *task* as pending, as a part of *group* if it is one of a ``map``."""

    def phase(self, task: Task, phase: str) -> None:
        """Show that *task* is in *phase* of its timeline."""

    def finished(self, task: Task, outcome: Outcome) -> None:
        """Show *task* no longer."""

    def lines(self, label: str | None, lines: Sequence[str]) -> None:
        """Print whole lines that a task wrote, each behind *label*."""

    def group(self, name: str, total: int | None) -> None:
        """Say how many tasks the group has; `None` if its caller does not know yet."""

    def note(self, text: str) -> None:
        """Print something that helps a user who waits."""

    def close(self) -> None:
        """Take back all that this display shows."""


def make_display(progress: bool | None) -> Display:
    """Return a live display on a terminal or in a notebook; elsewhere status lines if *progress* is true, else none."""
    if progress is False:
        return LinesDisplay()
    from ascend._core.progress.region import the_region  # noqa: PLC0415 - nobody who looks on pays for it

    region = the_region()
    if region is not None:
        return LiveDisplay(region)
    return StatusDisplay() if progress else LinesDisplay()


class LinesDisplay:
    """Shows what tasks write, and nothing else."""

    def submitted(self, task: Task, group: str | None) -> None: ...

    def phase(self, task: Task, phase: str) -> None: ...

    def finished(self, task: Task, outcome: Outcome) -> None: ...

    def lines(self, label: str | None, lines: Sequence[str]) -> None:
        # Looked up at each write, so that whoever captures standard output gets it.
        write_lines(sys.stdout, labelled(label, lines))

    def group(self, name: str, total: int | None) -> None: ...

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...


class LiveDisplay:
    """Shows its tasks in the region that all displays of the process share."""

    def __init__(self, region: Region) -> None:
        self._region = region

    def submitted(self, task: Task, group: str | None) -> None:
        self._region.board.submitted(task, group, owner=self)
        self._region.wake()

    def phase(self, task: Task, phase: str) -> None:
        self._region.board.phase(task, phase)

    def finished(self, task: Task, outcome: Outcome) -> None:
        if self._region.board.finished(task, outcome):
            self._region.hide()

    def lines(self, label: str | None, lines: Sequence[str]) -> None:
        self._region.print(labelled(label, lines))

    def group(self, name: str, total: int | None) -> None:
        self._region.board.group(name, total)

    def note(self, text: str) -> None:
        self._region.note(text)

    def close(self) -> None:
        if self._region.board.forget(self):
            self._region.hide()


class StatusDisplay(LinesDisplay):
    """Writes plain status lines to standard error, for logs of a batch system or a pipeline."""

    def __init__(self) -> None:
        from ascend._core.progress.board import Board  # noqa: PLC0415 - only where status lines were asked for

        self._board = Board()
        self._written: dict[str, float] = {}

    def submitted(self, task: Task, group: str | None) -> None:
        self._board.submitted(task, group, owner=self)

    def phase(self, task: Task, phase: str) -> None:
        self._board.phase(task, phase)
        if phase in _STATUS and self._board.group_of(task) is None:
            self.note(f"{task.function}: {_STATUS[phase]}")

    def finished(self, task: Task, outcome: Outcome) -> None:
        name = self._board.group_of(task)
        bar = self._board.bar(name) if name is not None else None
        self._board.finished(task, outcome)
        if name is None or bar is None:
            self.note(f"{task.function}: {outcome}")
            return
        if bar.announced and not bar.pending:
            self._written.pop(name, None)
        elif monotonic() - self._written.get(name, bar.started) < _GROUP_PAUSE:
            return
        else:
            self._written[name] = monotonic()
        self.note(f"map {bar.label}: {bar.summary()}")

    def group(self, name: str, total: int | None) -> None:
        bar = self._board.bar(name)
        self._board.group(name, total)
        if bar is not None and not bar.pending:
            self.note(f"map {bar.label}: {bar.summary()}")

    def note(self, text: str) -> None:
        write_lines(sys.stderr, [text])

    def close(self) -> None:
        self._board.forget(self)


def labelled(label: str | None, lines: Sequence[str]) -> Sequence[str]:
    """Return *lines*, each behind *label* if there is one."""
    return lines if label is None else [f"{label}: {line}" for line in lines]
