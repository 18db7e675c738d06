"""The log of one pod: every line once and in order, over broken connections, to its end.

The kubelet tells the time of every line. A position is the time of the last line, and how many lines of that time
were taken; a new stream begins at that time's second, and what was taken before is left out.
"""

from __future__ import annotations

import re
import threading
from datetime import datetime
from time import monotonic, sleep
from typing import TYPE_CHECKING

from ascend._builtin.kubernetes.failures import ApiError
from ascend.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ascend._builtin.kubernetes.connection import Connection
    from ascend._builtin.kubernetes.stream import Stream

__all__ = ["PodLog"]

# A pod's status may come that much later than the end of its log.
_END_SECONDS = 10.0
# The kubelet tells once a second what has ended: whatever ends before is read once.
_FOLLOW_AFTER = 1.0
_STREAM_SECONDS = 3600.0
_READ_SECONDS = 30.0
_LONGEST_PAUSE = 60.0
# As long as a server that starts anew may take, and its kubelets until they answer again.
_PATIENCE = 60.0
# A kubelet that has just started does not know its pods yet.
_NOT_FOUND_ATTEMPTS = 5
_PAUSE = 0.5
# Pauses grow to so many times the first one.
_GROWTH = 20
_SHORT_SECONDS = 10.0
_NOT_FOUND = 404
# As the kubelet writes it: always nine digits, so that texts compare as times do.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|[+-]\d\d:\d\d)$")
_ZONE = 29


class PodLog:
    """Hands the lines of a pod's container to *emit*, in one thread at a time."""

    def __init__(
        self,
        connection: Connection,
        pod: str,
        emit: Callable[[tuple[str, ...]], None],
        container: str = "main",
        *,
        patience: float = _PATIENCE,
        pause: float = _PAUSE,
    ) -> None:
        self._patience = patience
        self._pause = pause
        self._connection = connection
        self._pod = pod
        self._container = container
        self._emit = emit
        self._time, self._count = "", 0
        self._stream: Stream | None = None
        self._ended = threading.Event()
        self._reading = threading.Lock()

    def follow(self) -> None:
        """Read while the container runs; returns when it has ended, or when nobody knows it any more.

        A server that is gone may come back at any time: it is asked again, ever more rarely.
        A container that ends at once is read by `finish` alone: that is one request less.
        """
        pause, failed_pause, not_found = _END_SECONDS, self._pause, 0
        ended = self._ended.wait(_FOLLOW_AFTER)
        while not ended and not_found < _NOT_FOUND_ATTEMPTS:
            started, read = monotonic(), (self._time, self._count)
            try:
                self._read(follow=True)
                # On a busy cluster the pod's status may be long in coming.
                ended = self._ended.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            except (OSError, ClusterError) as exc:
                not_found = not_found + 1 if isinstance(exc, ApiError) and exc.status == _NOT_FOUND else 0
                # One that held for a while or brought something was cut by a proxy or by silence.
                if monotonic() - started >= _SHORT_SECONDS or read != (self._time, self._count):
                    failed_pause = self._pause
                ended = self._ended.wait(failed_pause)
                failed_pause = min(2 * failed_pause, _GROWTH * self._pause)

    def finish(self) -> str | None:
        """Read what is left of an ended container; return why not all of it, if so."""
        # The kubelet ends a stream only up to a second after its container.
        self.close()
        # Whoever is being read stops now, and whoever is being opened, which may take long, reads nothing any more.
        with self._reading:
            pass
        # A stream that ended by itself may have been ended by what lies between: the rest is always asked for.
        return self._read_rest()

    def close(self) -> None:
        """Stop following."""
        self._ended.set()
        if self._stream is not None:
            self._stream.close()

    def _read_rest(self) -> str | None:
        end = monotonic() + self._patience
        while True:
            try:
                self._read(follow=False)
            except ApiError as exc:
                problem = exc.message
                if exc.status == _NOT_FOUND:
                    return problem
            except (OSError, ClusterError) as exc:
                problem = str(exc)
            else:
                return None
            if monotonic() > end:
                return problem
            sleep(self._pause)

    def _read(self, *, follow: bool) -> None:
        query: dict[str, object] = {"container": self._container, "timestamps": "true"}
        if follow:
            query["follow"] = "true"
        if self._time:
            # Whole seconds, with the zone of the node.
            seconds, _, rest = self._time.partition(".")
            query["sinceTime"] = seconds + rest.lstrip("0123456789")
        timeout = _STREAM_SECONDS if follow else _READ_SECONDS
        stream = self._connection.log(self._pod, read_timeout=timeout, **query)
        if follow:
            self._stream = stream
        with self._reading:
            if follow and self._ended.is_set():
                stream.close()
            self._take(stream, follow=follow)

    def _take(self, stream: Stream, *, follow: bool) -> None:
        taken, seen = (self._time, self._count), 0
        for batch in stream.batches():
            seen = self._take_lines(batch, taken, seen)
        # While it is followed, a line without its end may be one whose other half was cut off.
        if not follow and stream.rest:
            self._take_lines([stream.rest], taken, seen)

    def _take_lines(self, batch: list[bytes], taken: tuple[str, int], seen: int) -> int:
        """Hand over what was not *taken* before; return how many lines of its time were seen."""
        fresh = []
        for line in batch:
            moment, _, text = line.decode(errors="replace").partition(" ")
            if not _TIME.match(moment):
                # The kubelet puts its own troubles between the lines.
                fresh.append(line.decode(errors="replace"))
                continue
            seen += moment == taken[0]
            if _is_before(moment, taken[0]) or (moment == taken[0] and seen <= taken[1]):
                continue
            self._count = self._count + 1 if moment == self._time else 1
            self._time = moment
            fresh.append(text)
        if fresh:
            self._emit(tuple(fresh))
        return seen


def _is_before(moment: str, other: str) -> bool:
    """Compare times, whose zones differ when the node's clock is changed between summer and winter."""
    if moment[_ZONE:] != other[_ZONE:] and other:
        return _instant(moment) < _instant(other)
    return moment < other


def _instant(moment: str) -> tuple[datetime, str]:
    return datetime.fromisoformat(moment[:19] + moment[_ZONE:]), moment[19:_ZONE]
