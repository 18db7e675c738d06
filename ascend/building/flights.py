"""What many threads ask for at once is made by the first of them, and all get it."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

from ascend.building.uv_program import UnsolvableError
from ascend.errors import EnvironmentBuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["Flights"]

T = TypeVar("T")


class Flights(Generic[T]):
    """Remembers what was made, by its key, and what cannot be made; whatever else failed is tried again."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._flights: dict[Hashable, Future[T | EnvironmentBuildError]] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what *make* returned for *key*, called at most once at a time; its `EnvironmentBuildError` is raised.

        An `OSError` becomes one.
        """
        flight: Future[T | EnvironmentBuildError] = Future()
        with self._guard:
            first = self._flights.setdefault(key, flight)
        if first is flight:
            self._fly(key, flight, make)
        outcome = first.result()
        if isinstance(outcome, EnvironmentBuildError):
            # One instance raised in ten thousand tasks would gather the tracebacks of all.
            raise copy.copy(outcome) from outcome.__cause__
        return outcome

    def _fly(self, key: Hashable, flight: Future[T | EnvironmentBuildError], make: Callable[[], T]) -> None:
        outcome: T | EnvironmentBuildError = EnvironmentBuildError("the installation was interrupted")
        try:
            outcome = make()
        except EnvironmentBuildError as exc:
            outcome = exc
        except OSError as exc:
            outcome = EnvironmentBuildError(f"the environment cannot be made: {exc}")
            outcome.__cause__ = exc
        finally:
            if isinstance(outcome, EnvironmentBuildError) and not isinstance(outcome, UnsolvableError):
                # A broken connection is worth another try; a contradiction is not.
                with self._guard:
                    self._flights.pop(key, None)
            flight.set_result(outcome)
