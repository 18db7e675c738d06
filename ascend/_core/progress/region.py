"""The one live region of the process: when it is shown, and what lies above it."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import TYPE_CHECKING, Protocol

from ascend._core.progress.board import Board
from ascend._core.progress.lines import write_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PERIOD = 0.2  # seconds between two pictures; the first comes this long after the first task, so quick calls show none


class Surface(Protocol):
    """Where a region is drawn. Only ever used by one thread at a time."""

    def draw(self, board: Board) -> None:
        """Show the board, replacing what was shown before."""

    def clear(self) -> None:
        """Show nothing; nothing of what was drawn stays."""

    def print(self, lines: Sequence[str]) -> None:
        """Print *lines* above what is shown, which may be nothing."""

    def note(self, text: str) -> None:
        """Print *text*, as something that is not the user's own."""

    def abandon(self) -> None:
        """Let go without a byte of output: this process is a fork, and the parent goes on drawing."""


class Region:
    """Draws the board on a surface while tasks are pending, by a thread that lives no longer than they do."""

    def __init__(self, surface: Surface) -> None:
        self.board = Board()
        self._surface = surface
        self._lock = threading.RLock()
        self._stop: threading.Event | None = None
        self._broken = False
        self._pid = os.getpid()
        atexit.register(self._end)

    def wake(self) -> None:
        """Draw from now on, until `hide`."""
        if self._stop is not None or self._broken or self._pid != os.getpid():
            return
        with self._lock:
            if not self._ticking():
                stop = threading.Event()
                ticker = threading.Thread(target=self._tick, args=(stop,), name="ascend-display", daemon=True)
                try:
                    ticker.start()
                except RuntimeError:
                    return  # the interpreter is exiting, and starts no more threads
                self._stop = stop

    def hide(self) -> None:
        """Draw nothing any more, unless a task came in the meantime."""
        if self._stop is None or self._pid != os.getpid():
            return
        with self._lock:
            if self.board.idle():
                self._clear()
            # A task that came just now may have found it shown still.
            if not self.board.idle():
                self.wake()

    def print(self, lines: Sequence[str]) -> None:
        """Print whole lines above the region."""
        if self._pid != os.getpid() or self._broken:
            write_lines(sys.stdout, lines)
            return
        with self._lock:
            self._guarded(lambda: self._surface.print(lines))

    def note(self, text: str) -> None:
        """Print a remark of ascend's own above the region."""
        if self._pid == os.getpid() and not self._broken:
            with self._lock:
                self._guarded(lambda: self._surface.note(text))

    def abandon(self) -> None:
        """Let go of the surface, in a forked child."""
        self._surface.abandon()

    def _clear(self) -> None:
        if self._stop is not None:
            self._stop.set()
            self._stop = None
            self._guarded(self._surface.clear)

    def _end(self) -> None:
        # The interpreter ends with tasks pending, after an error or a second Ctrl-C: the terminal gets its cursor back.
        if self._pid == os.getpid():
            with self._lock:
                self._clear()

    def _ticking(self) -> bool:
        return self._stop is not None

    def _tick(self, stop: threading.Event) -> None:
        while not stop.wait(PERIOD):
            with self._lock:
                if not stop.is_set():
                    self._guarded(lambda: self._surface.draw(self.board))

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except (OSError, ValueError):
            # The terminal has gone: a display that cannot be seen must not become the error of a task.
            self._broken = True
            self._surface.abandon()


_region: Region | None = None
_making = threading.RLock()


def the_region() -> Region | None:
    """Return the region of this process, made at first need; `None` where nothing can be drawn."""
    global _region  # noqa: PLW0603 - a terminal has room for one live region, whoever asks for it
    with _making:
        surface = _surface()
        if surface is None:
            return None
        if _region is None or type(_region._surface) is not type(surface):  # noqa: SLF001 - its own module
            _region = Region(surface)
        return _region


def _surface() -> Surface | None:
    if in_notebook():
        from ascend._core.progress.notebook import NotebookSurface  # noqa: PLC0415 - IPython is only there

        return NotebookSurface()
    if sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from ascend._core.progress.terminal import TerminalSurface  # noqa: PLC0415 - rich is imported for terminals only

        return TerminalSurface()
    return None


def in_notebook() -> bool:
    """Return whether a Jupyter kernel runs this process; IPython in a terminal is a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _in_child() -> None:
    global _region, _making  # the parent's threads, which may hold its locks, are not here
    if _region is not None:
        _region.abandon()
    _region, _making = None, threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
