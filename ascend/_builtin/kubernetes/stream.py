"""A response that goes on: a watch or a log, read line by line and ended from another thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from urllib3 import BaseHTTPResponse

__all__ = ["Stream"]


class Stream:
    """The lines of a response as they come, until the server or another thread ends it.

    *rest* is what came after the last whole line, known at the end.
    """

    rest: bytes = b""

    def __init__(self, response: BaseHTTPResponse) -> None:
        self._response = response
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        """Yield lines without their ends; `OSError` if the connection breaks off, or nothing comes in time."""
        for lines in self.batches():
            yield from lines
        if self.rest:
            yield self.rest

    def batches(self) -> Iterator[list[bytes]]:
        """Yield the whole lines that came together."""
        from urllib3.exceptions import HTTPError  # noqa: PLC0415

        rest = b""
        try:
            while chunk := self._response.read1(1 << 16):
                # What another thread's `close` has left of a TLS connection is read as it came, encrypted.
                if self._closed:
                    return
                *lines, rest = (rest + chunk).split(b"\n")
                if lines:
                    yield lines
        except (HTTPError, AttributeError, ValueError) as exc:
            # The last two come from a TLS connection that is ended while it is read.
            if not self._closed:
                raise OSError(str(exc)) from exc
        finally:
            self._response.close()
        if not self._closed:
            self.rest = rest

    def close(self) -> None:
        """End the stream, from whatever thread."""
        self._closed = True
        try:
            self._response.shutdown()
        except (OSError, ValueError, RuntimeError):
            # It has ended already.
            return
