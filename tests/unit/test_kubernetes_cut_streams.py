"""A stream that is ended from here while another thread reads it."""

from __future__ import annotations

from types import SimpleNamespace

from ascend._builtin.kubernetes.connection import Stream
from ascend._builtin.kubernetes.logs import PodLog

TIME = "2026-11-24T10:25:37.34182490"


class Response:
    """Hands out chunks; calls what stands between them."""

    def __init__(self, *parts):
        self._parts = list(parts)

    def read1(self, _):
        while self._parts and callable(self._parts[0]):
            self._parts.pop(0)()
        return self._parts.pop(0) if self._parts else b""

    def shutdown(self):
        pass

    def close(self):
        pass


def test_what_comes_after_the_end_from_here_is_no_line():
    def cut():
        stream.close()

    # ssl.SSLSocket.shutdown forgets its session first, so a reader gets the records as they are.
    stream = Stream(Response(b"one\ntw", cut, b"\x17\x03\x03\n\x91\n"))

    assert list(stream.batches()) == [[b"one"]]


def test_a_log_that_was_cut_from_here_is_read_to_its_end():
    def cut():
        log.close()

    emitted = []
    logs = [
        Response(f"{TIME}1Z one\n".encode(), cut, f"{TIME}2Z tw".encode()),
        Response(f"{TIME}1Z one\n{TIME}2Z two\n{TIME}3Z three\n".encode()),
    ]
    connection = SimpleNamespace(log=lambda _pod, **_query: Stream(logs.pop(0)))
    log = PodLog(connection, "a-pod", emitted.extend)

    log.follow()

    assert log.finish() is None
    assert emitted == ["one", "two", "three"]
