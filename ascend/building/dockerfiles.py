"""What the text of a Dockerfile says, as far as builders must know it before they build."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["from_images"]

_FROM = re.compile(
    r"^[ \t]*FROM[ \t]+(?:--platform=\S+[ \t]+)?(?P<image>\S+)(?:[ \t]+AS[ \t]+(?P<stage>\S+))?", re.IGNORECASE
)


def from_images(dockerfile: str) -> Iterator[str]:
    """Yield the images that *dockerfile* starts from; not its own stages, and not ``scratch``."""
    stages = {"scratch"}
    for line in dockerfile.splitlines():
        found = _FROM.match(line)
        if found is None:
            continue
        if found["image"].lower() not in stages:
            yield found["image"]
        if found["stage"]:
            stages.add(found["stage"].lower())
