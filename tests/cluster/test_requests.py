"""What ascend asks of the API server, from the server's audit log: the numbers are those of the documentation."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "the-way-of-a-call.md"
LONG = "a call that is seen to run for longer than a second"
WRITES = {"create", "update", "patch", "delete", "deletecollection"}


def budget():
    """Return how often each request may be made, by what it is made for, as the page says."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## Requests\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.*?) \| `([a-z]+ [a-z/]+)`.*? \| (\d+) \|", section, re.MULTILINE)
    found, what = {}, ""
    for name, request, most in rows:
        what = name or what
        found.setdefault(what, {})[request] = int(most)
    return found


def requests_of(event):
    """Return a request of the audit log as the page names it, and the object that it is about."""
    of = event["objectRef"]
    resource = "/".join(filter(None, (of["resource"], of.get("subresource"))))
    name = "dry-run" if "dryRun=" in event["requestURI"] else of.get("name", "")
    return f"{event['verb']} {resource}", name


class Log:
    """The requests since the last look."""

    def __init__(self, namespace):
        self._namespace = namespace
        self._seen = set()
        self._since = time.monotonic()
        self.seconds = 0.0

    def new(self):
        now = time.monotonic()
        self.seconds, self._since = now - self._since, now
        fresh = [event for event in self._namespace.audit() if event["auditID"] not in self._seen]
        self._seen |= {event["auditID"] for event in fresh}
        return [requests_of(event) for event in fresh]


@pytest.fixture
def log(own_cluster, kubernetes):
    return Log(kubernetes)


def allowed(seconds=0.0, **times):
    """Return the most of each request for so many of each line of the page, in so many seconds."""
    found = Counter()
    lines = budget()
    # Nobody knows how long a call runs on a busy node.
    times = {LONG: times.get("a_call", 0)} | {name.replace("_", " "): count for name, count in times.items()}
    assert times.keys() <= lines.keys()
    for name, requests in lines.items():
        every = re.search(r"every (\d+) s", name)
        count = 1 + int(seconds / int(every[1])) if every else times.get(name, 0)
        found.update({request: count * most for request, most in requests.items()})
    return found


def counted(requests):
    return Counter(request for request, _ in requests)


def test_the_page_has_a_budget():
    assert {"a run begins", "a file is placed", "a call", "a run ends"} <= budget().keys()


def test_a_run_and_its_calls_keep_to_the_budget(make_executor, log):
    executor = make_executor()
    executor.submit(abs, -1).result()

    begin = log.new()
    files = {name for request, name in begin if request == "patch secrets"}
    # The runner, and the project's source: this one.
    assert 1 <= len(files) <= 2
    assert counted(begin) <= allowed(log.seconds, a_run_begins=1, a_file_is_placed=len(files), a_call=1)

    assert executor.submit(abs, -2).result() == 2
    call = log.new()
    assert counted(call) <= allowed(log.seconds, a_call=1)
    assert [request for request, _ in call if request.split()[0] in WRITES - {"patch"}] == ["create jobs"]

    executor.shutdown()
    assert counted(log.new()) <= allowed(log.seconds, a_run_ends=1)


def test_a_second_run_neither_asks_for_features_nor_sends_the_runner_again(make_executor, log):
    first = make_executor()
    first.submit(abs, -1).result()
    log.new()

    make_executor().submit(abs, -1).result()

    requests = counted(log.new())
    assert requests["create jobs"] == 1
    assert requests["create secrets"] == 0


@pytest.mark.timeout(300, func_only=True)
def test_a_hundred_calls_are_a_hundred_jobs_and_keep_to_the_budget(make_executor, log):
    executor = make_executor(queue_timeout=240.0)
    executor.submit(abs, -1).result()
    log.new()

    assert list(executor.map(abs, range(-100, 0))) == list(range(100, 0, -1))

    requests = counted(log.new())
    assert requests <= allowed(log.seconds, a_call=100)
    assert requests["create jobs"] == 100
