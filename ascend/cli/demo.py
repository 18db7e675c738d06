"""`ascend demo`: real work on real data, from its requirements to the traceback of a task that fails."""

from __future__ import annotations

import os
from concurrent.futures import wait
from textwrap import indent
from time import perf_counter
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ascend._core.executor import AscendExecutor
from ascend._demo import REQUIREMENTS, examine, grid, learn_only, score
from ascend.errors import AscendError
from ascend.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ascend._demo import Exam, Point, Score
    from ascend.model import TaskEvent, Timeline

_GRID = grid()
_GOOD = 0.9
_SHOWN = ("environment", "pack", "start", "load", "run", "return")


@click.command
@click.option("--cluster", default="local", show_default=True, help="Where it runs: local, kubernetes or a plugin's.")
@click.option(
    "--points",
    type=click.IntRange(1, len(_GRID)),
    default=12,
    show_default=True,
    help="How many choices of hyper-parameters to try.",
)
@click.option("--progress/--no-progress", default=None, help="Show progress, or not.  [default: on a terminal]")
@click.pass_obj
def demo(profile: str | None, cluster: str, points: int, progress: bool | None) -> None:
    """Search hyper-parameters with scikit-learn, which gets installed where the tasks run.

    One task fails on purpose. The exit status is 0 if everything else went as it should.
    """
    # The decorated function has no other way to learn it: it uses the executor that all of them share.
    os.environ["ASCEND_CLUSTER"] = cluster
    if profile is not None:
        os.environ["ASCEND_PROFILE"] = profile
    if progress is not None:
        os.environ["ASCEND_PROGRESS"] = str(progress).lower()
    _Demo(Console(highlight=False, soft_wrap=True)).run(points)


class _Timelines:
    """A plugin that keeps the timeline of every task that has ended: `map` gives out results only."""

    def __init__(self) -> None:
        self.ended: list[Timeline] = []

    @hookimpl
    def ascend_task_event(self, event: TaskEvent) -> None:
        if event.timeline is not None:
            self.ended.append(event.timeline)


class _Demo:
    """The parts of the demo, in their order."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def run(self, points: int) -> None:
        started = perf_counter()
        timelines = _Timelines()
        with AscendExecutor(requirements=REQUIREMENTS, plugins=[timelines]) as executor:
            place = executor.profile.cluster
            self._head(f"1. executor.map: {points} choices for a support vector machine, each a task on {place!r}")
            best = self._search(executor, _GRID[:points])
            self._head(f"2. @ascend: a decorated function trains with the best, C={best.c:g} and gamma={best.gamma:g}")
            decorated = examine.submit(best)
            self._report(decorated.result())
            self._head("3. executor.submit: a task that must fail, since it learns from sevens only")
            self._fail(executor)
        self._console.print(_closing_line([*timelines.ended, decorated.timeline], perf_counter() - started))

    def _head(self, text: str) -> None:
        self._console.print(f"\n[bold]{text}[/bold]")

    def _search(self, executor: AscendExecutor, points: Sequence[Point]) -> Point:
        scores = sorted(executor.map(score, points), key=lambda each: each.accuracy, reverse=True)
        self._console.print(_table(scores))
        _expect(len(scores) == len(points), f"{len(scores)} scores came back for {len(points)} points")
        _expect(_GOOD < scores[0].accuracy <= 1, f"the best accuracy is {scores[0].accuracy:.3f}")
        return scores[0].point

    def _report(self, exam: Exam) -> None:
        mistakes = ", ".join(f"{truth} for {answer} ({count} x)" for truth, answer, count in exam.mistakes)
        text = f"It reads {exam.accuracy:.1%} of {exam.digits} unseen digits; it takes most often {mistakes or 'none'}."
        self._console.print(text)
        _expect(exam.accuracy > _GOOD, f"it reads {exam.accuracy:.1%} of the digits only")

    def _fail(self, executor: AscendExecutor) -> None:
        future = executor.submit(learn_only, 7)
        wait([future])
        exception = future.exception()
        if isinstance(exception, AscendError):
            raise exception
        text = str(exception.__cause__) if exception is not None else ""
        self._console.print(Text(indent(text.strip('\n"'), "    "), style="dim"))
        self._console.print(
            "In one line: scikit-learn refused it where the task ran, and the exception came back as the "
            f"[bold]{type(exception).__name__}[/bold] that it is, to this future only, with the lines over there."
        )
        _expect(type(exception) is ValueError, f"a ValueError was to come, not {exception!r}")
        _expect("in learn_only" in text, "the traceback does not show the function")


def _table(scores: Iterable[Score]) -> Table:
    table = Table(title="Cross-validated accuracy on 1,797 handwritten digits, the best first", title_justify="left")
    for name in ("C", "gamma", "accuracy", "spread", "seconds"):
        table.add_column(name, justify="right")
    for place, each in enumerate(scores):
        figures = (f"{each.accuracy:.4f}", f"{each.spread:.4f}", f"{each.seconds:.2f}")
        row = (f"{each.point.c:g}", f"{each.point.gamma:g}", *figures)
        table.add_row(*row, style="bold green" if place == 0 else None)
    return table


def _closing_line(timelines: Sequence[Timeline], seconds: float) -> str:
    sums = dict.fromkeys(_SHOWN, 0.0)
    for timeline in timelines:
        for phase in timeline.phases:
            if phase.name in sums:
                sums[phase.name] += phase.seconds
    parts = ", ".join(f"{name} {total:.2f} s" for name, total in sums.items())
    return f"\n{len(timelines)} tasks in [bold]{seconds:.1f} s[/bold]. Summed over the tasks: {parts}."


def _expect(fact: bool, otherwise: str) -> None:
    if not fact:
        msg = f"the demo did not go as it should: {otherwise}"
        raise click.ClickException(msg)
