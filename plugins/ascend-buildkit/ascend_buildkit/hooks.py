"""The hook of the plugin: the image builder `buildkit`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ascend.hookspecs import hookimpl

if TYPE_CHECKING:
    from ascend.interfaces import ImageBuilder, Storage
    from ascend.model import Profile


@hookimpl
def ascend_image_builder(name: str, profile: Profile, storage: Storage | None) -> ImageBuilder | None:
    """Serve ``buildkit``."""
    if name != "buildkit":
        return None
    from ascend.building.jobs import JobBuilder  # noqa: PLC0415 - only who builds pays for these imports
    from ascend_buildkit.recipe import buildkit_recipe  # noqa: PLC0415

    return JobBuilder(buildkit_recipe(profile), profile, storage)
