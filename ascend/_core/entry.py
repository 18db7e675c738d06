"""One task on its way through the engine: its future, its call until that has left, and what was stored for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ascend._core.bundle import Call
    from ascend._core.future import AscendFuture
    from ascend._core.output import Output
    from ascend.model import Task

__all__ = ["Entry"]


@dataclass(slots=True, eq=False)
class Entry:
    """A task in the engine.

    *call* is `None` once it was packed, so that no argument outlives its dispatch. *waiting* says what its Job waits
    for. *requirements* are those that files and ``auto`` stand for. *frames* are the pieces of an outcome that came
    with the output. *since* is when it was submitted, by the clock that only goes on.
    """

    task: Task
    future: AscendFuture[Any]
    output: Output
    call: Call | None
    created: bool = False
    stored: bool = False
    killed: bool = False
    waiting: str = ""
    requirements: tuple[str, ...] = ()
    frames: list[str] = field(default_factory=list)
    since: float = field(default_factory=monotonic)
