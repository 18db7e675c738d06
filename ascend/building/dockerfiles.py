"""What the text of a Dockerfile says, as far as builders must know it before they build."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ascend.building.names import check_registry
from ascend.building.steps import steps_of
from ascend.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Source", "check_dockerfile", "from_images", "sources_of"]

# Directives stand before everything else: the first line that is none ends them.
_SYNTAX = re.compile(r"\A(?:[ \t]*#[^\n]*\n)*?[ \t]*#[ \t]*syntax[ \t]*=[ \t]*(?P<image>\S+)", re.IGNORECASE)


class Source(NamedTuple):
    """An *image* that a Dockerfile takes files from; *platform* is empty if it is that of the build."""

    image: str
    platform: str = ""


def from_images(dockerfile: str) -> Iterator[str]:
    """Yield the images that *dockerfile* takes files from; not its own stages, and not ``scratch``."""
    return (source.image for source in sources_of(dockerfile))


def sources_of(dockerfile: str) -> Iterator[Source]:
    """Yield what *dockerfile* starts from by ``FROM``, copies from by ``COPY --from``, and mounts by ``RUN --mount``.

    An image that a variable names is yielded as it is written, with its ``$``.
    """
    stages = {"scratch"}
    for step in steps_of(dockerfile):
        name, flags, words = _parts(step.text)
        if name == "FROM" and words:
            image, *rest = words
            found = [Source(image, _platform(flags))]
        else:
            found, rest = [Source(image) for image in _copied_from(name, flags)], []
        for source in found:
            # A stage is also known by its number.
            if source.image.lower() not in stages and not source.image.isdigit():
                yield source
        if len(rest) > 1 and rest[0].upper() == "AS":
            stages.add(rest[1].lower())


def check_dockerfile(dockerfile: str, allowed: Sequence[str] | None) -> None:
    """Raise `ConfigError` if *dockerfile* names an image that is not below one of the *allowed*.

    So does one that cannot be told, since a variable names it; and that of ``# syntax=``, which reads the text.
    """
    if allowed is None:
        return
    for image in from_images(dockerfile):
        if "$" in image:
            msg = (
                f"whether {image} in the Dockerfile is in an allowed registry cannot be told: write the image out, "
                f"below one of {', '.join(allowed) or 'none'} (allowed_registries)"
            )
            raise ConfigError(msg)
        check_registry(image, allowed, "the Dockerfile")
    if syntax := _SYNTAX.match(dockerfile):
        check_registry(syntax["image"], allowed, "the line syntax= of the Dockerfile")


def _parts(text: str) -> tuple[str, list[str], list[str]]:
    """Return the instruction of a step, its flags without their dashes, and its other words."""
    words = text.split()
    if words[0].upper() == "ONBUILD" and len(words) > 1:
        words = words[1:]
    name, *words = words
    count = next((number for number, word in enumerate(words) if not word.startswith("--")), len(words))
    return name.upper(), [word.removeprefix("--") for word in words[:count]], words[count:]


def _copied_from(name: str, flags: list[str]) -> Iterator[str]:
    for flag in flags:
        option, _, value = flag.partition("=")
        value = value.replace('"', "").replace("'", "")
        if name == "COPY" and option == "from":
            yield value
        elif name == "RUN" and option == "mount":
            for setting in value.split(","):
                key, _, image = setting.partition("=")
                if key == "from" and image:
                    yield image


def _platform(flags: list[str]) -> str:
    """Return the platform of a ``FROM``; one that a variable names is that of the node, and so that of the build."""
    named = [flag.partition("=")[2] for flag in flags if flag.startswith("platform=")]
    return named[0] if named and named[0].count("/") == 1 and "$" not in named[0] else ""
