"""Which attempt of a Job is followed, from what the API server tells of its pods."""

from __future__ import annotations

import pytest

from ascend._builtin.kubernetes.stream import Stream
from ascend.cli.follow import follow_job
from tests.unit.kubernetes_doubles import ScriptedConnection
from tests.unit.kubernetes_objects import job, pod, terminated

FIRST, SECOND = "asc-0badc0de-1-0-first", "asc-0badc0de-1-0-second"


class Ended:
    """What a stream reads of *content*, at once and to its end."""

    def __init__(self, content):
        self._content = content

    def read1(self, _most):
        content, self._content = self._content, b""
        return content

    def shutdown(self):
        """Hold nothing."""

    def close(self):
        """Hold nothing."""


class Cluster(ScriptedConnection):
    """Has the *pods* of one Job; the log of each is its name."""

    def __init__(self, *pods):
        super().__init__()
        self._pods = pods

    def items(self, path, **query):
        return list(self._pods), "5"

    def watch(self, path, *, read_timeout, **query):
        return Stream(Ended(b""))

    def log(self, name, *, read_timeout, **query):
        return Stream(Ended(b"2026-11-24T10:00:00.000000000Z " + name.encode() + b"\n"))


def attempt(name, second):
    made = pod(name, terminated(3), phase="Failed")
    made["metadata"]["creationTimestamp"] = f"2026-11-24T09:50:{second:02d}Z"
    return made


@pytest.mark.parametrize(("asked", "printed"), [(None, SECOND), (1, FIRST), (2, SECOND)])
def test_the_newest_attempt_is_followed_unless_another_is_asked_for(asked, printed, capsys):
    # Lists go by name.
    follow_job(Cluster(attempt(SECOND, 9), attempt(FIRST, 5)), job(), asked)
    assert capsys.readouterr().out == f"{printed}\n"
