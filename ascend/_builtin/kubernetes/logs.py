"""The log of one pod: every line once and in order, over broken connections, to its end.

The kubelet tells the time of every line. A position is the time of the last line, and how many lines of that time
were taken; a new stream begins at that time's second, and what was taken before is left out.
"""

from __future__ import annotations

import re
import threading
from time import monotonic, sleep
from typing import TYPE_CHECKING

from ascend._builtin.kubernetes.failures import ApiError
from ascend.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ascend._builtin.kubernetes.connection import Connection, Stream

__all__ = ["PodLog"]

# A pod's status may come that much later than the end of its log, on a busy node.
_END_SECONDS = 10.0
_FOLLOW_AFTER = 1.5
_STREAM_SECONDS = 3600.0
_READ_SECONDS = 30.0
_ATTEMPTS = 5
_PAUSE = 0.5
_SHORT_SECONDS = 10.0
_NOT_FOUND = 404
# As the kubelet writes it: always nine digits, so that texts compare as times do.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}")


class PodLog:
    """Hands the lines of a pod's container to *emit*, in one thread at a time."""

    def __init__(self, connection: Connection, pod: str, emit: Callable[[tuple[str, ...]], None]) -> None:
        self._connection = connection
        self._pod = pod
        self._emit = emit
        self._time, self._count = "", 0
        self._stream: Stream | None = None
        self._ended = threading.Event()
        self._reading = threading.Lock()
        self._complete = False

    def follow(self) -> None:
        """Read while the container runs; returns when it has ended, or when nothing can be read any more.

        One that ends soon is read by `finish` alone: that is one request less.
        """
        with self._reading:
            if self._ended.wait(_FOLLOW_AFTER):
                return
            failures = 0
            while not self._complete and failures < _ATTEMPTS:
                started = monotonic()
                try:
                    self._read(follow=True)
                    if self._ended.is_set():
                        # It was cut from here, and may have had more to say.
                        return
                    # The log ends with the container, and the pod's status tells so a moment later.
                    self._complete = self._ended.wait(_END_SECONDS)
                except (OSError, ClusterError):
                    if self._ended.wait(_PAUSE):
                        break
                    # One that held for a while was cut by a proxy or by silence.
                    failures = failures + 1 if monotonic() - started < _SHORT_SECONDS else 0

    def finish(self) -> str | None:
        """Read what is left of an ended container; return why not all of it, if so."""
        # The kubelet ends a stream only up to a second after its container.
        self.close()
        self._reading.acquire()
        try:
            return None if self._complete else self._read_rest()
        finally:
            self._reading.release()

    def close(self) -> None:
        """Stop following."""
        self._ended.set()
        if self._stream is not None:
            self._stream.close()

    def _read_rest(self) -> str | None:
        problem = None
        for _ in range(_ATTEMPTS):
            try:
                self._read(follow=False)
            except ApiError as exc:
                problem = exc.message
                if exc.status == _NOT_FOUND:
                    break
            except (OSError, ClusterError) as exc:
                problem = str(exc)
            else:
                self._complete = True
                return None
            sleep(_PAUSE)
        return problem

    def _read(self, *, follow: bool) -> None:
        query: dict[str, object] = {"container": "main", "timestamps": "true"}
        if follow:
            query["follow"] = "true"
        if self._time:
            # Whole seconds, with the zone of the node.
            seconds, _, rest = self._time.partition(".")
            query["sinceTime"] = seconds + rest.lstrip("0123456789")
        timeout = _STREAM_SECONDS if follow else _READ_SECONDS
        stream = self._stream = self._connection.log(self._pod, read_timeout=timeout, **query)
        if follow and self._ended.is_set():
            stream.close()
        self._take(stream.batches())

    def _take(self, batches: Iterable[list[bytes]]) -> None:
        taken, seen = (self._time, self._count), 0
        for batch in batches:
            fresh = []
            for line in batch:
                moment, _, text = line.decode(errors="replace").partition(" ")
                if not _TIME.match(moment):
                    # The kubelet puts its own troubles between the lines.
                    fresh.append(f"{moment} {text}")
                    continue
                seen += moment == taken[0]
                if moment < taken[0] or (moment == taken[0] and seen <= taken[1]):
                    continue
                self._count = self._count + 1 if moment == self._time else 1
                self._time = moment
                fresh.append(text)
            if fresh:
                self._emit(tuple(fresh))
