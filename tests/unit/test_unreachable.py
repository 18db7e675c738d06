"""A cluster that cannot be opened: all that wait for it end together, and nobody waits for it who need not."""

from __future__ import annotations

import threading
import time
from concurrent.futures import wait

import pytest

from ascend import hookimpl
from ascend._builtin.local import LocalCluster
from ascend._core.once import Once
from ascend.errors import ClusterUnreachableError, TaskKilledError


class Unreachable(LocalCluster):
    """Does not open before the test lets it, and then only after its *failures*."""

    name = "unreachable"

    def __init__(self, failures):
        super().__init__()
        self.failures = failures
        self.attempts = 0
        self.tried = threading.Event()
        self.answer = threading.Event()

    def open(self, run_id):
        self.attempts += 1
        self.tried.set()
        self.answer.wait(60)
        if self.attempts <= self.failures:
            msg = "the API server cannot be reached"
            raise ClusterUnreachableError(msg)
        super().open(run_id)


class Plugin:
    """Serves one such cluster."""

    def __init__(self, cluster):
        self._cluster = cluster

    @hookimpl
    def ascend_cluster(self, name):
        return self._cluster if name == "unreachable" else None


@pytest.fixture
def make_unreachable(make_executor):
    """Return a function that makes a cluster that cannot be opened so often, and an executor on it."""

    def make(failures):
        cluster = Unreachable(failures)
        return cluster, make_executor(cluster="unreachable", plugins=[Plugin(cluster)], max_parallel=200)

    return make


def test_all_tasks_that_wait_for_a_cluster_that_cannot_be_opened_end_with_one_attempt(make_unreachable):
    cluster, executor = make_unreachable(failures=1)
    futures = [executor.submit(pow, 2, number) for number in range(20)]
    assert cluster.tried.wait(60)
    cluster.answer.set()

    assert not wait(futures, timeout=60).not_done
    assert {type(future.exception()) for future in futures} == {ClusterUnreachableError}
    assert cluster.attempts == 1


def test_a_task_that_comes_later_tries_again(make_unreachable):
    cluster, executor = make_unreachable(failures=1)
    cluster.answer.set()
    assert isinstance(executor.submit(pow, 2, 5).exception(timeout=60), ClusterUnreachableError)

    assert executor.submit(pow, 2, 5).result(timeout=60) == 32
    assert cluster.attempts == 2


def test_stopping_does_not_wait_for_a_cluster_that_is_being_opened(make_unreachable):
    cluster, executor = make_unreachable(failures=1)
    futures = [executor.submit(pow, 2, number) for number in range(20)]
    assert cluster.tried.wait(60)

    stopping = threading.Thread(
        target=executor._run.shutdown, kwargs={"wait": False, "cancel_futures": True, "kill": True}
    )
    stopping.start()
    stopping.join(5)
    stopped = not stopping.is_alive()
    cluster.answer.set()
    stopping.join(60)

    assert stopped
    assert not wait(futures, timeout=60).not_done
    executor.shutdown(wait=True)
    assert cluster.attempts == 1, "who was stopped has opened the cluster"


def test_an_error_belongs_to_who_waited_for_the_attempt_and_to_nobody_else():
    once = Once()

    def fail():
        raise OSError("no answer")

    before = time.monotonic()
    with pytest.raises(OSError, match="no answer") as first:
        once.get(fail, since=before)
    depth = len(first.traceback)
    with pytest.raises(OSError, match="no answer") as second:
        once.get(lambda: "made", since=before)
    assert second.value is first.value
    assert len(second.traceback) <= depth + 1

    assert once.get(lambda: "made", since=time.monotonic() + 1) == ("made", True)
    assert once.get(fail, since=before) == ("made", False)


class Silent(LocalCluster):
    """Forgets to delete the Jobs that it is asked to, as one does that cannot be reached."""

    name = "silent"

    def delete_job(self, job_name):
        """Do nothing."""


class SilentPlugin:
    """Serves such a cluster."""

    @hookimpl
    def ascend_cluster(self, name):
        return Silent() if name == "silent" else None


def test_who_stops_everything_waits_for_no_word_of_a_silent_cluster(make_executor, gate, eventually, monkeypatch):
    monkeypatch.setattr("ascend._core.run._LAST_WORD_SECONDS", 0.5)
    executor = make_executor(cluster="silent", plugins=[SilentPlugin()])
    future = executor.submit(gate.wait)
    eventually(gate.reached)
    stopping = threading.Thread(
        target=executor._run.shutdown, kwargs={"wait": True, "cancel_futures": True, "kill": True}
    )
    stopping.start()
    stopping.join(20)
    stopped = not stopping.is_alive()
    gate.open()
    stopping.join(60)

    assert stopped
    assert isinstance(future.exception(timeout=60), TaskKilledError)
