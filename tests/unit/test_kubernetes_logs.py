"""A pod's log: every line once and in order, however its streams are cut, and an end to reading it."""

from __future__ import annotations

import random
import threading
from datetime import datetime

import pytest
from urllib3.exceptions import ProtocolError

from ascend._builtin.kubernetes.logs import PodLog
from ascend._builtin.kubernetes.stream import Stream
from ascend.errors import ClusterUnreachableError
from tests.unit.kubernetes_doubles import refusal

NOT_FOUND = refusal(404, "NotFound", 'pods "asc-1-0-abcde" not found')
LOST = ClusterUnreachableError("the API server cannot be reached")


class Response:
    """What a stream reads: *chunks*, then it ends, breaks or is silent until it is shut down."""

    def __init__(self, chunks, then="end"):
        self._chunks = list(chunks)
        self._then = then
        self._over = threading.Event()

    def read1(self, _most):
        if self._chunks:
            return self._chunks.pop(0)
        if self._then == "silent":
            self._over.wait(60)
        if self._then == "break":
            raise ProtocolError("connection broken")
        return b""

    def shutdown(self):
        self._over.set()

    def close(self):
        self._over.set()


class Kubelet:
    """Serves a log of *lines*, each a time and bytes, as kubelets do; *cuts* say how its streams end, one a stream.

    A cut is a number of bytes and ``break``, ``end`` or ``silent``; or an exception that is raised instead. Without
    any left, a stream goes to its end.
    """

    def __init__(self, lines, cuts=(), chunk=7, last=b"\n"):
        self.lines = lines
        self.cuts = list(cuts)
        self.asked = []
        self.opened = threading.Event()
        self._chunk = chunk
        self._last = last

    def log(self, pod, *, read_timeout, **query):
        self.asked.append(query)
        self.opened.set()
        since = datetime.fromisoformat(query["sinceTime"]) if "sinceTime" in query else None
        chosen = [line for line in self.lines if since is None or not line[0] or moment(line[0]) >= since]
        text = b"\n".join(time.encode() + b" " + words if time else words for time, words in chosen)
        if chosen:
            text += self._last
        cut = self.cuts.pop(0) if self.cuts else (len(text), "end")
        if isinstance(cut, Exception):
            raise cut
        at, then = cut
        text = text[:at]
        return Stream(Response([text[i : i + self._chunk] for i in range(0, len(text), self._chunk)], then))


def moment(time):
    return datetime.fromisoformat(time[:19] + time[29:])


def at(second, nano=0, zone="Z"):
    return f"2026-03-29T12:{second // 60:02}:{second % 60:02}.{nano:09}{zone}"


def numbered(count, zone="Z"):
    return [(at(i // 4, i % 4 * 1000, zone), b"line %d" % i) for i in range(count)]


class Reader:
    """A log and what came of it."""

    def __init__(self, kubelet, patience=60.0, pause=0.5, container="main"):
        self.got = []
        self.log = PodLog(
            kubelet, "asc-1-0-abcde", self.got.extend, container=container, patience=patience, pause=pause
        )

    def read(self):
        """Read one followed stream, as the follower does; a broken one is no error."""
        try:
            self.log._read(follow=True)
        except (OSError, ClusterUnreachableError):
            return


# Over cuts.


@pytest.mark.parametrize("seed", range(200))
def test_every_line_comes_once_and_in_order_over_any_cut(seed):
    dice = random.Random(seed)
    zone = dice.choice(["Z", "+02:00", "-03:30"])
    lines, second, nano = [], 0, 0
    for number in range(dice.randint(1, 40)):
        # Many lines of one moment, of one second, and of many seconds.
        step = dice.choice([0, 0, 1, 999_999_999, 3_000_000_000])
        second, nano = second + (nano + step) // 10**9, (nano + step) % 10**9
        lines.append(
            (at(second, nano, zone), dice.choice([b"", b" ", b"x", b"same", b"%d" % number, b"\xe2\x82\xac" * 9]))
        )
    cuts = [(dice.randint(0, 1500), dice.choice(["break", "end"])) for _ in range(dice.randint(0, 8))]
    kubelet = Kubelet(lines, cuts, chunk=dice.choice([1, 7, 50, 5000]), last=dice.choice([b"\n", b""]))
    reader = Reader(kubelet)

    while kubelet.cuts:
        reader.read()
    reader.log.finish()

    assert reader.got == [words.decode() for _, words in lines]


# One that ends between two lines looks like the log's end, which its pod's status confirms within two seconds.
@pytest.mark.parametrize("cut", [cut for cut in range(0, 120, 5) if cut % 38])
@pytest.mark.parametrize("then", ["break", "end"])
def test_a_line_that_was_cut_is_read_whole(cut, then):
    kubelet = Kubelet(numbered(3), [(cut, then)])
    reader = Reader(kubelet)

    reader.read()
    reader.log.finish()

    assert reader.got == ["line 0", "line 1", "line 2"]


def test_a_new_stream_begins_at_the_second_of_the_last_line():
    kubelet = Kubelet([(at(61, 5, "+02:00"), b"a"), (at(62, 7, "+02:00"), b"b")], [(10**6, "break")])
    reader = Reader(kubelet)

    reader.read()
    reader.log.finish()

    assert [each.get("sinceTime") for each in kubelet.asked] == [None, "2026-03-29T12:01:02+02:00"]
    assert [each.get("follow") for each in kubelet.asked] == ["true", None]
    assert {(each["container"], each["timestamps"]) for each in kubelet.asked} == {("main", "true")}


def test_the_end_of_summer_time_on_the_node_loses_nothing():
    summer = [("2026-10-25T02:59:59.000000001+02:00", b"before"), ("2026-10-25T02:59:59.900000000+02:00", b"last")]
    winter = [("2026-10-25T02:00:00.000000000+01:00", b"after"), ("2026-10-25T02:00:01.000000000+01:00", b"later")]
    kubelet = Kubelet(summer, [(10**6, "break")])
    reader = Reader(kubelet)

    reader.read()
    kubelet.lines = summer + winter
    reader.log.finish()

    assert reader.got == ["before", "last", "after", "later"]


def test_a_log_that_was_rotated_goes_on():
    lines = numbered(12)
    kubelet = Kubelet(lines[:6], [(10**6, "break")])
    reader = Reader(kubelet)

    reader.read()
    kubelet.lines = lines[6:]
    reader.log.finish()

    assert reader.got == [f"line {number}" for number in range(12)]


def test_lines_that_come_while_nobody_reads_are_read_later():
    kubelet = Kubelet(numbered(2), [(10**6, "break")])
    reader = Reader(kubelet)

    reader.read()
    kubelet.lines = numbered(9)
    reader.log.finish()

    assert reader.got == [f"line {number}" for number in range(9)]


# Odd lines.


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"caf\xe9", "caf\ufffd"),
        (b"progress 1\rprogress 2\r", "progress 1\rprogress 2\r"),
        (b"x" * 100_000, "x" * 100_000),
        ("\u20ac".encode() * 50_000, "\u20ac" * 50_000),
        (b"", ""),
        (b"  indented", "  indented"),
        (b"2026-03-29T12:00:00.000000000Z of its own", "2026-03-29T12:00:00.000000000Z of its own"),
        (b"\x00\x1b[31m", "\x00\x1b[31m"),
    ],
)
def test_what_a_task_writes_is_shown_as_it_was(written, shown):
    reader = Reader(Kubelet([(at(1), written), (at(2), b"next")], chunk=65_536))

    reader.log.finish()

    assert reader.got == [shown, "next"]


@pytest.mark.parametrize(
    "words",
    [
        "failed to create fsnotify watcher: too many open files",
        "unable to retrieve container logs for containerd://0badc0de",
        "rpc error: code = NotFound desc = an error occurred when try to find container",
        "word",
        "",
    ],
)
def test_a_trouble_of_the_kubelet_is_shown_as_it_is(words):
    reader = Reader(Kubelet([(at(1), b"line"), ("", words.encode())]))

    reader.log.finish()

    assert reader.got == ["line", words]


# To its end.


def test_a_container_that_ended_at_once_is_read_with_one_request():
    kubelet = Kubelet(numbered(3))
    reader = Reader(kubelet)

    assert reader.log.finish() is None
    reader.log.follow()

    assert reader.got == ["line 0", "line 1", "line 2"]
    assert [each.get("follow") for each in kubelet.asked] == [None]


@pytest.fixture
def following():
    """Return a function that follows a log in a thread of its own; it has ended when the test has."""
    threads = []

    def start(reader):
        threads.append(threading.Thread(target=reader.log.follow))
        threads[-1].start()
        return threads[-1]

    yield start
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_a_follower_whose_stream_ended_with_its_container_reads_nothing_twice(following, eventually):
    kubelet = Kubelet(numbered(3))
    reader = Reader(kubelet)
    thread = following(reader)
    eventually(lambda: len(reader.got) == 3 and not reader.log._reading.locked())

    assert reader.log.finish() is None
    thread.join(60)

    assert reader.got == ["line 0", "line 1", "line 2"]
    # What came since the last line is asked for: the stream may have been ended by what lies between.
    assert [each.get("sinceTime") for each in kubelet.asked] == [None, "2026-03-29T12:00:00Z"]


def test_a_last_line_without_an_end_is_not_lost(following, eventually):
    kubelet = Kubelet(numbered(3), last=b"")
    reader = Reader(kubelet)
    thread = following(reader)
    eventually(lambda: len(reader.got) == 2 and not reader.log._reading.locked())

    assert reader.log.finish() is None
    thread.join(60)

    assert reader.got == ["line 0", "line 1", "line 2"]


def test_a_follower_that_hears_nothing_is_ended_and_the_rest_read(following, eventually):
    kubelet = Kubelet(numbered(2), [(10**6, "silent")])
    reader = Reader(kubelet)
    thread = following(reader)
    eventually(lambda: len(reader.got) == 2)
    kubelet.lines = numbered(5)

    assert reader.log.finish() is None
    thread.join(60)

    assert reader.got == [f"line {number}" for number in range(5)]


def test_a_follower_that_is_still_connecting_keeps_nobody_waiting(following):
    go_on = threading.Event()

    class Slow(Kubelet):
        def log(self, pod, **query):
            opened = super().log(pod, **query)
            if "follow" in query:
                go_on.wait(60)
            return opened

    kubelet = Slow(numbered(5))
    reader = Reader(kubelet)
    thread = following(reader)
    assert kubelet.opened.wait(60)

    assert reader.log.finish() is None
    go_on.set()
    thread.join(60)

    assert reader.got == [f"line {number}" for number in range(5)]


def test_a_follower_goes_on_after_a_break(following, eventually):
    kubelet = Kubelet(numbered(5), [(60, "break"), LOST, (120, "end"), (10**6, "silent")])
    reader = Reader(kubelet)
    thread = following(reader)
    eventually(lambda: len(reader.got) == 5)
    reader.log.close()
    thread.join(60)

    assert reader.got == [f"line {number}" for number in range(5)]


@pytest.mark.parametrize("trouble", [LOST, refusal(403, "Forbidden", "not yet"), refusal(500, "", "kubelet")])
def test_a_follower_outlives_a_server_that_is_gone_for_long(following, eventually, trouble):
    kubelet = Kubelet(numbered(5), [(60, "break"), *[trouble] * 40, (120, "break"), *[trouble] * 40, (10**6, "silent")])
    reader = Reader(kubelet, pause=0.001)
    thread = following(reader)
    eventually(lambda: len(reader.got) == 5)
    reader.log.close()
    thread.join(60)

    assert reader.got == [f"line {number}" for number in range(5)]


def test_a_follower_asks_a_server_that_is_gone_ever_more_rarely(following):
    kubelet = Kubelet([], [LOST] * 1000)
    reader = Reader(kubelet, pause=0.1)
    thread = following(reader)
    thread.join(3.5)
    asked = len(kubelet.asked)
    reader.log.close()
    thread.join(60)

    assert 3 <= asked <= 7


def test_a_follower_gives_up_where_nobody_knows_the_pod(following):
    kubelet = Kubelet([], [NOT_FOUND] * 9)
    following(Reader(kubelet, pause=0.01)).join(60)

    assert len(kubelet.asked) == 5


def test_closing_it_ends_the_follower(following, eventually):
    kubelet = Kubelet(numbered(2), [(10**6, "silent")])
    reader = Reader(kubelet)
    thread = following(reader)
    eventually(lambda: len(reader.got) == 2)

    reader.log.close()
    thread.join(60)

    assert not thread.is_alive()


def test_the_log_of_a_pod_that_is_gone_is_told_as_incomplete():
    kubelet = Kubelet(numbered(5), [(10**6, "break"), NOT_FOUND])
    reader = Reader(kubelet)
    reader.read()

    assert reader.log.finish() == 'pods "asc-1-0-abcde" not found'
    assert len(kubelet.asked) == 2


def test_a_trouble_that_passes_is_none():
    busy = refusal(500, "InternalError", "kubelet: dial tcp 10.0.0.1:10250: i/o timeout")
    kubelet = Kubelet(numbered(5), [(70, "break"), busy, LOST])
    reader = Reader(kubelet)

    assert reader.log.finish() is None
    assert reader.got == [f"line {number}" for number in range(5)]


def test_the_log_of_an_init_container_is_read_where_that_is_asked_for():
    kubelet = Kubelet(numbered(1))
    reader = Reader(kubelet, container="fetch")

    assert reader.log.finish() is None
    assert [each["container"] for each in kubelet.asked] == ["fetch"]


def test_a_trouble_that_stays_is_told():
    reader = Reader(Kubelet([], [LOST] * 5), patience=1.0)

    assert reader.log.finish() == str(LOST)
