"""Calls on a real cluster: what goes there, what comes back, and how it is asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from concurrent.futures import CancelledError, wait

import pytest

from ascend import AscendExecutor, Secret, Volume, as_completed
from ascend.errors import ConfigError, OutcomeLoadError, SerializationError, TaskKilledError

MEGABYTE = 1_000_000


def by_value(function):
    """Return *function* as a script's own one, which no pod can import."""
    function.__module__ = "__main__"
    return function


@by_value
def double(x):
    return 2 * x


@by_value
def noise(size):
    import random

    return random.Random(size).randbytes(size)


@by_value
def sleep(seconds):
    import time

    time.sleep(seconds)
    return seconds


def environment_of(*names):
    def read():
        import os

        return {name: os.environ.get(name) for name in names}

    return by_value(read)


def test_submit_and_map_answer_with_what_the_function_returned(executor):
    future = executor.submit(double, 21)
    assert future.result() == 42
    assert list(executor.map(double, range(5))) == [0, 2, 4, 6, 8]
    assert list(executor.map(double, range(7), chunksize=3)) == [0, 2, 4, 6, 8, 10, 12]
    assert {phase.name for phase in future.timeline.phases} == {"queue", "pack", "start", "load", "run", "return"}


def run_script(folder, script):
    """Run a program of the user's in *folder*; return what it printed, which must be all."""
    path = folder / "script.py"
    path.write_text(textwrap.dedent(script))
    result = subprocess.run([sys.executable, path], cwd=folder, capture_output=True, text=True, check=False)
    assert (result.stderr, result.returncode) == ("", 0)
    return result.stdout


def test_a_decorated_function_blocks_until_the_cluster_has_answered(kubernetes, tmp_path):
    script = """
        from ascend import ascend

        @ascend(memory="64Mi", timeout=60)
        def add(a, b=1):
            return a + b

        print(add(1, b=2), add.submit(1).result(), add.local(5), list(add.map([1, 2])))
    """
    assert run_script(tmp_path, script) == "3 2 6 [2, 3]\n"


def test_the_functions_own_exception_comes_with_its_remote_traceback(executor):
    @by_value
    def fail():
        try:
            {}["key"]
        except KeyError as error:
            raise ValueError("no such thing") from error

    exception = executor.submit(fail).exception()
    assert type(exception) is ValueError
    assert type(exception.__cause__) is KeyError
    assert "in fail" in str(exception.__cause__.__cause__)


def test_a_long_exception_comes_home_without_a_storage(executor):
    @by_value
    def fail():
        raise ValueError("x" * 100_000)

    assert executor.submit(fail).exception().args == ("x" * 100_000,)


@pytest.mark.parametrize("size", [0, 1000, 3000, 100_000, 4 * MEGABYTE])
def test_an_answer_of_any_size_up_to_some_megabytes_needs_no_storage(executor, size):
    assert executor.submit(noise, size).result() == noise(size)


@pytest.mark.parametrize("size", [5 * MEGABYTE, 200 * MEGABYTE])
def test_a_larger_answer_without_a_storage_is_an_error_that_names_the_setting(executor, size):
    with pytest.raises(SerializationError, match=rf"{size // MEGABYTE},\d.*set storage, as in ASCEND_STORAGE="):
        executor.submit(noise, size).result()


@pytest.mark.parametrize("size", [0, 1000, 3000, 40_000])
def test_a_small_argument_travels_inside_its_job(executor, size):
    assert executor.submit(len, os.urandom(size)).result() == size


@pytest.mark.parametrize("size", [100_000, 5 * MEGABYTE, 200 * MEGABYTE])
def test_a_larger_argument_without_a_storage_is_refused_before_anything_runs(executor, kubernetes, size):
    with pytest.raises(ConfigError, match=r"too large to travel inside its Job.*set storage, as in ASCEND_STORAGE="):
        executor.submit(len, os.urandom(size)).result()
    assert kubernetes.admin.find("jobs", kubernetes.name) == []


@pytest.mark.parametrize("size", [0, 1000, 3000, 100_000, 5 * MEGABYTE, 200 * MEGABYTE])
def test_with_a_bucket_arguments_and_answers_of_every_size_travel(make_executor, bucket, size):
    executor = make_executor(storage=bucket, memory="2Gi")
    data = noise(size)
    assert executor.submit(len, data).result() == size
    assert executor.submit(noise, size).result() == data


def test_pods_hold_no_credentials_of_the_bucket(make_executor, bucket, kubernetes):
    executor = make_executor(storage=bucket)
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "ASCEND_STORAGE")
    assert executor.submit(environment_of(*names)).result() == dict.fromkeys(names)
    jobs = str(kubernetes.admin.find("jobs", kubernetes.name))
    assert kubernetes.environ["AWS_SECRET_ACCESS_KEY"] not in jobs


def test_a_call_that_was_changed_in_the_bucket_is_refused_by_the_pod(make_executor, bucket, eventually, change_node):
    from ascend._core.plugins.asking import Plugins
    from ascend.errors import CallLoadError

    # Nothing starts there before the node type exists.
    executor = make_executor(storage=bucket, node_type="changed-later", queue_timeout=120)
    future = executor.submit(len, os.urandom(200_000))
    storage = Plugins.load(executor.profile).storage(bucket, executor.profile)
    (key,) = eventually(lambda: [each for each in storage.list("") if each.endswith("/call")], "the call in the bucket")
    content = storage.get(key)
    content[-1] ^= 1
    storage.put(key, [content])
    labels = {"node.kubernetes.io/instance-type": "changed-later"}
    with change_node(labels=labels), pytest.raises(CallLoadError, match="digest"):
        future.result()


def test_an_answer_that_was_changed_in_the_bucket_is_refused_here(make_executor, bucket, tmp_path):
    from ascend._core.plugins.asking import Plugins
    from ascend.hookspecs import hookimpl

    class Meddler:
        """A storage that somebody else can write to as well, as soon as an outcome lies there."""

        @hookimpl
        def ascend_storage(self, url, profile):
            if profile.name != "default":
                return None
            return Meddled(Plugins.load(profile).storage(url, profile))

    class Meddled:
        def __init__(self, storage):
            self._storage = storage
            self.url, self.put, self.list = storage.url, storage.put, storage.list
            self.delete, self.sign = storage.delete, storage.sign

        def get(self, key):
            content = self._storage.get(key)
            content[-1] ^= 1
            self._storage.put(key, [content])
            return self._storage.get(key)

    executor = make_executor(storage=bucket, plugins=[Meddler()])
    with pytest.raises(OutcomeLoadError, match="digest"):
        executor.submit(noise, 100_000).result()


def test_a_pending_call_is_cancelled_and_its_job_taken_away(make_executor, kubernetes, eventually):
    executor = make_executor(cpu="64")
    future = executor.submit(double, 1)
    eventually(lambda: kubernetes.admin.find("jobs", kubernetes.name), "the Job")
    eventually(lambda: "Insufficient cpu" in future.explain(), "the scheduler's words")
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result()
    eventually(lambda: not kubernetes.admin.find("jobs", kubernetes.name), "the end of the Job")


def test_a_running_call_is_killed_with_its_pod(executor, kubernetes, eventually):
    future = executor.submit(sleep, 600)
    eventually(future.running, "the pod")
    assert not future.cancel()
    assert future.kill()
    with pytest.raises(TaskKilledError):
        future.result()
    eventually(lambda: not kubernetes.admin.find("jobs", kubernetes.name), "the end of the Job")


def test_shutdown_with_cancel_futures_takes_pending_jobs_away_and_lets_running_ones_answer(
    make_executor, kubernetes, eventually
):
    executor = make_executor()
    running = executor.submit(sleep, 15)
    pending = executor.with_options(cpu="64").submit(double, 1)
    eventually(running.running, "the pod")
    eventually(lambda: "Insufficient cpu" in pending.explain(), "the scheduler's words")
    executor.shutdown(wait=False, cancel_futures=True)
    assert pending.cancelled()
    left = [f"asc-{running.task_id}"]
    eventually(
        lambda: [job["metadata"]["name"] for job in kubernetes.admin.find("jobs", kubernetes.name)] == left,
        "the end of the pending Job, and of no other",
    )
    assert running.result() == 15
    executor.shutdown()
    eventually(lambda: not kubernetes.left(), "the end of all that there was")


def test_what_a_task_needs_is_what_its_pod_has(make_executor, kubernetes):
    secret = {"metadata": {"name": "tokens"}, "stringData": {"token": "t0ken"}}
    kubernetes.admin.create("secrets", secret, kubernetes.name)
    kubernetes.admin.create("serviceaccounts", {"metadata": {"name": "runner"}}, kubernetes.name)
    executor = make_executor(
        cpu="100m",
        memory="96Mi",
        env={"GREETING": "grüß $(HOME)"},
        secrets={"TOKEN": Secret("tokens", "token")},
        volumes={"/dev/shm": Volume(memory="16Mi")},
        service_account="runner",
        labels={"team": "crystals"},
        queue="team-queue",
        job_patch={"spec": {"template": {"spec": {"hostAliases": [{"ip": "10.1.2.3", "hostnames": ["elsewhere"]}]}}}},
    )

    @by_value
    def look():
        import os
        import pathlib
        import socket

        shm = os.statvfs("/dev/shm")
        return {
            "uid": os.getuid(),
            "env": os.environ["GREETING"],
            "token": os.environ["TOKEN"],
            "shm": shm.f_blocks * shm.f_frsize,
            "alias": socket.gethostbyname("elsewhere"),
            "account": pathlib.Path("/var/run/secrets/kubernetes.io").exists(),
            "threads": os.environ["OMP_NUM_THREADS"],
            "home": os.access(os.environ["HOME"], os.W_OK),
        }

    assert executor.submit(look).result() == {
        "uid": 10001,
        "env": "grüß $(HOME)",
        "token": "t0ken",
        "shm": 16 << 20,
        "alias": "10.1.2.3",
        "account": False,
        "threads": "1",
        "home": True,
    }
    (job,) = kubernetes.admin.find("jobs", kubernetes.name)
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-queue"
    pod = job["spec"]["template"]
    assert pod["metadata"]["labels"]["team"] == "crystals"
    assert pod["spec"]["serviceAccountName"] == "runner"
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "100m", "memory": "96Mi"}


def test_a_gpu_of_a_tainted_node_is_had_where_it_is(make_executor, change_node, eventually):
    executor = make_executor(gpus=1, node_type="gpu-node", queue_timeout=120)
    future = executor.submit(double, 1)
    eventually(lambda: "node" in future.explain() and "didn't match" in future.explain(), "the scheduler's words")
    taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    labels = {"node.kubernetes.io/instance-type": "gpu-node"}
    with change_node(labels=labels, taints=[taint], gpus=1):
        assert future.result() == 2


def test_a_module_tree_of_the_users_is_imported_in_the_pod(kubernetes, tmp_path):
    project = tmp_path / "elsewhere"
    (project / "package" / "inner").mkdir(parents=True)
    (project / "package" / "__init__.py").write_text("from package.base import BASE\n")
    (project / "package" / "base.py").write_text("BASE = 40\n")
    (project / "package" / "inner" / "__init__.py").write_text("")
    (project / "package" / "inner" / "work.py").write_text(
        "from ..base import BASE\nfrom package import helper\n\ndef work(x):\n    return helper.add(BASE, x)\n"
    )
    (project / "package" / "helper.py").write_text("def add(a, b):\n    return a + b\n")
    script = """
        from ascend import AscendExecutor
        from package.inner.work import work

        OFFSET = 1

        def local(x):
            return work(x) + OFFSET

        with AscendExecutor(progress=False) as executor:
            print(executor.submit(work, 2).result(), executor.submit(local, 2).result())
    """
    assert run_script(project, script) == "42 43\n"


def test_a_session_like_that_of_a_notebook_calls_what_it_has_just_defined(kubernetes, tmp_path):
    cells = """
        from ascend import AscendExecutor
        executor = AscendExecutor(progress=False)
        class Point:
            def __init__(self, x):
                self.x = x

        def shift(point, by=1):
            return Point(point.x + by)

        print(executor.submit(shift, Point(1)).result().x)
        def shift(point):
            return Point(point.x * 10)

        print(executor.submit(shift, Point(4)).result().x)
        executor.shutdown()
    """
    result = subprocess.run(
        [sys.executable, "-i", "-q"],
        input=textwrap.dedent(cells),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.split() == ["2", "40"], result.stderr


def test_many_futures_end_as_they_come(executor):
    futures = {executor.submit(sleep, seconds): seconds for seconds in (3, 0)}
    assert [futures[future] for future in as_completed(futures)] == [0, 3]


def test_requirements_are_looked_for_in_a_prebuilt_image(make_executor):
    from ascend.errors import EnvironmentBuildError

    executor = make_executor(requirements=["pip"], image_builder="prebuilt")
    assert executor.submit(double, 1).result() == 2
    with pytest.raises(EnvironmentBuildError, match=r"not-there-at-all is not installed in its image; choose"):
        executor.with_options(requirements=["not-there-at-all>=1"]).submit(double, 1).result()


def test_an_executor_reaches_its_cluster_by_context_and_namespace(kubernetes, tmp_path, monkeypatch):
    content = json.loads(kubernetes.kubeconfig.read_text())
    content["contexts"] += [
        {"name": "chosen", "context": {**content["contexts"][0]["context"], "namespace": "nowhere"}}
    ]
    content["current-context"] = ""
    path = tmp_path / "other-kubeconfig"
    path.write_text(json.dumps(content))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'missing'}{os.pathsep}{path}")
    with AscendExecutor(context="chosen", namespace=kubernetes.name, progress=False) as executor:
        assert executor.submit(double, 2).result() == 4
    with pytest.raises(ConfigError, match=r"no context 'chosn': there are"):
        AscendExecutor(context="chosn", progress=False).submit(double, 2).result()


def test_a_run_of_many_calls_leaves_no_thread_behind_while_it_goes_on(executor):
    import threading

    list(executor.map(double, range(10)))
    before = threading.active_count()
    futures = [executor.submit(double, n) for n in range(10)]
    wait(futures)
    time.sleep(1)
    assert threading.active_count() <= before + 10
