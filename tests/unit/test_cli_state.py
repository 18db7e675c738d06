"""What the dicts of a Job, its pods and a Lease say of a task and a run."""

from __future__ import annotations

import pytest

from ascend._builtin.kubernetes.diagnosis import Diagnosis
from ascend._core.wire import RECEIPT, write_head
from ascend.cli.jobs import job_rows, status_rows
from ascend.cli.kubernetes import is_ours
from ascend.cli.runs import run_rows
from ascend.cli.state import ago, server_time, view_job, view_run
from ascend.cli.why import explain_job

SECOND = "2026-11-24T10:00:{:02d}Z"
BEGIN = SECOND.format(0)
QUEUED = 1795514400.0


def job_of(*conditions, retries=0, **meta):
    return {
        "metadata": {
            "name": "asc-7f3a-2",
            "creationTimestamp": SECOND.format(0),
            "labels": {"app.kubernetes.io/managed-by": "ascend", "ascend.dev/run": "7f3a"},
            "annotations": {
                "ascend.dev/function": "train",
                "ascend.dev/user": "ada",
                "ascend.dev/project": "p",
                "ascend.dev/task": "7f3a-2",
            },
            **meta,
        },
        "spec": {
            "backoffLimitPerIndex": retries,
            "template": {"spec": {"containers": [{"image": "python:3.13", "resources": {"limits": {"cpu": "2"}}}]}},
        },
        "status": {"conditions": [{"type": each, "status": "True", "reason": "Why"} for each in conditions]},
    }


def pod_of(state="", *, failures=0, created=1, phase="Running", **details):
    return {
        "metadata": {
            "uid": f"u{created}",
            "name": f"pod-{created}",
            "creationTimestamp": SECOND.format(created),
            "annotations": {"batch.kubernetes.io/job-index-failure-count": str(failures)},
        },
        "spec": {"nodeName": "node-1"},
        "status": {"phase": phase, "containerStatuses": [{"name": "main", "state": {state: details} if state else {}}]},
    }


def ended(code, *, receipt=None, **details):
    message = {} if receipt is None else {"message": write_head(RECEIPT, receipt).decode()}
    times = {"startedAt": SECOND.format(10), "finishedAt": SECOND.format(14)}
    return pod_of("terminated", exitCode=code, **times, **message, **details)


def test_a_job_without_a_pod_is_pending():
    view = view_job(job_of(), [])
    assert (view.state, view.reason, view.attempt) == ("pending", "NoPod", 1)
    assert (view.run, view.function, view.user, view.label) == ("7f3a", "train", "ada", "train#2")
    assert (view.queued, view.started, view.ended) == (QUEUED, None, None)


def test_a_job_without_a_pod_waits_for_what_its_events_say():
    view = view_job(job_of(), [], Diagnosis("ExceededQuota", "exceeded quota: q"))
    assert (view.state, view.reason, view.message) == ("pending", "ExceededQuota", "exceeded quota: q")


@pytest.mark.parametrize("pods", [[], [ended(3)]], ids=["never-began", "after-an-attempt"])
def test_a_suspended_job_waits_for_its_queue(pods):
    job = job_of(retries=1)
    job["spec"]["suspend"] = True
    job["status"]["conditions"] = [{"type": "Suspended", "status": "True", "message": "Job suspended"}]
    view = view_job(job, pods)
    assert (view.state, view.reason, view.message) == ("pending", "Suspended", "Job suspended")
    found = explain_job(view, [], QUEUED + 60)
    assert found.sentence == "It waits since 60s. Its Job is suspended: a queue has not admitted it yet."
    assert found.words == ("Job suspended",)
    assert "queue" in found.do


def test_a_running_job_has_a_start_and_a_node():
    view = view_job(job_of(), [pod_of("running", startedAt=SECOND.format(10))])
    assert (view.state, view.reason, view.node) == ("running", "", "node-1")
    assert view.duration(QUEUED + 30) == 20


def test_a_container_that_is_being_made_is_pending():
    view = view_job(job_of(), [pod_of("waiting", reason="ContainerCreating")])
    assert (view.state, view.reason) == ("pending", "ContainerCreating")


def test_a_value_is_success():
    view = view_job(job_of("Complete"), [ended(0, receipt={"status": "value"})])
    assert (view.state, view.reason, view.exit_code) == ("succeeded", "", 0)
    assert view.duration(QUEUED + 1000) == 4


def test_an_exception_of_the_function_is_failure_though_the_job_is_complete():
    view = view_job(job_of("Complete"), [ended(0, receipt={"status": "exception"})])
    assert (view.state, view.reason) == ("failed", "Raised")


def test_a_failure_of_the_runner_tells_its_kind():
    view = view_job(job_of("Failed"), [ended(66, receipt={"status": "failed", "kind": "timeout"})])
    assert (view.state, view.reason, view.exit_code) == ("failed", "timeout", 66)


@pytest.mark.parametrize(
    ("code", "details", "reason"),
    [(3, {}, "exit-3"), (139, {}, "SIGSEGV"), (137, {"reason": "OOMKilled"}, "OOMKilled")],
)
def test_a_death_tells_how(code, details, reason):
    assert view_job(job_of("Failed"), [ended(code, **details)]).reason == reason


def test_a_job_with_attempts_left_is_pending_between_them():
    view = view_job(job_of(retries=1), [ended(3)])
    assert (view.state, view.reason, view.ended) == ("pending", "Retrying", None)


def test_the_newest_attempt_counts():
    pods = [pod_of("running", startedAt=SECOND.format(20), created=2, failures=1), ended(3)]
    view = view_job(job_of(retries=1), pods)
    assert (view.state, view.attempt) == ("running", 2)


def test_a_job_whose_pods_are_gone_tells_its_condition():
    assert (view := view_job(job_of("Failed"), [])).state == "failed"
    assert view.reason == "Why"


def test_a_view_is_json_with_dates():
    values = view_job(job_of(), [pod_of("running", startedAt=SECOND.format(10))]).to_dict()
    assert (values["queued"], values["started"]) == ("2026-11-24T10:00:00+00:00", "2026-11-24T10:00:10+00:00")
    assert values["ended"] is None


def lease_of(renewed=BEGIN):
    return {
        "metadata": {
            "name": "asc-7f3a",
            "creationTimestamp": SECOND.format(0),
            "labels": {"ascend.dev/run": "7f3a"},
            "annotations": {"ascend.dev/user": "ada", "ascend.dev/project": "p"},
        },
        "spec": {"holderIdentity": "ada@host:1", "leaseDurationSeconds": 300, "renewTime": renewed},
    }


@pytest.mark.parametrize(
    ("after", "alive", "abandoned"), [(0, True, False), (300, True, False), (301, False, False), (361, False, True)]
)
def test_a_client_lives_as_long_as_its_lease_and_is_given_up_a_minute_later(after, alive, abandoned):
    view = view_run(lease_of())
    assert (view.is_alive(QUEUED + after), view.is_abandoned(QUEUED + after)) == (alive, abandoned)


@pytest.mark.parametrize(("after", "client"), [(0, "alive"), (301, "late"), (361, "gone")])
def test_the_table_of_runs_says_which_of_them_gc_removes(after, client):
    assert run_rows([view_run(lease_of())], QUEUED + after)[0][5] == client


def test_a_lease_that_was_never_renewed_counts_from_its_making():
    view = view_run(lease_of(renewed=None))
    assert not view.is_alive(QUEUED)
    assert (view.is_abandoned(QUEUED + 360), view.is_abandoned(QUEUED + 361)) == (False, True)


def test_a_run_counts_its_own_jobs():
    other = view_job(job_of(labels={"ascend.dev/run": "other"}), [])
    jobs = [view_job(job_of(), []), view_job(job_of("Complete"), []), other]
    assert view_run(lease_of(), jobs).jobs == {"pending": 1, "succeeded": 1}


def test_rows_of_runs():
    rows = run_rows([view_run(lease_of(), [view_job(job_of(), [])])], QUEUED + 12)
    assert rows == [("7f3a", "ada", "p", "ada@host:1", "12s ago", "alive", "1 pending")]


def test_rows_of_jobs():
    rows = job_rows([view_job(job_of("Failed"), [ended(139)])], QUEUED + 7200)
    assert rows == [("asc-7f3a-2", "train", "ada", "failed", "1", "2h00m", "4s", "node-1", "SIGSEGV")]


def test_the_status_tells_everything_once():
    rows = dict(status_rows(view_job(job_of("Failed"), [ended(139)]), view_run(lease_of()), QUEUED + 20))
    assert rows["state"] == "failed, SIGSEGV"
    assert rows["resources"] == "cpu 2"
    assert rows["client"] == "ada@host:1, alive, last heard of 20s ago"
    assert rows["ended"] == "2026-11-24 10:00:14 UTC, 6s ago"


def test_the_status_tells_that_the_client_has_gone():
    assert dict(status_rows(view_job(job_of(), []), None, QUEUED))["client"] == "gone: the run has been deleted"


def test_only_what_belongs_to_a_run_is_ours():
    assert is_ours(job_of())
    assert not is_ours(job_of(labels={"app.kubernetes.io/managed-by": "ascend"}))
    assert not is_ours(job_of(labels={"ascend.dev/run": "7f3a"}))
    assert not is_ours(job_of(labels=None))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (-3, "0s"), (119.9, "119s"), (120, "2m"), (3600, "1h00m"), (7505, "2h05m"), (5 * 86400, "5d")],
)
def test_a_stretch_of_time_is_short(seconds, text):
    assert ago(seconds) == text


def test_the_time_of_a_server_is_its_header():
    assert server_time({"Date": "Tue, 24 Nov 2026 10:00:00 GMT"}) == QUEUED + 0.5
    assert server_time({}) is None
    assert server_time({"Date": "yesterday"}) is None
