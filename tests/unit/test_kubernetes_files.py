"""Files for pods in Secrets: one for a content, owned by every run that uses it, whoever was first."""

from __future__ import annotations

from base64 import b64decode

import pytest

from ascend._builtin.kubernetes.connection import STRATEGIC_PATCH
from ascend._builtin.kubernetes.files import MOST_BYTES, place_file
from ascend.errors import ClusterError, JobRefusedError, PermissionDeniedError
from tests.unit.kubernetes_doubles import ScriptedConnection, refusal

OWNER = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "name": "asc-0badc0de", "uid": "u-1"}
SECRETS = "/api/v1/namespaces/crystals/secrets"
NOT_THERE = refusal(404, "NotFound", 'secrets "asc-file-x" not found')
THERE = refusal(409, "AlreadyExists", 'secrets "asc-file-x" already exists')


def test_a_file_that_is_there_gets_one_more_owner():
    connection = ScriptedConnection({})

    placed = place_file(connection, OWNER, "runner.zip", b"content")

    name = placed.volume["secret"]["secretName"]
    own = {"metadata": {"ownerReferences": [OWNER]}}
    assert connection.requests == [("PATCH", f"{SECRETS}/{name}", own, STRATEGIC_PATCH)]
    assert placed.path.endswith("/runner.zip")
    assert placed.volume["secret"]["items"] == [{"key": "content", "path": "runner.zip"}]


def test_a_file_that_is_not_there_is_made():
    connection = ScriptedConnection(NOT_THERE, {})

    placed = place_file(connection, OWNER, "runner.zip", b"\x00content")

    method, path, secret, _ = connection.requests[1]
    assert (method, path) == ("POST", SECRETS)
    assert secret["metadata"]["name"] == placed.volume["secret"]["secretName"]
    assert secret["metadata"]["ownerReferences"] == [OWNER]
    assert secret["immutable"] is True
    assert b64decode(secret["data"]["content"]) == b"\x00content"


def test_a_file_that_another_run_makes_at_the_same_moment_is_shared():
    connection = ScriptedConnection(NOT_THERE, THERE, {})

    place_file(connection, OWNER, "runner.zip", b"content")

    assert [each[0] for each in connection.requests] == ["PATCH", "POST", "PATCH"]


def test_a_file_that_comes_and_goes_is_an_error_that_names_it():
    connection = ScriptedConnection(*[NOT_THERE, THERE] * 5)

    with pytest.raises(ClusterError, match=r"asc-file-.*'crystals'.*does something delete Secrets"):
        place_file(connection, OWNER, "runner.zip", b"content")


def test_another_content_is_another_file_in_another_folder():
    placed = [
        place_file(ScriptedConnection({}), OWNER, name, content)
        for name, content in (("a", b"1"), ("a", b"2"), ("b", b"1"))
    ]

    assert len({each.path for each in placed}) == 3
    assert placed[0].volume["secret"]["secretName"] != placed[1].volume["secret"]["secretName"]
    assert placed[0].volume["secret"]["secretName"] == placed[2].volume["secret"]["secretName"]


def test_what_no_secret_holds_is_refused_before_anything_is_sent():
    with pytest.raises(ClusterError, match="big has 1,048,577 bytes, and a Secret holds at most 1,048,576"):
        place_file(ScriptedConnection(), OWNER, "big", bytes(MOST_BYTES + 1))
    place_file(ScriptedConnection({}), OWNER, "big", bytes(MOST_BYTES))


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (refusal(403, "Forbidden", 'secrets is forbidden: User "ada" cannot patch it'), PermissionDeniedError),
        (refusal(422, "Invalid", 'Secret "x" is invalid'), JobRefusedError),
    ],
)
def test_a_refusal_says_what_was_wanted(problem, kind):
    with pytest.raises(kind, match="place a file in a Secret"):
        place_file(ScriptedConnection(problem), OWNER, "runner.zip", b"content")
