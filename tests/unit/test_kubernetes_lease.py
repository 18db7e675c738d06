"""The Lease of a run: made once, whatever happens to the answer, renewed, and told when it is gone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ascend._builtin.kubernetes.lease import RunLease, lease_name, lease_of
from ascend.errors import ClusterUnreachableError, NamespaceNotFoundError, PermissionDeniedError
from tests.unit.kubernetes_doubles import PLACE, ScriptedConnection, refusal

MADE = {"metadata": {"name": "asc-0badc0de", "uid": "u-1"}}
LEASES = "/apis/coordination.k8s.io/v1/namespaces/crystals/leases"
OWNER = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "name": "asc-0badc0de", "uid": "u-1"}
LOST = ClusterUnreachableError("the API server cannot be reached")


def held(*answers):
    connection = ScriptedConnection(MADE, *answers)
    return connection, RunLease(connection, "0badc0de", "ada", "demo")


def test_a_lease_tells_whose_run_it_is_and_when_it_lived():
    lease = lease_of("0badc0de", "ada", "demo / ü")

    assert lease["metadata"]["name"] == lease_name("0badc0de") == "asc-0badc0de"
    assert lease["metadata"]["labels"]["ascend.dev/run"] == "0badc0de"
    assert lease["metadata"]["annotations"] == {"ascend.dev/user": "ada", "ascend.dev/project": "demo / ü"}
    assert lease["spec"]["holderIdentity"].startswith("ada@")
    moment = datetime.strptime(lease["spec"]["renewTime"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert abs(moment - datetime.now(UTC)).total_seconds() < 600


def test_what_owns_all_of_the_run_is_the_lease_that_the_server_made():
    connection, lease = held()

    assert lease.owner == OWNER
    assert [each[:2] for each in connection.requests] == [("POST", LEASES)]


def test_a_lease_whose_creation_was_answered_to_nobody_is_taken_over():
    exists = refusal(409, "AlreadyExists", 'leases.coordination.k8s.io "asc-0badc0de" already exists')
    connection = ScriptedConnection(exists, MADE)

    lease = RunLease(connection, "0badc0de", "ada", "demo")

    assert lease.owner == OWNER
    method, path, body, _ = connection.requests[1]
    assert (method, path) == ("PATCH", f"{LEASES}/asc-0badc0de")
    assert set(body["spec"]) == {"holderIdentity", "leaseDurationSeconds", "acquireTime", "renewTime"}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refusal(404, "NotFound", 'namespaces "crystals" not found', {"kind": "namespaces"}), NamespaceNotFoundError),
        (refusal(403, "Forbidden", 'leases is forbidden: User "ada" cannot create it'), PermissionDeniedError),
    ],
)
def test_a_refused_lease_is_an_error_that_names_it(error, kind):
    with pytest.raises(kind, match="create the Lease asc-0badc0de"):
        RunLease(ScriptedConnection(error), "0badc0de", "ada", "demo")


def test_renewing_changes_the_time_only():
    connection, lease = held({})

    assert lease.renew() is True
    method, path, body, _ = connection.requests[1]
    assert (method, path) == ("PATCH", f"{LEASES}/asc-0badc0de")
    assert list(body) == ["spec"]
    assert list(body["spec"]) == ["renewTime"]


def test_a_lease_that_somebody_deleted_is_not_renewed_again():
    _, lease = held(refusal(404, "NotFound", "gone"))

    assert lease.renew() is False


@pytest.mark.parametrize("trouble", [LOST, refusal(403, "Forbidden", "no"), refusal(500, "InternalError", "oh")])
def test_a_trouble_with_renewing_is_noted_and_passes(trouble, caplog):
    _, lease = held(trouble)

    assert lease.renew() is True
    assert "the Lease of the run was not renewed" in caplog.text
    assert PLACE.server in caplog.text or "cannot be reached" in caplog.text


def test_deleting_it_deletes_the_lease():
    connection, lease = held(True)

    lease.delete()

    assert connection.requests[1] == ("DELETE", f"{LEASES}/asc-0badc0de")
