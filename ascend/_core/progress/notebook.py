"""The live region in a notebook: one output that is updated in place, without widgets."""

from __future__ import annotations

import sys
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Any

from ascend._core.progress.lines import write_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ascend._core.progress.board import Bar, Board

_CELLS = 30


class NotebookSurface:
    """The output of the cell that is running."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown = ""

    def draw(self, board: Board) -> None:
        text = picture(board)
        if text == self._shown:
            return
        if self._handle is None:
            # No dependency: whoever runs in a notebook has it.
            display = import_module("IPython.display").display
            self._handle = display({"text/plain": text}, raw=True, display_id=True)
        else:
            self._handle.update({"text/plain": text}, raw=True)
        self._shown = text

    def clear(self) -> None:
        handle, self._handle, self._shown = self._handle, None, ""
        if handle is not None:
            handle.update({"text/plain": ""}, raw=True)

    def print(self, lines: Sequence[str]) -> None:
        write_lines(sys.stdout, lines)

    def note(self, text: str) -> None:
        write_lines(sys.stderr, [text])

    def abandon(self) -> None:
        self._handle = None


def picture(board: Board) -> str:
    """Return what the board looks like as plain text."""
    rows, more, bars = board.snapshot()
    lines = [f"{row.function}  {row.phase}  {monotonic() - row.started:.0f} s" for row in rows]
    lines += [f"... and {more} more"] if more else []
    return "\n".join(lines + [f"{bar.label}  {_cells(bar)}  {bar}" for bar in bars])


def _cells(bar: Bar) -> str:
    full = round(_CELLS * bar.finished / max(bar.total or bar.finished + bar.pending, 1))
    return "█" * full + "░" * (_CELLS - full)
