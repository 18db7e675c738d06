"""Image builder `prebuilt`: takes the image that it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ascend.errors import EnvironmentBuildError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ascend.model import Environment

__all__ = ["PrebuiltImages"]


class PrebuiltImages:
    """Images that somebody else has built: nothing is installed into them."""

    name = "prebuilt"

    def ensure(self, environment: Environment, report: Callable[[str], None]) -> str:  # noqa: ARG002 - nothing to wait for
        if environment.requirements:
            wanted = ", ".join(environment.requirements)
            msg = (
                f"the image builder 'prebuilt' installs nothing, and {wanted} is asked for: "
                f"put it into {environment.base_image} and leave requirements empty, or choose another image_builder"
            )
            raise EnvironmentBuildError(msg)
        return environment.base_image
