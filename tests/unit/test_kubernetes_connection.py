"""Requests to an API server, on a web server of this machine: what is repeated, what is raised, what a stream does."""

from __future__ import annotations

import sys
import threading

import pytest

from ascend._builtin.kubernetes.connection import MERGE_PATCH, STRATEGIC_PATCH
from ascend._builtin.kubernetes.failures import ApiError
from ascend._builtin.kubernetes.kubeconfig import connect
from ascend.errors import ClusterUnreachableError
from tests.testcluster.certificates import Authority
from tests.unit.api_server import ApiServer, answer, drop, kubeconfig, refusal, stream

GONE_LATER = "Too many requests, please try again later."


@pytest.fixture
def server():
    made = ApiServer()
    yield made
    made.close()


@pytest.fixture
def make(server, tmp_path):
    """Return a function that makes a connection to the server; all are closed before it."""
    made = []

    def make(patience=30.0, **settings):
        path = tmp_path / "kubeconfig"
        path.write_text(kubeconfig(server.url, **settings))
        made.append(connect(kubeconfig=str(path), patience=patience))
        return made[-1]

    yield make
    for connection in made:
        connection.close()


@pytest.fixture
def connection(make):
    return make()


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def secure_server(authority, tmp_path):
    authority.issue("server", "api", names=("127.0.0.1",))
    made = ApiServer((tmp_path / "server.crt", tmp_path / "server.key"))
    yield made
    made.close()


@pytest.fixture
def printed_tokens(tmp_path):
    """Return the user of a kubeconfig whose plugin prints t1, then t2, and so on."""
    counter, program = tmp_path / "counter", tmp_path / "plugin.py"
    counter.write_text("0")
    program.write_text(
        "import json, pathlib\n"
        f"path = pathlib.Path({str(counter)!r})\n"
        "number = int(path.read_text()) + 1\n"
        "path.write_text(str(number))\n"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential',"
        " 'status': {'token': f't{number}'}}))\n"
    )
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "args": [str(program)]}
    return {"exec": {**plugin, "interactiveMode": "Never"}}


def read(opened):
    """Return the lines of a stream, and what ended it before its time."""
    got = []
    try:
        for line in opened:
            got.append(line)  # noqa: PERF402 - what came before a break is wanted
    except OSError as exc:
        return got, exc
    return got, None


# One request.


def test_a_request_says_who_asks_and_what_for(server, connection):
    server.answers = [answer({"kind": "Pod"})]

    assert connection.get(connection.path("pods", "a b"), limit=5) == {"kind": "Pod"}

    asked = server.requests[0]
    assert (asked.method, asked.path) == ("GET", "/api/v1/namespaces/crystals/pods/a%20b")
    assert asked.query == {"limit": "5"}
    assert asked.headers["authorization"] == "Bearer t0"
    assert asked.headers["user-agent"].startswith("ascend/")


@pytest.mark.parametrize("kind", [MERGE_PATCH, STRATEGIC_PATCH])
def test_a_patch_says_how_it_is_meant(server, connection, kind):
    server.answers = [answer({})]

    connection.patch("/x", {"spec": {"a": "ä"}}, kind)

    assert server.requests[0].headers["content-type"] == kind
    assert server.requests[0].body == {"spec": {"a": "ä"}}


def test_an_object_that_is_gone_already_is_not_deleted_twice(server, connection):
    server.answers = [answer({}), refusal(404, "NotFound", 'jobs.batch "x" not found')]

    assert connection.delete("/x") is True
    assert connection.delete("/x") is False
    assert server.requests[0].body == {"propagationPolicy": "Background"}


def test_another_refusal_to_delete_is_raised(server, connection):
    server.answers = [refusal(403, "Forbidden", "no")]

    with pytest.raises(ApiError, match="403 Forbidden: no"):
        connection.delete("/x")


def test_a_list_is_read_page_by_page(server, connection):
    server.answers = [
        answer({"metadata": {"resourceVersion": "7", "continue": "next+/="}, "items": [{"n": 0}, {"n": 1}]}),
        answer({"metadata": {"resourceVersion": "7", "continue": "last"}, "items": None}),
        answer({"metadata": {"resourceVersion": "8"}, "items": [{"n": 2}]}),
    ]

    items, version = connection.items("/x", labelSelector="a=b")

    assert ([item["n"] for item in items], version) == ([0, 1, 2], "8")
    assert [asked.query.get("continue") for asked in server.requests] == [None, "next+/=", "last"]
    assert {asked.query["labelSelector"] for asked in server.requests} == {"a=b"}
    assert {asked.query["limit"] for asked in server.requests} == {"500"}


# Credentials.


def test_credentials_that_ran_out_are_replaced_once(server, make, printed_tokens):
    connection = make(user=printed_tokens)
    server.answers = [refusal(401, "Unauthorized", "Unauthorized"), answer({"ok": True})]

    assert connection.get("/x") == {"ok": True}
    assert connection.get("/x") == {"ok": True}

    first, second, third = (asked.headers["authorization"] for asked in server.requests)
    assert first != second == third


def test_a_stream_too_gets_fresh_credentials(server, make, printed_tokens):
    connection = make(user=printed_tokens)
    server.answers = [refusal(401, "Unauthorized", "Unauthorized"), stream(b"a\n")]

    assert list(connection.watch("/x", read_timeout=5)) == [b"a"]


def test_credentials_that_are_refused_twice_are_an_error(server, make, printed_tokens):
    connection = make(user=printed_tokens)
    server.answers = [refusal(401, "Unauthorized", "Unauthorized")]

    with pytest.raises(ApiError, match="401 Unauthorized") as caught:
        connection.get("/x")

    assert caught.value.status == 401
    assert len(server.requests) == 2


def test_many_threads_that_meet_the_same_end_of_credentials_renew_them_once(server, make, printed_tokens, tmp_path):
    connection = make(user=printed_tokens)
    stale = int((tmp_path / "counter").read_text())
    both = threading.Barrier(2)

    def refuse_stale(handler):
        if handler.headers["Authorization"] == f"Bearer t{stale}":
            both.wait(30)
            refusal(401, "Unauthorized", "Unauthorized")(handler)
        else:
            answer({})(handler)

    server.answers = [refuse_stale]
    threads = [threading.Thread(target=connection.get, args=("/x",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert int((tmp_path / "counter").read_text()) == stale + 1
    assert len(server.requests) == 4


def test_a_kubeconfig_that_is_just_being_written_does_not_end_the_connection(server, make, tmp_path):
    connection = make()
    path = tmp_path / "kubeconfig"
    whole = path.read_text()

    def cut_off(handler):
        path.write_text("")
        refusal(401, "Unauthorized", "Unauthorized")(handler)

    def complete(handler):
        path.write_text(whole.replace("t0", "t1"))
        refusal(401, "Unauthorized", "Unauthorized")(handler)

    server.answers = [cut_off, complete, answer({"ok": True})]

    assert connection.get("/x") == {"ok": True}
    assert [asked.headers["authorization"] for asked in server.requests] == ["Bearer t0", "Bearer t0", "Bearer t1"]


# Troubles that pass.


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_server_that_asks_to_come_again_is_asked_again(server, connection, status):
    server.answers = [answer(b"<html>busy</html>", status), refusal(status, "", GONE_LATER), answer({"ok": True})]

    assert connection.get("/x") == {"ok": True}
    assert len(server.requests) == 3


def test_a_server_says_how_long_to_wait(server, make):
    connection = make(patience=60)
    server.answers = [refusal(429, "TooManyRequests", GONE_LATER, Retry_After="3600")]

    # An hour is longer than anybody's patience: what would be waited for in vain is not waited for.
    with pytest.raises(ApiError, match=GONE_LATER) as caught:
        connection.get("/x")

    assert caught.value.retry_after == 3600
    assert len(server.requests) == 1


def test_an_odd_time_to_wait_is_none(server, connection):
    server.answers = [refusal(503, "", "down", Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"), answer({"ok": True})]

    assert connection.get("/x") == {"ok": True}


@pytest.mark.parametrize("status", [400, 403, 404, 409, 410, 422, 500])
def test_another_refusal_is_raised_at_once(server, connection, status):
    server.answers = [refusal(status, "SomeReason", "words", {"kind": "pods"})]

    with pytest.raises(ApiError, match=f"{status} SomeReason: words") as caught:
        connection.get("/x")

    assert (caught.value.status, caught.value.reason, caught.value.message) == (status, "SomeReason", "words")
    assert caught.value.details == {"kind": "pods"}
    assert server.url in str(caught.value)
    assert len(server.requests) == 1


def test_a_connection_that_drops_is_made_anew(server, connection):
    server.answers = [answer({"first": True}), drop, drop, answer({"ok": True})]

    assert connection.get("/x") == {"first": True}
    assert connection.get("/x") == {"ok": True}


def test_a_creation_whose_answer_was_lost_is_repeated_and_exists(server, connection):
    server.answers = [drop, refusal(409, "AlreadyExists", 'jobs.batch "asc-1" already exists')]

    with pytest.raises(ApiError) as caught:
        connection.create("/jobs", {"metadata": {"name": "asc-1"}})

    assert caught.value.reason == "AlreadyExists"
    assert [asked.body for asked in server.requests] == [{"metadata": {"name": "asc-1"}}] * 2


def test_an_answer_that_is_cut_off_is_asked_for_again(server, connection):
    def half(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b'{"ok": ')
        drop(handler)

    server.answers = [half, answer({"ok": True})]

    assert connection.get("/x") == {"ok": True}


def test_a_server_that_stays_away_is_unreachable(server, make):
    connection = make(patience=0.3)
    server.answers = [drop]

    with pytest.raises(ClusterUnreachableError, match="cannot be reached") as caught:
        connection.get("/x")

    assert server.url in str(caught.value)
    assert len(server.requests) > 1


def test_a_server_that_nobody_vouches_for_is_not_asked_again(secure_server, tmp_path):
    path = tmp_path / "config"
    path.write_text(kubeconfig(secure_server.url))

    # With any repetition, this would take an hour.
    with pytest.raises(ClusterUnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
        connect(kubeconfig=str(path), patience=3600).get("/x")

    assert secure_server.requests == []


def test_what_speaks_no_json_is_no_api_server(server, connection):
    server.answers = [answer(b"<html>Please log in to the Wi-Fi</html>")]

    with pytest.raises(ClusterUnreachableError, match=r"is no API server.*Wi-Fi"):
        connection.get("/x")

    assert len(server.requests) == 1


def test_a_refusal_without_a_status_object_shows_its_text(server, connection):
    server.answers = [answer(b"<html>proxy says no: caf\xe9</html>", 403), answer(b"[1]", 403), answer(b"", 400)]

    with pytest.raises(ApiError, match="proxy says no: caf\ufffd") as caught:
        connection.get("/x")
    assert caught.value.reason == ""
    with pytest.raises(ApiError, match="403 : \\[1\\]"):
        connection.get("/x")
    with pytest.raises(ApiError, match="400"):
        connection.get("/x")


def test_a_redirection_is_not_followed(server, connection):
    server.answers = [answer(b"", 302, Location="http://elsewhere.example/")]

    with pytest.raises(ApiError, match="302"):
        connection.get("/x")


# Streams.


def test_a_stream_yields_whole_lines_however_they_were_cut(server, connection):
    server.answers = [stream(b"on", b"e\ntwo\n\nth", b"ree\r", b"\nrest")]

    assert list(connection.watch("/x", read_timeout=5)) == [b"one", b"two", b"", b"three\r", b"rest"]
    assert server.requests[0].query == {"watch": "true"}


def test_a_log_is_asked_for_by_the_name_of_its_pod(server, connection):
    server.answers = [stream(b"one\n")]

    assert list(connection.log("asc-1-0-abcde", read_timeout=5, follow="true")) == [b"one"]
    assert server.requests[0].path == "/api/v1/namespaces/crystals/pods/asc-1-0-abcde/log"
    assert server.requests[0].query == {"follow": "true"}


def test_a_stream_that_breaks_off_yields_what_was_whole_and_raises(server, connection):
    server.answers = [stream(b"one\ntw", then="break")]

    got, problem = read(connection.watch("/x", read_timeout=5))

    assert got == [b"one"]
    assert "broken" in str(problem)


def test_a_stream_that_says_nothing_in_time_raises(server, connection):
    server.answers = [stream(b"one\n", then="silent")]

    got, problem = read(connection.watch("/x", read_timeout=0.2))

    assert got == [b"one"]
    assert "timed out" in str(problem)


def test_a_stream_that_another_thread_closes_ends_without_an_error(server, connection):
    server.answers = [stream(b"one\nhal", then="silent")]
    got, began = [], threading.Event()
    opened = connection.watch("/x", read_timeout=60)

    def read():
        for line in opened:
            got.append(line)
            began.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert began.wait(60)
    opened.close()
    thread.join(60)

    assert not thread.is_alive()
    assert got == [b"one"]


def test_nothing_is_read_of_an_encrypted_stream_that_was_closed(secure_server, tmp_path):
    path = tmp_path / "config"
    path.write_text(kubeconfig(secure_server.url, **{"certificate-authority": str(tmp_path / "ca.crt")}))
    secure_server.answers = [stream(*[b"line\n"] * 1000, then="silent")]
    connection = connect(kubeconfig=str(path))

    for _ in range(20):
        opened = connection.log("x", read_timeout=60)
        got = []
        for lines in opened.batches():
            got += lines
            # The rest is on its way.
            opened.close()
        assert set(got) == {b"line"}


def test_a_stream_that_has_ended_or_was_never_read_may_be_closed(server, connection):
    server.answers = [stream(b"one\n")]
    ended, unread = (connection.watch("/x", read_timeout=5) for _ in range(2))
    assert list(ended) == [b"one"]

    ended.close()
    ended.close()
    unread.close()

    assert list(unread) == []


@pytest.mark.parametrize("status", [403, 404, 410, 500, 503])
def test_a_stream_that_is_refused_raises_at_once(server, connection, status):
    server.answers = [refusal(status, "Reason", "words")]

    with pytest.raises(ApiError, match=f"{status} Reason: words"):
        connection.watch("/x", read_timeout=5)

    assert len(server.requests) == 1


def test_a_refusal_of_a_stream_that_is_cut_off_is_a_trouble_that_passes(server, connection):
    def half(handler):
        handler.send_response(503)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"{")
        drop(handler)

    server.answers = [half]

    with pytest.raises(ClusterUnreachableError):
        connection.watch("/x", read_timeout=5)


def test_open_streams_take_no_connection_from_calls(server, connection):
    server.answers = [stream(b"one\n", then="silent")] * 40 + [answer({"ok": True})]
    streams = [connection.log("x", read_timeout=60) for _ in range(40)]

    assert connection.get("/x") == {"ok": True}

    for each in streams:
        each.close()


def test_the_answer_of_any_other_request_comes_with_its_headers(server, connection):
    server.answers = [answer({"ok": True}, Warning="299 - old")]

    body, headers = connection.exchange("POST", "/x", {"a": 1}, dryRun="All")

    assert (body, headers["Warning"]) == ({"ok": True}, "299 - old")
    assert server.requests[0].body == {"a": 1}
