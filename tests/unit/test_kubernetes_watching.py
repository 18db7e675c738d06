"""A watch over everything that happens to watches: ends, breaks, bookmarks, forgotten versions, refusals, silence."""

from __future__ import annotations

import json
import threading

import pytest

from ascend._builtin.kubernetes.failures import ApiError
from ascend._builtin.kubernetes.watching import Watch
from ascend.errors import ClusterUnreachableError
from tests.unit.kubernetes_doubles import PLACE, refusal

PODS = "/api/v1/namespaces/crystals/pods"
CUT = OSError("connection broken")
LOST = ClusterUnreachableError("the API server cannot be reached")
GONE = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version: 1 (9)"}


def pod(name, version, created="2026-01-01T00:00:00Z", **metadata):
    meta = {"name": name, "uid": f"u-{name}", "resourceVersion": str(version), "creationTimestamp": created}
    return {"metadata": {**meta, **metadata}}


def event(kind, item):
    return json.dumps({"type": kind, "object": item}).encode()


def bookmark(version):
    return event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": str(version), "uid": ""}})


class ScriptedStream:
    def __init__(self, lines):
        self._lines = lines
        self.closed = threading.Event()

    def __iter__(self):
        for line in self._lines:
            if line == "silence":
                self.closed.wait()
                return
            if isinstance(line, Exception):
                raise line
            yield line

    def close(self):
        self.closed.set()


class ScriptedServer:
    """Answers lists and watches by a script; its last watch is silent."""

    place = PLACE

    def __init__(self, lists, watches):
        self._lists, self._watches = list(lists), list(watches)
        self.asked = []
        self.idle = threading.Event()

    def items(self, path, **query):
        self.asked.append(("list", query))
        answer = self._lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def watch(self, path, *, read_timeout, **query):
        self.asked.append(("watch", query))
        if not self._watches:
            self.idle.set()
            return ScriptedStream(["silence"])
        answer = self._watches.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return ScriptedStream(answer)

    def versions(self):
        return [query.get("resourceVersion", "list") for _, query in self.asked]


def follow(server, patience=60.0):
    """Watch until the script has ended; return what was told."""
    told = []
    watch = Watch(
        server, PODS, "a=b", lambda kind, item: told.append((kind, item["metadata"]["name"])), patience=patience
    )
    thread = threading.Thread(target=watch.run)
    thread.start()
    assert server.idle.wait(60)
    watch.close()
    thread.join(60)
    assert not thread.is_alive()
    return told


def run(server, patience=60.0):
    """Watch in this thread, for scripts that end in an error."""
    Watch(server, PODS, "a=b", lambda kind, item: None, patience=patience).run()


# What is told.


def test_what_is_there_is_told_then_what_changes():
    server = ScriptedServer(
        [([pod("one", 3)], "5")],
        [[event("ADDED", pod("two", 6)), event("MODIFIED", pod("one", 7)), event("DELETED", pod("one", 8))]],
    )

    assert follow(server) == [("ADDED", "one"), ("ADDED", "two"), ("MODIFIED", "one"), ("DELETED", "one")]
    assert {query["labelSelector"] for _, query in server.asked} == {"a=b"}
    assert server.asked[1][1]["allowWatchBookmarks"] == "true"


def test_a_list_is_told_in_the_order_in_which_its_objects_were_made():
    second, first = pod("a", 2, "2026-01-01T00:00:09Z"), pod("b", 1, "2026-01-01T00:00:08Z")

    assert follow(ScriptedServer([([second, first], "5")], [])) == [("ADDED", "b"), ("ADDED", "a")]


def test_what_only_the_server_needs_is_left_out():
    seen = []
    server = ScriptedServer(
        [([pod("one", 3, managedFields=[{"manager": "kubelet"}])], "5")],
        [],
    )
    Watch(server, PODS, "", lambda _, item: seen.append(item), patience=1).list()

    assert "managedFields" not in seen[0]["metadata"]


# Where it goes on.


@pytest.mark.parametrize("end", [[], [CUT], [b'{"type": "MODI']])
def test_a_watch_that_ends_or_breaks_goes_on_from_the_last_version(end):
    server = ScriptedServer([([], "5")], [[event("ADDED", pod("one", 6)), *end], [event("ADDED", pod("two", 7))]])

    assert follow(server) == [("ADDED", "one"), ("ADDED", "two")]
    assert server.versions() == ["list", "5", "6", "7"]


def test_a_bookmark_moves_the_version_and_is_told_to_nobody():
    server = ScriptedServer([([], "5")], [[bookmark(90)], [CUT]])

    assert follow(server) == []
    assert server.versions() == ["list", "5", "90", "90"]


@pytest.mark.parametrize(
    "end", [refusal(410, "Expired", "too old"), [event("ERROR", GONE)], [bookmark(6), event("ERROR", GONE)]]
)
def test_a_forgotten_version_is_listed_anew_and_what_vanished_is_told(end):
    server = ScriptedServer(
        [([pod("stays", 1), pod("vanishes", 2)], "5"), ([pod("stays", 8), pod("new", 9)], "9")],
        [end],
    )

    told = follow(server)

    assert told[:2] == [("ADDED", "stays"), ("ADDED", "vanishes")]
    assert told[2] == ("DELETED", "vanishes")
    assert sorted(told[3:]) == [("ADDED", "new"), ("MODIFIED", "stays")]
    assert server.versions()[-2:] == ["list", "9"]


def test_what_was_deleted_is_not_told_again_by_a_list():
    server = ScriptedServer(
        [([pod("one", 1)], "5"), ([], "9")], [[event("DELETED", pod("one", 6)), event("ERROR", GONE)]]
    )

    assert follow(server) == [("ADDED", "one"), ("DELETED", "one")]


def test_a_list_that_is_forgotten_between_its_pages_is_begun_again():
    server = ScriptedServer([refusal(410, "Expired", "the continue token is too old"), ([pod("one", 1)], "5")], [])

    assert follow(server) == [("ADDED", "one")]


@pytest.mark.parametrize(
    "trouble",
    [
        LOST,
        refusal(500, "InternalError", "etcdserver: leader changed"),
        refusal(429, "TooManyRequests", "later"),
        [b"<html>Please log in</html>"],
        [event("ERROR", {"kind": "Status", "code": 500, "reason": "InternalError", "message": "unable to decode"})],
        [event("ERROR", {"kind": "Status"})],
        [],
    ],
    ids=["away", "error", "busy", "page", "error event", "odd event", "empty"],
)
def test_a_trouble_that_passes_loses_nothing(trouble):
    server = ScriptedServer([([], "5")], [trouble, trouble, [event("ADDED", pod("one", 6))]])

    assert follow(server) == [("ADDED", "one")]
    assert server.versions() == ["list", "5", "5", "5", "6"]


# Where it ends.


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("where", ["list", "watch"])
def test_a_refusal_ends_it(status, where):
    no = refusal(status, "Reason", "words")
    refused = [no] * 50
    server = ScriptedServer(refused, []) if where == "list" else ScriptedServer([([], "5")], [[bookmark(6)], *refused])

    with pytest.raises(ApiError, match="words"):
        run(server, patience=0.1)


def test_a_refusal_that_passes_ends_nothing():
    no = refusal(403, "Forbidden", "the rules are not known yet")
    server = ScriptedServer([([], "5")], [[bookmark(6)], no, [event("ADDED", pod("one", 7))]])

    assert follow(server) == [("ADDED", "one")]


def test_a_server_that_is_away_for_longer_than_the_patience_is_unreachable():
    server = ScriptedServer([([], "5")], [LOST] * 50)

    with pytest.raises(
        ClusterUnreachableError, match=r"nothing was heard of the API server at https://api.example:6443"
    ):
        run(server, patience=0.1)


def test_a_server_that_had_nothing_to_say_is_not_away():
    server = ScriptedServer([([], "5")], [[CUT], [CUT], [event("ADDED", pod("one", 6))]])

    assert follow(server, patience=0.01) == [("ADDED", "one")]


def test_a_list_shows_at_once_what_may_not_be_read():
    watch = Watch(ScriptedServer([refusal(403, "Forbidden", "no")], []), PODS, "", print, patience=60)

    with pytest.raises(ApiError, match="403 Forbidden"):
        watch.list()


def test_it_ends_when_it_was_closed_before_it_began():
    server = ScriptedServer([([], "5")], [])
    watch = Watch(server, PODS, "", print, patience=60)
    watch.close()

    watch.run()

    assert server.asked == []


def test_it_ends_when_it_is_closed_while_it_is_told_something():
    told = []
    server = ScriptedServer([([], "5")], [[event("ADDED", pod("one", 6)), CUT]])

    def take(kind, item):
        told.append(kind)
        watch.close()

    watch = Watch(server, PODS, "", take, patience=60)
    watch.run()

    assert told == ["ADDED"]


def test_it_ends_when_it_is_closed_while_it_connects():
    class Slow(ScriptedServer):
        def watch(self, path, **query):
            watch.close()
            return super().watch(path, **query)

    watch = Watch(Slow([([], "5")], []), PODS, "", print, patience=60)

    watch.run()


def test_an_error_of_who_is_told_is_not_taken_for_one_of_the_server():
    def fail(kind, item):
        raise ValueError(kind)

    watch = Watch(ScriptedServer([([], "5")], [[event("ADDED", pod("one", 6))]]), PODS, "", fail, patience=60)

    with pytest.raises(ValueError, match="ADDED"):
        watch.run()
