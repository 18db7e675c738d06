"""What an API server understands: asked once a day, told by what it echoes, and not mixed up with what it forbids."""

from __future__ import annotations

import os
import time

import pytest

from ascend._builtin.kubernetes.features import check_features, missing_features
from ascend.errors import ClusterError, ClusterUnreachableError, NamespaceNotFoundError, PermissionDeniedError
from tests.unit.kubernetes_doubles import PLACE, ScriptedConnection, refusal

FIELDS = ("backoffLimitPerIndex", "maxFailedIndexes", "podFailurePolicy", "podReplacementPolicy", "completionMode")


def echo(*without):
    return {"spec": {field: "kept" for field in FIELDS if field not in without}}


def test_the_question_creates_nothing_and_is_strict():
    connection = ScriptedConnection(echo())

    assert missing_features(connection) == []

    method, path, body, query = connection.requests[0]
    assert (method, path) == ("POST", "/apis/batch/v1/namespaces/crystals/jobs")
    assert query == {"dryRun": "All", "fieldValidation": "Strict"}
    assert set(FIELDS) <= set(body["spec"])


def test_a_field_that_is_dropped_is_missing():
    assert missing_features(ScriptedConnection(echo("podFailurePolicy"))) == ["podFailurePolicy"]


def test_a_field_that_is_refused_is_missing():
    words = (
        'Job in version "v1" cannot be handled as a Job: strict decoding error: '
        'unknown field "spec.backoffLimitPerIndex", unknown field "spec.maxFailedIndexes"'
    )

    missing = missing_features(ScriptedConnection(refusal(400, "BadRequest", words)))

    assert missing == ["backoffLimitPerIndex", "maxFailedIndexes"]


@pytest.mark.parametrize(
    "rule",
    [
        refusal(400, "BadRequest", 'admission webhook "vjob.kb.io" does not support dry run'),
        refusal(403, "Forbidden", 'admission webhook "validation.gatekeeper.sh" denied the request: [repos] python'),
        refusal(403, "Forbidden", 'jobs.batch "asc-dry-run-x" is forbidden: exceeded quota: few, requested: ...'),
    ],
)
def test_what_a_rule_says_of_the_sample_does_not_matter(rule):
    assert missing_features(ScriptedConnection(rule)) == []


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (refusal(401, "Unauthorized", "Unauthorized"), PermissionDeniedError),
        (refusal(403, "Forbidden", 'jobs.batch is forbidden: User "a" cannot create it'), PermissionDeniedError),
        (refusal(404, "NotFound", 'namespaces "crystals" not found', {"kind": "namespaces"}), NamespaceNotFoundError),
        (refusal(500, "InternalError", "etcdserver: no leader"), ClusterError),
        (ClusterUnreachableError("gone"), ClusterUnreachableError),
    ],
)
def test_what_would_refuse_every_job_is_raised(problem, kind, tmp_path):
    with pytest.raises(kind):
        check_features(ScriptedConnection(problem), folder=tmp_path)


def test_an_old_server_is_told_by_version_and_by_what_it_lacks(tmp_path):
    old = [echo("maxFailedIndexes"), {"gitVersion": "v1.27.3"}]

    with pytest.raises(ClusterError, match=r"\(v1\.27\.3\) does not keep maxFailedIndexes.*1\.29 or newer") as caught:
        check_features(ScriptedConnection(*old), folder=tmp_path)
    assert PLACE.server in str(caught.value)
    # It is no answer to remember: the cluster may be upgraded any time.
    with pytest.raises(ClusterError):
        check_features(ScriptedConnection(*old), folder=tmp_path)


def test_a_good_answer_is_remembered_for_a_day(tmp_path):
    check_features(ScriptedConnection(echo()), folder=tmp_path)

    check_features(ScriptedConnection(), folder=tmp_path)

    mark = next((tmp_path / "kubernetes").iterdir())
    yesterday = time.time() - 25 * 3600
    os.utime(mark, (yesterday, yesterday))
    again = ScriptedConnection(echo())
    check_features(again, folder=tmp_path)
    assert len(again.requests) == 1


def test_a_folder_that_cannot_be_written_is_no_trouble(tmp_path):
    (tmp_path / "file").write_text("")

    check_features(ScriptedConnection(echo()), folder=tmp_path / "file")
