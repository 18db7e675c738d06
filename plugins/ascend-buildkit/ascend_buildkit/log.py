"""What BuildKit's log says of a build that failed: its step with the line, the error's words, a registry's refusal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ascend.building.recipes import Failure
from ascend.building.registry_words import refusal_in
from ascend.building.steps import step_at

if TYPE_CHECKING:
    from collections.abc import Sequence

_WHERE = re.compile(r"^Dockerfile:(?P<line>\d+)$")
_PARSE = re.compile(r"parse error on line (?P<line>\d+)")
_ERROR = re.compile(r"^error: (?:failed to solve: )?(?P<words>.*)$")


def failure_of(lines: Sequence[str], dockerfile: str) -> Failure:
    """Return which step of *dockerfile* failed and why, as far as *lines* say it."""
    errors = [found["words"] for line in lines if (found := _ERROR.match(line))]
    error = errors[-1] if errors else ""
    places = [found["line"] for line in [*lines, error] if (found := _WHERE.match(line.strip()) or _PARSE.search(line))]
    step = step_at(dockerfile, int(places[-1])) if places else None
    return Failure("" if step is None else str(step), error, refusal_in(error))
