"""Every way in which a task can fail on a cluster ends its future, within a bound, with an error of its own.

That nothing is left in the namespace is what the fixture ``kubernetes`` checks after each of them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from ascend import Secret, Volume
from ascend.errors import (
    ClusterUnreachableError,
    ContainerConfigError,
    ImagePullError,
    JobRefusedError,
    NamespaceNotFoundError,
    OutOfMemoryError,
    PermissionDeniedError,
    QuotaExceededError,
    TaskCrashedError,
    TaskLostError,
    TaskTimeoutError,
    UnschedulableError,
)
from tests.cluster.test_calls import by_value, double, sleep

SOON = 45.0
"""Seconds within which a failure ends its future here, where a pod takes a few seconds to start."""


@pytest.fixture
def ends(make_executor):
    """Return a function that has a call made and returns the exception of its future, which must come soon."""

    def ends(function, *arguments, then=None, bound=SOON, **settings):
        executor = make_executor(**settings)
        future = executor.submit(function, *arguments)
        if then is not None:
            end = time.monotonic() + SOON
            while not future.running():
                assert time.monotonic() < end, future.explain()
                time.sleep(0.05)
            then(future)
        return future.exception(timeout=bound)

    return ends


@by_value
def greedy():
    return len(bytearray(400 << 20))


@by_value
def crash():
    import ctypes

    ctypes.string_at(0)


@by_value
def kill_itself():
    import os
    import signal

    print("the last line")
    os.kill(os.getpid(), signal.SIGKILL)


@by_value
def leave(code):
    import os

    os._exit(code)


def test_out_of_memory(ends):
    exception = ends(greedy, memory="96Mi")
    assert type(exception) is OutOfMemoryError
    assert "memory='96Mi'" in str(exception)


def test_timeout(ends):
    exception = ends(sleep, 600, timeout=2)
    assert type(exception) is TaskTimeoutError
    assert "longer than 2 s" in str(exception)


def test_timeout_of_a_task_that_cannot_be_interrupted(ends):
    @by_value
    def stubborn():
        import ctypes

        # Holds the interpreter's lock, so that the runner cannot keep the timeout.
        ctypes.PyDLL(None).sleep(600)

    deadline = {"spec": {"template": {"spec": {"activeDeadlineSeconds": 3}}}}
    exception = ends(stubborn, timeout=1, retries=1, job_patch=deadline)
    assert type(exception) is TaskTimeoutError
    assert "stopped by the cluster" in str(exception)


@pytest.mark.parametrize(("crashes", "signal_name"), [(crash, "SIGSEGV"), (kill_itself, "SIGKILL")])
def test_a_signal(ends, crashes, signal_name):
    exception = ends(crashes)
    assert type(exception) is TaskCrashedError
    assert (exception.signal, exception.exit_code) == (signal_name, None)
    assert exception.last_lines


def test_an_exit(ends):
    exception = ends(leave, 3)
    assert type(exception) is TaskCrashedError
    assert (exception.signal, exception.exit_code) == (None, 3)


def test_retries_make_further_attempts_and_count_them(make_executor):
    executor = make_executor(retries=1)
    future = executor.submit(leave, 3)
    assert type(future.exception(timeout=90)) is TaskCrashedError
    assert future.attempts == 2


def test_an_image_that_is_not_there(ends, kubernetes):
    # Beside the image that is there, if one is named: from there the nodes can pull.
    registry, slash, _ = kubernetes.environ.get("ASCEND_BASE_IMAGE", "").rpartition("/")
    exception = ends(double, 1, base_image=f"{registry}{slash}not-there:1")
    assert type(exception) is ImagePullError
    assert "not-there" in str(exception)
    assert "base_image" in str(exception)


def test_an_image_without_a_valid_name(ends):
    assert type(ends(double, 1, base_image="registry.invalid/UPPER:1")) is ImagePullError


def test_an_image_that_may_not_be_pulled(ends, own_cluster):
    # Whatever stands before a registry answers so: here the bucket's server does.
    host = own_cluster.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    exception = ends(double, 1, base_image=f"{host}/private/python:1", queue_timeout=25)
    assert isinstance(exception, ImagePullError)


def test_an_image_without_python(ends, own_cluster):
    registry = own_cluster.environ["ASCEND_BASE_IMAGE"].partition("/")[0]
    exception = ends(double, 1, base_image=f"{registry}/pause:1")
    assert type(exception) is ContainerConfigError
    assert "python" in str(exception)


def test_a_deadline_of_the_whole_job(ends):
    exception = ends(sleep, 600, job_patch={"spec": {"activeDeadlineSeconds": 4}})
    assert type(exception) is TaskTimeoutError


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        ({"cpu": "64"}, "Insufficient cpu"),
        ({"gpus": 1}, "Insufficient nvidia.com/gpu"),
        ({"node_type": "x9"}, "affinity"),
    ],
)
def test_unschedulable_with_the_schedulers_words(ends, needs, words):
    exception = ends(double, 1, queue_timeout=4, **needs)
    assert type(exception) is UnschedulableError
    assert isinstance(exception, TimeoutError)
    assert words in str(exception)


def test_a_quota_that_the_task_alone_exceeds(ends, kubernetes):
    quota = {"metadata": {"name": "small"}, "spec": {"hard": {"requests.cpu": "2"}}}
    kubernetes.admin.create("resourcequotas", quota, kubernetes.name)
    exception = ends(double, 1, cpu="3")
    assert type(exception) is QuotaExceededError
    assert "limited: requests.cpu=2" in str(exception)


def test_a_quota_that_others_use_up_is_waited_for(make_executor, kubernetes, eventually):
    quota = {"metadata": {"name": "small"}, "spec": {"hard": {"requests.cpu": "150m"}}}
    kubernetes.admin.create("resourcequotas", quota, kubernetes.name)
    executor = make_executor(cpu="100m")
    first, second = executor.submit(sleep, 8), executor.submit(double, 4)
    eventually(lambda: "exceeded quota" in second.explain() or "exceeded quota" in first.explain(), "the quota's words")
    assert (first.result(timeout=60), second.result(timeout=120)) == (8, 8)


def test_a_quota_of_jobs(ends, kubernetes):
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"count/jobs.batch": "0"}}}
    kubernetes.admin.create("resourcequotas", quota, kubernetes.name)
    assert type(ends(double, 1)) is QuotaExceededError


def test_a_pod_that_the_namespace_forbids(ends):
    exception = ends(double, 1, job_patch={"spec": {"template": {"spec": {"hostNetwork": True}}}})
    assert type(exception) is JobRefusedError
    assert "violates PodSecurity" in str(exception)


def test_a_job_that_is_no_valid_one(ends):
    exception = ends(double, 1, job_patch={"spec": {"template": {"spec": {"noSuchField": 1}}}})
    assert type(exception) is JobRefusedError
    assert "noSuchField" in str(exception)


@pytest.mark.parametrize(
    "needs",
    [{"secrets": {"TOKEN": Secret("missing", "key")}}, {"volumes": {"/data": Volume(claim="missing")}}],
    ids=["secret", "claim"],
)
def test_something_that_the_pod_refers_to_is_missing(ends, needs):
    exception = ends(double, 1, **needs)
    assert type(exception) is ContainerConfigError
    assert '"missing" not found' in str(exception)


def test_a_missing_service_account(ends):
    exception = ends(double, 1, service_account="missing")
    assert type(exception) is JobRefusedError
    assert "missing" in str(exception)


def test_a_missing_permission_names_what_is_missing(ends, kubernetes):
    role = kubernetes.admin.get("roles", "ascend-user", kubernetes.name)
    rules = [rule for rule in role["rules"] if "jobs" not in rule["resources"]]
    kubernetes.admin.patch("roles", "ascend-user", {"rules": rules}, kubernetes.name)
    exception = ends(double, 1)
    assert type(exception) is PermissionDeniedError
    assert 'cannot create resource "jobs"' in str(exception)
    assert "ascend doctor" in str(exception)


def test_a_missing_namespace(ends, own_cluster, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(own_cluster.state.kubeconfig))
    exception = ends(double, 1, namespace="not-there")
    assert type(exception) is NamespaceNotFoundError
    assert "kubectl create namespace not-there" in str(exception)


def test_a_server_that_does_not_answer(ends, kubernetes, tmp_path, monkeypatch):
    path = tmp_path / "unreachable"
    config = json.loads(kubernetes.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    path.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    (tmp_path / "ascend.toml").write_text("[plugins.kubernetes]\nunreachable_timeout = 3\n")
    monkeypatch.chdir(tmp_path)
    exception = ends(double, 1)
    assert type(exception) is ClusterUnreachableError
    assert ":1 cannot be reached" in str(exception)


@pytest.mark.parametrize("force", [False, True], ids=["in-order", "by-force"])
def test_a_pod_that_somebody_deletes(ends, kubernetes, force):
    def delete(_future):
        (pod,) = kubernetes.admin.find("pods", kubernetes.name)
        options = {"gracePeriodSeconds": 0} if force else {}
        kubernetes.admin.request(
            "DELETE", f"api/v1/namespaces/{kubernetes.name}/pods/{pod['metadata']['name']}", options
        )

    exception = ends(sleep, 600, then=delete)
    assert type(exception) is TaskLostError
    assert "its pod was deleted by somebody" in str(exception)


def test_a_deleted_pod_is_replaced_where_retries_remain(make_executor, kubernetes, eventually, tmp_path):
    executor = make_executor(retries=1)
    future = executor.submit(sleep, 5)
    eventually(future.running, "the pod")
    (pod,) = kubernetes.admin.find("pods", kubernetes.name)
    kubernetes.admin.delete("pods", pod["metadata"]["name"], kubernetes.name)
    assert future.result(timeout=90) == 5
    assert future.attempts == 2


def test_a_job_that_somebody_deletes(ends, kubernetes):
    def delete(future):
        kubernetes.admin.delete("jobs", f"asc-{future.task_id}", kubernetes.name)

    exception = ends(sleep, 600, then=delete)
    assert type(exception) is TaskLostError
    assert "its Job was deleted by somebody" in str(exception)


def test_a_run_that_somebody_deletes(ends, kubernetes):
    def delete(future):
        kubernetes.admin.delete("leases", f"asc-{future.run_id}", kubernetes.name)

    assert type(ends(sleep, 600, then=delete)) is TaskLostError


def test_an_error_of_one_future_leaves_the_others_alone(make_executor):
    executor = make_executor()
    failing, fine = executor.submit(leave, 3), executor.submit(double, 3)
    assert type(failing.exception()) is TaskCrashedError
    assert fine.result() == 6
    assert executor.submit(double, 4).result() == 8


CLIENT = """
    import sys, time
    from ascend import AscendExecutor

    def sleep(seconds):
        import time
        time.sleep(seconds)

    with AscendExecutor(progress=False) as executor:
        futures = [executor.submit(sleep, 600) for _ in range(2)]
        while not futures[0].running():
            time.sleep(0.05)
        print("running", executor.run_id, flush=True)
        futures[0].result()
"""


@pytest.fixture
def client(kubernetes, tmp_path):
    """Return a client process with a running task, and the id of its run."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CLIENT)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    assert line.startswith("running"), process.communicate()
    yield process, line.split()[1]
    process.kill()
    process.communicate()


def test_ctrl_c_stops_the_remote_work(client):
    process, _ = client
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SOON)
    assert "KeyboardInterrupt" in err
    assert process.returncode in {130, -signal.SIGINT, 1}


def test_what_a_killed_client_left_goes_with_its_lease(client, kubernetes):
    process, run_id = client
    process.kill()
    process.wait()
    lease = kubernetes.admin.get("leases", f"asc-{run_id}", kubernetes.name)
    assert lease["spec"]["leaseDurationSeconds"] == 300
    assert len(kubernetes.admin.find("jobs", kubernetes.name)) == 2
    stale = {"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}}
    kubernetes.admin.patch("leases", f"asc-{run_id}", stale, kubernetes.name)
    gc = [sys.executable, "-m", "ascend", "runs", "gc", "--yes"]
    result = subprocess.run(gc, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert result.returncode == 0, result.stderr
    assert run_id in result.stdout
