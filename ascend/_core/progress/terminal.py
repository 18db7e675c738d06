"""The live region on a terminal, drawn by rich: a line for each task, a bar for each map."""

from __future__ import annotations

import sys
import threading
from time import monotonic
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ascend._core.progress.board import MOST_ROWS
from ascend._core.progress.lines import write_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from ascend._core.progress.board import Bar, Board, Row

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN_SPINNER = "|/-\\"
_TURNS = 8  # of the spinner in a second


class TerminalSurface:
    """Standard error, as a terminal. While something is shown, what this process prints goes above it."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._proxies: dict[str, _Above] = {}
        self._lock = threading.RLock()  # between the region's threads and whatever prints

    def draw(self, board: Board) -> None:
        with self._lock:
            if self._live is None:
                # Not the console that rich shares: this one must survive that standard error is replaced below.
                console = Console(file=sys.stderr, highlight=False, markup=False, emoji=False)
                self._live = Live(
                    console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
                )
                self._live.start()
                self._redirect()
            self._live.update(picture(board, self._live.console), refresh=True)

    def clear(self) -> None:
        with self._lock:
            for name, proxy in self._proxies.items():
                proxy.flush()
                _restore(name, proxy)
            self._proxies = {}
            live, self._live = self._live, None
            if live is not None:
                live.stop()

    def print(self, lines: Sequence[str]) -> None:
        if "stdout" not in self._proxies or not self._above(lines):
            write_lines(sys.stdout, lines)

    def note(self, text: str) -> None:
        if not self._above([text]):
            write_lines(sys.stderr, [text])

    def abandon(self) -> None:
        for name, proxy in self._proxies.items():
            _restore(name, proxy)
        self._live, self._proxies, self._lock = None, {}, threading.RLock()

    def _above(self, lines: Sequence[str]) -> bool:
        with self._lock:
            if self._live is None:
                return False
            for line in lines:
                self._live.console.print(Text.from_ansi(line), soft_wrap=True)
            return True

    def _redirect(self) -> None:
        # A standard output that is a file or a pipe is left alone: it cannot tear what the terminal shows.
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and stream.isatty():
                self._proxies[name] = _Above(stream, self._above)
                setattr(sys, name, self._proxies[name])


class _Above:
    """Stands in for a stream, and prints its whole lines above the region; without one, it is the stream."""

    def __init__(self, stream: TextIO, above: Callable[[Sequence[str]], bool]) -> None:
        self.stream = stream
        self._above = above
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        if lines and not self._above(lines):
            # Somebody, a logging handler for one, has kept it for longer than the region was there.
            self.stream.write("".join(f"{line}\n" for line in lines))
        return len(text)

    def flush(self) -> None:
        # Whoever flushes in the middle of a line wants it seen.
        if self._begun:
            self.write("\n")
        self.stream.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)


def _restore(name: str, proxy: _Above) -> None:
    if getattr(sys, name) is proxy:
        setattr(sys, name, proxy.stream)


def picture(board: Board, console: Console) -> RenderableType:
    """Return what the board looks like on *console* now."""
    rows, more, bars = board.snapshot()
    frames = _SPINNER if console.encoding.startswith("utf") else _PLAIN_SPINNER
    frame = frames[int(monotonic() * _TURNS) % len(frames)]
    parts: list[RenderableType] = [_line(row, frame) for row in rows]
    if more:
        parts.append(Text(f"  ... and {more} more", style="dim"))
    if bars:
        parts.append(_bars(bars))
    return Group(*parts)


def _line(row: Row, frame: str) -> Text:
    text = Text.assemble(
        (frame, "cyan"), " ", row.function, "  ", (row.phase, "dim"), no_wrap=True, overflow="ellipsis"
    )
    return text.append(f"  {monotonic() - row.started:.0f} s", style="dim")


def _bars(bars: Sequence[Bar]) -> Table:
    table = Table.grid(padding=(0, 1))
    for _ in range(3):
        table.add_column(no_wrap=True, overflow="ellipsis")
    for bar in bars[:MOST_ROWS]:
        total = None if bar.total is None else float(bar.total)
        table.add_row(Text(bar.label), ProgressBar(total, bar.finished, width=30), Text(str(bar)))
    if len(bars) > MOST_ROWS:
        table.add_row(Text(f"... and {len(bars) - MOST_ROWS} more", style="dim"))
    return table
