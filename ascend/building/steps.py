"""The steps of a Dockerfile with their lines, so that a failure in the log of a build is shown where it was written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Step", "find_step", "step_at", "steps_of"]

_DIRECTIVE = re.compile(r"#\s*(?P<name>[A-Za-z]+)\s*=\s*(?P<value>\S+)\s*$")
_HEREDOC = re.compile(r"(?:^|\s)\d*<<(?P<tabs>-?)(?P<quote>[\"']?)(?P<word>[^\s<>\"']+)(?P=quote)(?=\s|$)")
_WITH_HEREDOC = ("RUN", "COPY", "ADD")
_SHOWN = 160


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction of a Dockerfile: its text on one line, and the number of the *line* where it begins."""

    line: int
    text: str

    def __str__(self) -> str:
        """Return both, cut where a person stops reading."""
        shown = self.text if len(self.text) <= _SHOWN else f"{self.text[:_SHOWN]}…"
        return f"line {self.line}: {shown}"

    @property
    def heredocs(self) -> tuple[re.Match[str], ...]:
        """The here-documents that the step begins: what follows it, up to the word of each, is no step."""
        if self.text.split(None, 1)[0].upper() not in _WITH_HEREDOC:
            return ()
        return tuple(_HEREDOC.finditer(self.text))


def steps_of(dockerfile: str) -> tuple[Step, ...]:
    """Return the steps of *dockerfile* in their order, with comments and the bodies of here-documents left out."""
    return tuple(_steps(dockerfile))


def find_step(dockerfile: str, text: str) -> Step | None:
    """Return the first step of *dockerfile* that a builder shows as *text*; `None` if there is none."""
    wanted = _plain(text)
    return next((step for step in steps_of(dockerfile) if _plain(step.text) == wanted), None)


def step_at(dockerfile: str, line: int) -> Step | None:
    """Return the step of *dockerfile* that *line* belongs to; `None` if there is none before it."""
    before = [step for step in steps_of(dockerfile) if step.line <= line]
    return before[-1] if before else None


def _steps(dockerfile: str) -> Iterator[Step]:
    lines = list(enumerate(dockerfile.splitlines(), 1))
    escape = _escape(lines)
    while lines:
        number, line = lines.pop(0)
        if _is_nothing(line):
            continue
        parts = [line.strip()]
        while parts[-1].endswith(escape):
            parts[-1] = parts[-1].removesuffix(escape).rstrip()
            while lines and _is_nothing(lines[0][1]):
                lines.pop(0)
            if not lines:
                break
            parts.append(lines.pop(0)[1].strip())
        step = Step(number, " ".join(part for part in parts if part))
        if step.text:
            yield step
            for heredoc in step.heredocs:
                _skip_body(lines, heredoc)


def _escape(lines: list[tuple[int, str]]) -> str:
    for _, line in lines:
        directive = _DIRECTIVE.match(line.strip())
        if not directive:
            break
        if directive["name"].lower() == "escape":
            return directive["value"]
    return "\\"


def _skip_body(lines: list[tuple[int, str]], heredoc: re.Match[str]) -> None:
    while lines:
        line = lines.pop(0)[1]
        if (line.lstrip("\t") if heredoc["tabs"] else line) == heredoc["word"]:
            return


def _is_nothing(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _plain(text: str) -> str:
    name, _, rest = text.strip().partition(" ")
    # Builders show steps without their mounts, and with what they make of white space.
    return " ".join([name.upper(), *(word for word in rest.split() if not word.startswith("--mount="))])
