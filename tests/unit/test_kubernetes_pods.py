"""What a pod's JSON says about its task."""

from __future__ import annotations

import pytest

from ascend._builtin.kubernetes.pods import End, end_of, read_pod
from tests.unit.kubernetes_objects import (
    condition,
    deleted,
    disruption,
    init_containers,
    pod,
    running,
    terminated,
    unschedulable,
    waiting,
)

SHUTDOWN = "Pod was terminated in response to imminent node shutdown."
NO_PYTHON = 'exec: "python": executable file not found in $PATH: unknown'
EVICTED = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 60Mi."
DEADLINE = "Pod was active on the node longer than the specified deadline"
INITIALIZING = waiting("PodInitializing")

ENDS = {
    "success": (pod(state=terminated(0, message='{"v": 1}'), phase="Succeeded"), End(0, None, "", "", b'{"v": 1}')),
    "no receipt": (pod(state=terminated(0)), End(0, None, "", "", b"")),
    "receipt beyond ASCII": (pod(state=terminated(0, message="ü")), End(0, None, "", "", "ü".encode())),
    "exit code": (pod(state=terminated(3), phase="Failed"), End(3, None, "", "", b"")),
    "out of memory": (pod(state=terminated(137, "OOMKilled")), End(None, "SIGKILL", "OOMKilled", "", b"")),
    "killed": (pod(state=terminated(137)), End(None, "SIGKILL", "", "", b"")),
    "crashed": (pod(state=terminated(139)), End(None, "SIGSEGV", "", "", b"")),
    "no signal": (pod(state=terminated(255)), End(255, None, "", "", b"")),
    "never started": (
        pod(state=terminated(128, "StartError", NO_PYTHON)),
        End(None, None, "StartError", NO_PYTHON, b""),
    ),
    "cannot run": (pod(state=terminated(127, "ContainerCannotRun")), End(None, None, "StartError", "", b"")),
    "deadline": (
        pod(state=terminated(143), phase="Failed", reason="DeadlineExceeded", message=DEADLINE),
        End(None, "SIGTERM", "DeadlineExceeded", DEADLINE, b""),
    ),
    "evicted before it began": (
        pod(phase="Failed", reason="Evicted", message=EVICTED),
        End(None, None, "Evicted", EVICTED, b""),
    ),
    "evicted": (
        pod(state=terminated(137), phase="Failed", reason="Evicted", message=EVICTED),
        End(None, "SIGKILL", "Evicted", EVICTED, b""),
    ),
    "deleted": (deleted(pod(state=terminated(143))), End(None, "SIGTERM", "PodDeleted", "", b"")),
    "deleted after success": (deleted(pod(state=terminated(0, message="r"))), End(0, None, "", "", b"r")),
    "deleted while it ran": (deleted(pod(state=running(), phase="Running")), End(None, None, "PodDeleted", "", b"")),
    "vanished while it ran": (pod(state=running(), phase="Running"), End(None, None, "Lost", "", b"")),
    "node lost": (
        pod(state=running(), phase="Failed", conditions=disruption("DeletionByPodGC"), reason="NodeLost"),
        End(None, None, "NodeLost", "", b""),
    ),
    "preempted": (
        deleted(pod(state=terminated(143), phase="Failed", conditions=disruption())),
        End(None, "SIGTERM", "", "", b""),
    ),
    "init container failed": (
        pod(
            state=INITIALIZING,
            phase="Failed",
            initContainerStatuses=init_containers(first=terminated(0), fetch=terminated(1, message="no such file")),
        ),
        End(1, None, "", "its init container 'fetch' failed", b""),
    ),
    "init container out of memory": (
        pod(
            state=INITIALIZING,
            phase="Failed",
            initContainerStatuses=init_containers(fetch=terminated(137, "OOMKilled")),
        ),
        End(None, "SIGKILL", "OOMKilled", "its init container 'fetch' failed", b""),
    ),
    "init container never started": (
        pod(
            state=INITIALIZING,
            phase="Failed",
            initContainerStatuses=init_containers(fetch=terminated(128, "StartError", NO_PYTHON)),
        ),
        End(None, None, "StartError", NO_PYTHON, b""),
    ),
    "failed beside a sidecar": (
        pod(
            state=terminated(3),
            phase="Failed",
            initContainerStatuses=init_containers(sidecar=terminated(143)),
        ),
        End(3, None, "", "", b""),
    ),
    "node shuts down": (
        pod(state=terminated(143), phase="Failed", reason="Terminated", message=SHUTDOWN),
        End(None, "SIGTERM", "Terminated", SHUTDOWN, b""),
    ),
}


@pytest.mark.parametrize("case", ENDS)
def test_how_a_pod_ended(case):
    item, expected = ENDS[case]

    assert end_of(read_pod(item)) == expected


@pytest.mark.parametrize(
    ("item", "ended"),
    [
        (pod(), False),
        (pod(state=waiting()), False),
        (pod(state=running(), phase="Running"), False),
        (deleted(pod(state=running(), phase="Running")), False),
        (pod(state=terminated(0), phase="Running"), True),
        (pod(state=terminated(1), phase="Failed"), True),
        (pod(phase="Failed"), True),
        (pod(state=running(), phase="Failed"), True),
        (pod(phase="Succeeded"), True),
    ],
)
def test_a_pod_has_ended_with_its_container_or_without_it(item, ended):
    assert read_pod(item).has_ended is ended


def test_what_is_read_of_a_pod():
    found = read_pod(
        pod(state=waiting("ErrImagePull", "no"), failures=2, conditions=disruption("EvictionByEvictionAPI"))
    )

    assert (found.name, found.job_name, found.node) == ("asc-0badc0de-1-0-abcde", "asc-0badc0de-1", "n1")
    assert (found.failures, found.disrupted, found.being_deleted) == (2, "EvictionByEvictionAPI", False)
    assert (found.state, found.details["message"]) == ("waiting", "no")


@pytest.mark.parametrize(
    "item",
    [
        {"metadata": {"name": "p", "uid": "u"}},
        {"metadata": {"name": "p", "uid": "u", "labels": None, "annotations": None}, "spec": None, "status": None},
        {"metadata": {"name": "p", "uid": "u"}, "status": {"conditions": None, "containerStatuses": None}},
        {"metadata": {"name": "p", "uid": "u"}, "status": {"containerStatuses": [{"name": "main"}]}},
        {"metadata": {"name": "p", "uid": "u"}, "status": {"containerStatuses": [{"name": "main", "state": {}}]}},
        {
            "metadata": {"name": "p", "uid": "u"},
            "status": {"containerStatuses": [{"name": "other", "state": {"x": {}}}]},
        },
    ],
)
def test_a_pod_of_which_little_is_known_yet_is_read(item):
    found = read_pod(item)

    assert (found.state, found.failures, found.unscheduled, found.has_ended) == ("", 0, None, False)


@pytest.mark.parametrize("state", ["running", "waiting", "terminated"])
def test_a_state_without_details_is_a_state(state):
    found = read_pod(pod(state={state: None}))

    assert (found.state, found.details) == (state, {})


@pytest.mark.parametrize(
    ("inits", "container", "reason"),
    [
        ({"fetch": waiting("PodInitializing")}, "main", "PodInitializing"),
        ({"fetch": running()}, "main", "PodInitializing"),
        ({"fetch": terminated(0)}, "main", "PodInitializing"),
        ({"first": terminated(0), "fetch": waiting("ErrImagePull")}, "fetch", "ErrImagePull"),
        ({"first": running(), "fetch": waiting("PodInitializing")}, "main", "PodInitializing"),
        # It is started again.
        ({"sidecar": terminated(1)}, "main", "PodInitializing"),
    ],
)
def test_a_pod_waits_for_the_init_container_that_holds_it_up(inits, container, reason):
    found = read_pod(pod(state=INITIALIZING, initContainerStatuses=init_containers(**inits)))

    assert (found.container, found.state, found.details["reason"]) == (container, "waiting", reason)
    assert not found.has_ended


def test_a_pod_that_runs_waits_for_no_sidecar():
    inits = init_containers(sidecar=waiting("CrashLoopBackOff"))
    found = read_pod(pod(state=running(), phase="Running", initContainerStatuses=inits))

    assert (found.container, found.state) == ("main", "running")


def test_words_of_the_scheduler_hold_until_it_found_a_node():
    assert read_pod(pod(conditions=unschedulable("0/3 nodes"))).unscheduled == ("Unschedulable", "0/3 nodes")
    assert read_pod(pod(conditions=[condition("PodScheduled")])).unscheduled is None


def test_a_disruption_that_did_not_come_about_is_none():
    assert read_pod(pod(conditions=[condition("DisruptionTarget", "False", "PreemptionByScheduler")])).disrupted == ""
