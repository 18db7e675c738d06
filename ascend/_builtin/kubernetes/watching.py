"""One watch: the objects of one kind and run as they change, over broken connections and forgotten versions.

::

    list ──> versions ──> watch from there ──> ADDED, MODIFIED, DELETED, BOOKMARK
      ^                       │ ended, or nothing heard: again, from the last version
      └──── 410 Gone ─────────┘

Rules: kubernetes.io/docs/reference/using-api/api-concepts, "Efficient detection of changes".
"""

from __future__ import annotations

import json
import random
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

from ascend._builtin.kubernetes.failures import ApiError
from ascend.errors import ClusterError, ClusterUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ascend._builtin.kubernetes.connection import Connection
    from ascend._builtin.kubernetes.stream import Stream

__all__ = ["Watch"]

# The server ends a watch after a time of its choice within these; all watches of many clients at once would be a wave.
_WATCH_SECONDS = (240, 300)
# Bookmarks come about once a minute: who has heard nothing for longer has lost the connection.
_SILENCE_SECONDS = 90.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_GONE = 410
_REFUSED = {401, 403, 404}
# A server that has just started may not know all rules yet.
_REFUSED_SECONDS = 20.0


class Watch:
    """Tells of every change of the objects that *selector* selects among those of *path*.

    *tell* gets ``ADDED``, ``MODIFIED`` or ``DELETED`` and the object, in one thread. An object that vanished while
    nobody watched is told as ``DELETED``, in its last known form.
    """

    def __init__(
        self,
        connection: Connection,
        path: str,
        selector: str,
        tell: Callable[[str, dict[str, Any]], None],
        *,
        patience: float,
    ) -> None:
        self._connection = connection
        self._path = path
        self._selector = selector
        self._tell = tell
        self._patience = patience
        self._refused_patience = min(_REFUSED_SECONDS, patience)
        self._known: dict[str, dict[str, Any]] = {}
        self._version = ""
        self._stream: Stream | None = None
        self._closed = threading.Event()
        # Since when nothing is heard, and how much the last watch told.
        self._lost_at: float | None = None
        self._told = 0

    def list(self) -> None:
        """Tell what there is now; a first call before `run` shows in good time what may not be read."""
        items, self._version = self._connection.items(self._path, labelSelector=self._selector)
        # Lists go by name; attempts are told apart by who came first.
        items.sort(key=lambda item: item["metadata"].get("creationTimestamp") or "")
        present = {item["metadata"]["uid"]: item for item in items}
        for uid in [uid for uid in self._known if uid not in present]:
            self._tell("DELETED", self._known.pop(uid))
        for uid, item in present.items():
            self._take("MODIFIED" if uid in self._known else "ADDED", item)
        self._lost_at = None

    def run(self) -> None:
        """Watch until `close`; `ClusterError` when the server refuses, or was silent for longer than the patience."""
        pause = _FIRST_PAUSE
        while not self._closed.is_set():
            self._told = 0
            try:
                if not self._version:
                    self.list()
                self._follow()
            except (OSError, ClusterError) as exc:
                self._check(exc)
                # A watch that told something and broke off is begun again as soon as one that ended.
                pause = _FIRST_PAUSE if self._told else min(_LONGEST_PAUSE, pause * 2)
                self._closed.wait(pause * random.uniform(0.5, 1))
            else:
                pause = _FIRST_PAUSE

    def close(self) -> None:
        """End `run`, from another thread."""
        self._closed.set()
        if self._stream is not None:
            self._stream.close()

    def _follow(self) -> None:
        stream = self._stream = self._connection.watch(
            self._path,
            read_timeout=_SILENCE_SECONDS,
            labelSelector=self._selector,
            resourceVersion=self._version,
            allowWatchBookmarks="true",
            timeoutSeconds=random.randint(*_WATCH_SECONDS),
        )
        if self._closed.is_set():
            stream.close()
        self._lost_at = None
        for line in stream:
            event = _parse(line)
            kind, item = event["type"], event["object"]
            if kind == "ERROR":
                raise ApiError(
                    item.get("code", 0), item.get("reason", ""), item.get("message", ""), self._connection.place
                )
            self._told += 1
            self._version = item["metadata"]["resourceVersion"]
            if kind != "BOOKMARK":
                self._take(kind, item)
        if not self._told and not self._closed.is_set():
            msg = "a watch ended without a word"
            raise OSError(msg)

    def _take(self, kind: str, item: dict[str, Any]) -> None:
        # By far the largest part of an object, and of no use here.
        item["metadata"].pop("managedFields", None)
        uid = item["metadata"]["uid"]
        if kind == "DELETED":
            self._known.pop(uid, None)
        else:
            # Enough to tell of its end: what a Job carries is large, and there may be thousands.
            self._known[uid] = {name: item[name] for name in ("metadata", "status") if name in item}
        self._tell(kind, item)

    def _check(self, exc: Exception) -> None:
        """Raise if it makes no sense to go on."""
        if self._closed.is_set():
            return
        if isinstance(exc, ApiError) and exc.status == _GONE:
            self._version = ""
            return
        now = monotonic()
        if self._lost_at is None:
            self._lost_at = now
        if isinstance(exc, ApiError) and exc.status in _REFUSED and now - self._lost_at > self._refused_patience:
            raise exc
        if now - self._lost_at > self._patience:
            server = self._connection.place.server
            msg = f"nothing was heard of the API server at {server} for {self._patience:.0f} s: {exc}"
            raise ClusterUnreachableError(msg) from exc


def _parse(line: bytes) -> dict[str, Any]:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError as exc:
        msg = f"a watch broke off in the middle: {line[-80:]!r}"
        raise OSError(msg) from exc
    return event
