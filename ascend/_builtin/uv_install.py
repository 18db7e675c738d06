"""Image builder `uv`: builds nothing; the runner installs what the requirements come to when the pod starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ascend.building.flights import Flights
from ascend.building.locks import locked
from ascend.building.uv_program import UnsolvableError
from ascend.model import Image

if TYPE_CHECKING:
    from collections.abc import Callable

    from ascend.model import Environment, Profile

__all__ = ["UvInstalls"]


class UvInstalls:
    """Base images with a lock to be installed: the same one for all tasks of an executor."""

    name = "uv"

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._flights: Flights[Image] = Flights()

    def ensure(self, environment: Environment, report: Callable[[str], None]) -> Image:
        def make(tell: Callable[[str], None]) -> Image:
            if what := environment.takes_root:
                msg = f"the image builder uv installs requirements only, and {what} is set: set another image_builder"
                raise UnsolvableError(msg)
            return Image(environment.base_image, lock=locked(environment, self._profile, tell).lock)

        return self._flights.get(environment, make, report)

    def close(self) -> None:
        """Leave who resolves alone: it takes seconds, and the lock is kept for the next time."""
