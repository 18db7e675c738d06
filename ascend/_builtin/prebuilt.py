"""Image builder `prebuilt`: takes the image that it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ascend.errors import EnvironmentBuildError
from ascend.model import Image

if TYPE_CHECKING:
    from collections.abc import Callable

    from ascend.model import Environment

__all__ = ["PrebuiltImages"]


class PrebuiltImages:
    """Images that somebody else has built: nothing is installed into them, and every task sees what is in its own."""

    name = "prebuilt"

    def ensure(self, environment: Environment, report: Callable[[str], None]) -> Image:  # noqa: ARG002 - nothing to wait for
        if what := environment.takes_root:
            msg = f"the image builder prebuilt builds nothing, and {what} is set: set another image_builder"
            raise EnvironmentBuildError(msg)
        return Image(environment.base_image, complete=False)

    def close(self) -> None:
        """Nobody waits for what is there."""
