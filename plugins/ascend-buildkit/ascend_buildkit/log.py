"""What BuildKit's log says about a build that failed: the step, and the words of the error."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ascend.building.steps import steps_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_WHERE = re.compile(r"^Dockerfile:(?P<line>\d+)$")
_PARSE = re.compile(r"parse error on line (?P<line>\d+)")


def failed_step(lines: Sequence[str], dockerfile: str) -> str:
    """Return which step of *dockerfile* failed, with its line; empty if the log does not say."""
    for line in reversed(lines):
        found = _WHERE.match(line.strip()) or _PARSE.search(line)
        if found:
            before = [step for step in steps_of(dockerfile) if step.line <= int(found["line"])]
            return str(before[-1]) if before else ""
    return ""
