"""Sentences about what a Job waits for, or why it failed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ascend.cli.follow import status_line
from ascend.cli.state import JobView
from ascend.cli.why import explain_job
from ascend.model import JobStatus

NOW = 1000.0
VIEW = JobView(
    name="asc-7f3a-2", run="7f3a", task="7f3a-2", function="train", user="ada", project="p", state="pending", attempt=1,
    reason="NoPod", message="", exit_code=None, signal=None, queued=NOW - 60, started=None, ended=None, node="",
    image="python:3.13", resources={},
)  # fmt: skip


def event(reason, message="", at=1):
    return {"reason": reason, "message": message, "lastTimestamp": f"2026-11-24T10:00:{at:02d}Z", "metadata": {}}


def why(*events, **changes):
    return explain_job(replace(VIEW, **changes), events, NOW)


def test_the_cluster_says_why_a_pod_does_not_fit():
    found = why(
        event("FailedScheduling", "0/1 nodes are available"), reason="Unschedulable", message="0/1 nodes are available"
    )
    assert found.sentence == "It waits since 60s. No node has room for it, or none may have it."
    assert found.words == ("0/1 nodes are available",)
    assert "node_type" in found.do


def test_a_node_that_is_being_added_is_worth_waiting_for():
    found = why(event("TriggeredScaleUp", "pool 1->2 (max: 2)"), reason="Unschedulable", message="0/1 nodes")
    assert "The autoscaler adds a node for it" in found.sentence
    assert found.words == ("0/1 nodes", "TriggeredScaleUp: pool 1->2 (max: 2)")
    assert found.do == ""


def test_a_node_that_cannot_be_added_is_not():
    found = why(event("NotTriggerScaleUp", "max node group size reached"), reason="Unschedulable")
    assert "cannot add a node" in found.sentence
    assert found.do


def test_a_volume_that_cannot_be_mounted():
    found = why(event("Pulled"), event("FailedMount", "no such secret"), reason="ContainerCreating", node="n")
    assert "cannot be mounted" in found.sentence
    assert found.words == ("FailedMount: no such secret",)


@pytest.mark.parametrize(
    ("events", "words"), [([event("Pulling")], "pulls the image"), ([], "container is being made")]
)
def test_a_container_that_is_being_made(events, words):
    assert words in why(*events, reason="ContainerCreating", node="n").sentence


def test_an_image_that_was_pulled_is_no_reason():
    assert "pulls" not in why(event("Pulling"), event("Pulled"), reason="ContainerCreating").sentence


@pytest.mark.parametrize("reason", ["ErrImagePull", "ExceededQuota", "FailedCreate", "CreateContainerConfigError"])
def test_what_can_be_repaired_has_advice(reason):
    found = why(reason=reason, message="the cluster's own words")
    assert found.do
    assert found.words == ("the cluster's own words",)


def test_the_newest_event_of_a_reason_is_told_once():
    found = why(event("FailedCreate", "new", at=9), event("FailedCreate", "old"), event("Scheduled", "x"))
    assert found.words == ("FailedCreate: new",)


def test_a_running_job_runs():
    assert why(state="running", started=NOW - 5, node="n").sentence == "It runs on n since 5s."
    assert why(state="running", started=NOW - 5, node="n", attempt=2).sentence.endswith(", in attempt 2.")


def test_a_success_is_told_with_its_duration():
    assert why(state="succeeded", started=NOW - 9, ended=NOW - 2).sentence == "It succeeded after 7s."


def test_too_much_memory():
    found = why(state="failed", reason="OOMKilled", started=NOW - 9, ended=NOW - 2)
    assert found.sentence == "It failed after 7s. It was killed because it used more memory than it was given."
    assert found.do == "raise memory"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"signal": "SIGSEGV", "reason": "SIGSEGV"}, "ended by SIGSEGV"),
        ({"exit_code": 3, "reason": "exit-3"}, "exited with 3"),
        ({"reason": "Lost"}, "Its pod is gone"),
    ],
)
def test_a_death_is_told_as_it_was(changes, words):
    assert words in why(state="failed", **changes).sentence


def test_lines_for_people():
    found = why(reason="ExceededQuota", message="exceeded quota: q")
    assert list(found.lines())[1:] == ["  exceeded quota: q", f"To do: {found.do}"]


@pytest.mark.parametrize(
    ("status", "line", "end"),
    [
        (JobStatus("j", "running"), "train#2 started", ""),
        (JobStatus("j", "running", attempt=2), "train#2 started (attempt 2)", ""),
        (JobStatus("j", "pending", reason="Unschedulable", message="0/1 nodes"), "train#2 waits: 0/1 nodes", ""),
        (JobStatus("j", "succeeded", exit_code=0), "train#2 succeeded", "succeeded"),
        (
            JobStatus("j", "succeeded", exit_code=0, receipt=b"ascend-receipt/1\nstatus: exception\n\n"),
            "train#2 failed: the function raised an exception",
            "failed",
        ),
        (
            JobStatus("j", "failed", exit_code=3, final=False),
            "train#2 failed: exit code 3; another attempt follows",
            "",
        ),
        (JobStatus("j", "failed", signal="SIGKILL", reason="OOMKilled"), "train#2 failed: OOMKilled", "failed"),
    ],
)
def test_a_status_is_a_line(status, line, end):
    assert status_line("train#2", status) == (line, end)
