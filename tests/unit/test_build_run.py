"""One build and those who wait for it: what one of them gives up on is nothing to the others."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ascend._builtin.layer import LayerRecipe
from ascend.building.build_manifest import WAITS, build_job
from ascend.building.build_run import BuildRun, Order
from ascend.model import Needs, Profile
from tests.unit.build_cluster import BuildCluster
from tests.unit.kubernetes_objects import disruption, terminated, unschedulable, waiting
from tests.unit.test_layer import build

FAILED = "ascend.dev/build-failed"


@pytest.fixture
def cluster():
    return BuildCluster()


def new_run(cluster, said, *, queue_timeout):
    made = build(profile=Profile(needs=Needs(queue_timeout=queue_timeout)))
    job = build_job(made, "layer", LayerRecipe(made.profile, by_storage=False).pod(made))
    order = Order(job, {}, "ada")
    return BuildRun(cluster, order, exists=lambda: False, report=said.append, take=said.append)


class Waiters:
    """Clients that wait for the same build, each in a thread of its own."""

    def __init__(self, cluster, threads, eventually):
        self.said = []
        self._cluster, self._threads, self._eventually = cluster, threads, eventually
        self._closing = threading.Event()

    def come(self, *, queue_timeout=60.0):
        """Have one more wait; return its future once the Job knows of it."""
        before = self._marks()
        run = new_run(self._cluster, self.said, queue_timeout=queue_timeout)
        future = self._threads.submit(run.run, self._closing, 5.0)
        self._eventually(lambda: future.done() or self._marks() - before, "the waiter")
        self._eventually(lambda: future.done() or not self._cluster.job()["spec"]["suspend"], "the start")
        return future

    def close(self):
        self._closing.set()

    def _marks(self):
        job = self._cluster.job() or {"metadata": {"annotations": {}}}
        return {(job["metadata"].get("uid"), each) for each in job["metadata"]["annotations"] if each.startswith(WAITS)}


@pytest.fixture
def waiters(cluster, eventually):
    with ThreadPoolExecutor(4) as threads:
        made = Waiters(cluster, threads, eventually)
        yield made
        made.close()


def test_who_waits_no_longer_leaves_the_build_to_the_others(cluster, waiters):
    patient = waiters.come()
    gave_up = waiters.come(queue_timeout=0.1).result(timeout=30)
    assert (gave_up.phase, gave_up.reason) == ("failed", "QueueTimeout")
    assert FAILED not in cluster.job()["metadata"]["annotations"]
    late = waiters.come()
    assert not cluster.deleted
    cluster.set_pod(terminated(0), phase="Succeeded")
    assert [each.result(timeout=30).phase for each in (patient, late)] == ["succeeded"] * 2


@pytest.mark.parametrize(
    ("state", "status", "reason"),
    [
        (None, {"conditions": unschedulable("0/3 nodes")}, "Unschedulable"),
        (waiting("ImagePullBackOff", "it may pass"), {}, "ErrImagePull"),
    ],
)
def test_what_one_waiter_gave_up_on_is_no_failure_of_the_build(cluster, waiters, state, status, reason):
    waiters.come()
    cluster.set_pod(state, **status)
    assert waiters.come(queue_timeout=0.1).result(timeout=30).reason == reason
    assert FAILED not in cluster.job()["metadata"]["annotations"]


def test_a_build_that_was_disrupted_often_is_left_to_the_others(cluster, waiters):
    impatient, patient = waiters.come(), None
    for number in range(21):
        if number == 20:
            patient = waiters.come()
        cluster.set_pod(terminated(143), phase="Failed", conditions=disruption())
    assert impatient.result(timeout=30).reason == "Disrupted"
    assert not patient.done()
    assert FAILED not in cluster.job()["metadata"]["annotations"]


@pytest.mark.parametrize("code", [1, 137])
def test_a_build_that_has_failed_is_begun_anew_for_who_comes_next(cluster, waiters, code):
    waiters.come()
    failing = waiters.come()
    cluster.set_pod(terminated(code), phase="Failed")
    assert failing.result(timeout=30).phase == "failed"
    assert FAILED in cluster.job()["metadata"]["annotations"]
    waiters.come()
    assert len(cluster.deleted) == 1


def test_the_failure_of_a_build_is_not_noted_at_the_next_one(cluster, waiters):
    waiters.come()
    run = new_run(cluster, [], queue_timeout=60.0)
    run._note_failure("u-of-an-earlier-one")
    assert FAILED not in cluster.job()["metadata"]["annotations"]
