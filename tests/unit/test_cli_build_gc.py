"""Builds that never began are removed by ``ascend image gc``, and no others."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ascend.cli.build_gc import abandoned_builds, delete_builds, is_abandoned
from ascend.errors import ClusterError
from tests.unit.kubernetes_doubles import ScriptedConnection, refusal


class Builds(ScriptedConnection):
    """A namespace with the Jobs *found*."""

    def __init__(self, found, *answers):
        super().__init__(*answers)
        self.found = found

    def items(self, path, **query):
        assert query == {"labelSelector": "ascend.dev/build"}
        return self.found, "1"

    def exchange(self, method, path, body):
        return self._next(method, path, body)


def job(name="asc-build-0", *, created=0, suspend=True, timeout="600"):
    stamp = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    meta = {"name": name, "uid": f"uid-{name}", "resourceVersion": "7", "creationTimestamp": stamp}
    return {
        "metadata": {**meta, "annotations": {"ascend.dev/queue-timeout": timeout}},
        "spec": {"suspend": suspend},
    }


@pytest.mark.parametrize(
    ("changes", "now", "abandoned"),
    [
        ({}, 601.0, True),
        ({}, 600.0, False),
        ({"suspend": False}, 601.0, False),
        ({"created": 100}, 601.0, False),
        ({"timeout": "inf"}, 1e9, False),
    ],
)
def test_a_build_that_is_suspended_for_longer_than_its_client_waits_is_abandoned(changes, now, abandoned):
    assert is_abandoned(job(**changes), now) is abandoned


def test_an_abandoned_build_is_deleted_unless_it_has_changed(capsys):
    found = [job("first"), job("second", suspend=False), job("third")]
    connection = Builds(found, {}, refusal(409, "Conflict"))
    delete_builds(connection, abandoned_builds(connection, 601.0))
    assert [request[1].rpartition("/")[2] for request in connection.requests] == ["first", "third"]
    assert connection.requests[0][2]["preconditions"] == {"uid": "uid-first", "resourceVersion": "7"}
    said = capsys.readouterr().out
    assert "Deleted the build first, which never began" in said
    assert "Kept the build third" in said


def test_what_may_not_be_deleted_is_an_error():
    connection = Builds([], refusal(403, "Forbidden", "no"))
    with pytest.raises(ClusterError, match="asc-build-0"):
        delete_builds(connection, [job()])
