"""What Kaniko's log says of a build that failed: its step with the line, the error's words, a registry's refusal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ascend.building.recipes import Failure
from ascend.building.registry_words import refusal_in
from ascend.building.steps import find_step, step_at, steps_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ascend.building.steps import Step

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_INFO = re.compile(r"INFO\[\d+\] (?P<text>.*)")
_ERROR = re.compile(r"error (?:building image|pushing image|checking push permissions)\b")
_PARSE = re.compile(r"parse error on line (?P<line>\d+)")
_CONTEXT = re.compile(r"/kaniko/buildcontext/(?P<path>[^:\s\"]+)")
_STATUS = re.compile(r"failed to execute command: waiting for process to exit: (?P<words>.*)")


def failure_of(lines: Sequence[str], dockerfile: str) -> Failure:
    """Return which step of *dockerfile* failed and why, as far as *lines* say it."""
    plain = [_COLOURS.sub("", line).rstrip() for line in lines]
    error = next((line for line in reversed(plain) if _ERROR.match(line)), "")
    if not error:
        # The executor was killed in the middle of what it said last.
        return Failure(_text(_last_step(plain, dockerfile)))
    if status := _STATUS.search(error):
        return Failure(_text(_last_step(plain, dockerfile)), f"its command ended with {status['words']}")
    if parse := _PARSE.search(error):
        return Failure(_text(step_at(dockerfile, int(parse["line"]))), error)
    missing = _CONTEXT.search(error)
    copies = [step for step in steps_of(dockerfile) if missing and missing["path"] in step.text.split()]
    return Failure(_text(copies[0] if copies else None), error, refusal_in(error))


def _last_step(lines: list[str], dockerfile: str) -> Step | None:
    for line in reversed(lines):
        said = _INFO.match(line)
        if said and (step := find_step(dockerfile, said["text"])):
            return step
    return None


def _text(step: Step | None) -> str:
    return "" if step is None else str(step)
