"""What many threads ask for at once is made by the first of them: all get it, and hear what is said meanwhile."""

from __future__ import annotations

import copy
import math
import threading
from concurrent.futures import Future
from time import monotonic
from typing import TYPE_CHECKING, Generic, TypeVar

from ascend.building.uv_program import UnsolvableError
from ascend.errors import AscendError, EnvironmentBuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["Flights"]

T = TypeVar("T")

_KEPT_LINES = 400


class Flights(Generic[T]):
    """Remembers what was made by its key for *kept* seconds, and what failed for *failed* seconds.

    What cannot be solved is remembered for ever: asking again would not help.
    """

    def __init__(self, *, kept: float = math.inf, failed: float = 0.0, clock: Callable[[], float] = monotonic) -> None:
        self._kept = kept
        self._failed = failed
        self._clock = clock
        self._guard = threading.Lock()
        self._flights: dict[Hashable, _Flight[T]] = {}

    def get(self, key: Hashable, make: Callable[[Callable[[str], None]], T], report: Callable[[str], None]) -> T:
        """Return what *make* returned for *key*, called at most once at a time; what it raised is raised for all.

        *make* is given the function that tells all who wait, each by its own *report*. An `OSError` becomes an
        `EnvironmentBuildError`.
        """
        with self._guard:
            flight = self._flights.get(key)
            own = flight is None or self._clock() >= flight.ends
            if flight is None or own:
                flight = self._flights[key] = _Flight()
        flight.add(report)
        if own:
            self._fly(flight, make)
        return flight.outcome()

    def forget(self, key: Hashable) -> None:
        """Have *key* made anew by whoever asks next."""
        with self._guard:
            self._flights.pop(key, None)

    def _fly(self, flight: _Flight[T], make: Callable[[Callable[[str], None]], T]) -> None:
        try:
            made = make(flight.tell)
        except Exception as exc:  # noqa: BLE001 - whatever it is, all who wait are told the same
            error = _of_ascend(exc)
            # A broken connection is worth another try; a contradiction is not.
            lasts = math.inf if isinstance(error, UnsolvableError) else self._failed
            flight.crash(error, self._clock() + lasts)
        except BaseException:
            # Only this thread was told to end.
            flight.crash(EnvironmentBuildError("the installation was interrupted: call it again"), self._clock())
            raise
        else:
            flight.land(made, self._clock() + self._kept)


class _Flight(Generic[T]):
    """One thing in the making; *ends* is when it is too old to be given to anybody else."""

    def __init__(self) -> None:
        self.ends = math.inf
        self._outcome: Future[T] = Future()
        self._said: list[str] = []
        self._reports: list[Callable[[str], None]] = []
        self._guard = threading.Lock()

    def add(self, report: Callable[[str], None]) -> None:
        """Have *report* told too; threads that share one hear each line once."""
        with self._guard:
            if report in self._reports or self._outcome.done():
                return
            self._reports.append(report)
            said = list(self._said)
        for line in said:
            report(line)

    def tell(self, line: str) -> None:
        with self._guard:
            self._said = [*self._said[-_KEPT_LINES:], line]
            reports = list(self._reports)
        for report in reports:
            report(line)

    def land(self, made: T, ends: float) -> None:
        self.ends = ends
        self._outcome.set_result(made)

    def crash(self, error: Exception, ends: float) -> None:
        self.ends = ends
        self._outcome.set_exception(error)

    def outcome(self) -> T:
        error = self._outcome.exception()
        if isinstance(error, AscendError):
            # One instance raised in ten thousand tasks would gather the tracebacks of all.
            raise copy.copy(error) from error.__cause__
        return self._outcome.result()


def _of_ascend(error: Exception) -> Exception:
    """Return *error*, or what stands for an error of the system, which some of ascend's own are too."""
    if isinstance(error, AscendError) or not isinstance(error, OSError):
        return error
    made = EnvironmentBuildError(f"the environment cannot be made: {error}")
    made.__cause__ = error
    return made
