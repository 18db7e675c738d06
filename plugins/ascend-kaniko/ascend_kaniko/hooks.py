"""The hook of the plugin: the image builder `kaniko`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ascend.hookspecs import hookimpl

if TYPE_CHECKING:
    from ascend.interfaces import ImageBuilder, Storage
    from ascend.model import Profile


@hookimpl
def ascend_image_builder(name: str, profile: Profile, storage: Storage | None) -> ImageBuilder | None:
    """Serve ``kaniko``."""
    if name != "kaniko":
        return None
    from ascend.building.jobs import JobBuilder  # noqa: PLC0415 - only who builds pays for these imports
    from ascend_kaniko.recipe import kaniko_recipe  # noqa: PLC0415

    return JobBuilder(kaniko_recipe(profile), profile, storage)
