"""What API servers say when they refuse, word for word, and what it means for who wanted something."""

from __future__ import annotations

import pytest

from ascend._builtin.kubernetes.connection import Place
from ascend._builtin.kubernetes.failures import ApiError, refused
from ascend.errors import (
    ClusterError,
    JobRefusedError,
    NamespaceNotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    TaskStartError,
)
from tests.unit.kubernetes_doubles import PLACE, refusal

ACTION = "create the Job asc-1"
JOBS = {"kind": "jobs", "group": "batch"}

REFUSALS = {
    "no such namespace": (
        refusal(404, "NotFound", 'namespaces "crystals" not found', {"name": "crystals", "kind": "namespaces"}),
        NamespaceNotFoundError,
        ["cannot create the Job asc-1", "no namespace 'crystals'", "ASCEND_NAMESPACE", "kubectl create namespace"],
    ),
    "expired token": (
        refusal(401, "Unauthorized", "Unauthorized"),
        PermissionDeniedError,
        ["the context 'lab'", "not valid", PLACE.server, "log in again", "(Unauthorized)"],
    ),
    "no credentials": (
        refusal(
            403,
            "Forbidden",
            'jobs.batch is forbidden: User "system:anonymous" cannot create resource "jobs" in API group "batch" '
            'in the namespace "crystals"',
            JOBS,
        ),
        PermissionDeniedError,
        ["the context 'lab'", "log in again", "system:anonymous"],
    ),
    "no right": (
        refusal(
            403,
            "Forbidden",
            'jobs.batch is forbidden: User "ada" cannot create resource "jobs" in API group "batch" '
            'in the namespace "crystals"',
            JOBS,
        ),
        PermissionDeniedError,
        ["cannot create the Job asc-1", "'crystals'", 'User "ada" cannot create resource "jobs"', "ascend doctor"],
    ),
    "no right by a webhook authorizer": (
        refusal(
            403,
            "Forbidden",
            'pods is forbidden: User "ada@example.com" cannot list resource "pods" in API group "" in the namespace '
            '"crystals": requires one of ["container.pods.list"] permission(s).',
        ),
        PermissionDeniedError,
        ["container.pods.list", "ascend doctor --role"],
    ),
    "quota of Jobs": (
        refusal(
            403,
            "Forbidden",
            'jobs.batch "asc-1" is forbidden: exceeded quota: few, requested: count/jobs.batch=1, '
            "used: count/jobs.batch=5, limited: count/jobs.batch=5",
            {"name": "asc-1", **JOBS},
        ),
        QuotaExceededError,
        ["'crystals'", "exceeded quota: few", "delete Jobs that have ended, or have the quota raised"],
    ),
    "a policy": (
        refusal(
            403,
            "Forbidden",
            'admission webhook "validation.gatekeeper.sh" denied the request: [no-latest] container <main> '
            "uses an image tag that users cannot use",
        ),
        JobRefusedError,
        ["cannot create the Job asc-1", "'crystals'", "[no-latest]"],
    ),
    "a policy that speaks of users": (
        refusal(
            403,
            "Forbidden",
            "jobs.batch \"asc-1\" is forbidden: ValidatingAdmissionPolicy 'gpus' with binding 'all' denied request: "
            "User quota: students cannot use GPUs",
        ),
        JobRefusedError,
        ["students cannot use GPUs"],
    ),
    "a policy engine": (
        refusal(
            400,
            "",
            'admission webhook "validate.kyverno.svc-fail" denied the request: \n\nresource Job/crystals/asc-1 was '
            "blocked due to the following policies \n\nrequire-team:\n  check: 'validation error: label team'",
        ),
        JobRefusedError,
        ["require-team"],
    ),
    "a namespace that is being deleted": (
        refusal(
            403,
            "Forbidden",
            'jobs.batch "asc-1" is forbidden: unable to create new content in namespace crystals because it is being '
            "terminated",
            {"name": "asc-1", **JOBS, "causes": [{"reason": "NamespaceTerminating"}]},
        ),
        JobRefusedError,
        ["because it is being terminated"],
    ),
    "a Job that is none": (
        refusal(
            422,
            "Invalid",
            'Job.batch "asc-1" is invalid: spec.template.spec.containers[0].resources.requests: Invalid value: "8": '
            "must be less than or equal to cpu limit of 4",
            {"name": "asc-1", **JOBS},
        ),
        JobRefusedError,
        ["cannot create the Job asc-1", "must be less than or equal to cpu limit of 4"],
    ),
    "an unknown field": (
        refusal(
            400,
            "BadRequest",
            'Job in version "v1" cannot be handled as a Job: strict decoding error: unknown field "x"',
        ),
        JobRefusedError,
        ['unknown field "x"'],
    ),
    "a webhook that is down": (
        refusal(
            500,
            "InternalError",
            'Internal error occurred: failed calling webhook "mjob.kb.io": failed to call webhook: Post '
            '"https://kueue-webhook-service.kueue-system.svc:443/mutate?timeout=10s": no endpoints available',
        ),
        ApiError,
        [PLACE.server, "500 InternalError", "no endpoints available"],
    ),
    "an object that is gone": (
        refusal(404, "NotFound", 'jobs.batch "asc-1" not found', {"name": "asc-1", **JOBS}),
        ApiError,
        ['jobs.batch "asc-1" not found'],
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_becomes_an_error_that_names_object_and_remedy(case):
    error, kind, words = REFUSALS[case]

    meant = refused(error, ACTION)

    assert type(meant) is kind
    assert isinstance(meant, ClusterError | TaskStartError)
    for each in words:
        assert each in str(meant)


def test_inside_a_pod_it_is_the_service_account_whose_credentials_are_not_valid():
    error = ApiError(401, "Unauthorized", "Unauthorized", Place(None, "https://10.0.0.1", "jobs"))

    assert "the service account of this pod" in str(refused(error, ACTION))


@pytest.mark.parametrize(
    ("body", "reason", "message"),
    [
        (b'{"kind": "Status", "reason": "Gone", "message": "too old"}', "Gone", "too old"),
        (b'{"kind": "Status", "reason": null, "message": null, "details": null}', "", '{"kind": "Status"'),
        (b"<html>Bad Gateway</html>", "", "<html>Bad Gateway</html>"),
        (b"[1, 2]", "", "[1, 2]"),
        (b'"text"', "", '"text"'),
        (b"\xff", "", "\ufffd"),
        (b"", "", ""),
        (b"x" * 1000, "", "x" * 300),
    ],
)
def test_whatever_answers_an_error_is_made_of_it(body, reason, message):
    error = ApiError.of(500, body, {}, PLACE)

    assert error.reason == reason
    assert error.message.startswith(message)
    assert len(error.message) <= 300
    assert error.details == {}


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("", 0.0), ("soon", 0.0), (None, 0.0)])
def test_the_time_to_wait_is_read(header, seconds):
    headers = {} if header is None else {"Retry-After": header}

    assert ApiError.of(429, b"", headers, PLACE).retry_after == seconds
