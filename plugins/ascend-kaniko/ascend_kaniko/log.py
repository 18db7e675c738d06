"""What Kaniko's log says about a build that failed: the step, and the words of the error."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ascend.building.steps import Step, find_step, steps_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_INFO = re.compile(r"INFO\[\d+\] (?P<text>.*)")
_PARSE = re.compile(r"parse error on line (?P<line>\d+)")
_CONTEXT = re.compile(r"/(?:kaniko/buildcontext|workspace)/(?P<path>[^:\s\"]+)")
_ERROR = ("error building image: ", "error pushing image: ", "error checking push permission")
_OF_A_COMMAND = "failed to execute command"


def plain(line: str) -> str:
    """Return *line* without its colours."""
    return _COLOURS.sub("", line).rstrip()


def failed_step(lines: Sequence[str], dockerfile: str) -> str:
    """Return which step of *dockerfile* failed, with its line; empty if the log does not say."""
    found = _failed(list(map(plain, lines)), dockerfile)
    return str(found) if found else ""


def _failed(lines: list[str], dockerfile: str) -> Step | None:
    error = next((line for line in reversed(lines) if line.startswith(_ERROR)), "")
    if parse := _PARSE.search(error):
        return _at(dockerfile, int(parse["line"]))
    if missing := _CONTEXT.search(error):
        return next((step for step in steps_of(dockerfile) if missing["path"] in step.text.split()), None)
    if error and _OF_A_COMMAND not in error:
        return None
    # Without an error the process was killed, in the middle of the step that it said last.
    for line in reversed(lines):
        said = _INFO.match(line)
        if said and (step := find_step(dockerfile, said["text"])):
            return step
    return None


def _at(dockerfile: str, line: int) -> Step | None:
    before = [step for step in steps_of(dockerfile) if step.line <= line]
    return before[-1] if before else None
