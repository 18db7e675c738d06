"""Writes whole lines to a stream, whoever else writes and whether or not somebody still reads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence

_writing = threading.Lock()


def write_lines(stream: TextIO | None, lines: Sequence[str]) -> None:
    """Write *lines* in one piece; what other threads write comes before or after, never in between."""
    if stream is None or not lines:
        return
    text = "".join(f"{line}\n" for line in lines)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text = text.encode(encoding, "backslashreplace").decode(encoding)
        with _writing:
            stream.write(text)
            stream.flush()
    except (OSError, ValueError):
        # The reader has gone, or the stream is closed: that must not become the error of a task.
        return
