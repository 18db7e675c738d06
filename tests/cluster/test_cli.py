"""The commands for Kubernetes, as processes that know nothing of the client but what is in the cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml  # type: ignore[import-untyped] # publishes none; the official client brings it

from tests.testcluster.namespaces import USER

PATIENCE = 90.0

PROGRAM = """
import os, sys, time
from concurrent.futures import wait
from ascend import AscendExecutor

def talk(seconds):
    for number in range(seconds * 5):
        print("line", number, flush=True)
        time.sleep(0.2)

def fail():
    raise ValueError("no")

def die():
    os._exit(3)

with AscendExecutor(progress=False, stream_logs=False, cpu="50m", memory="64Mi") as executor:
    futures = [{calls}]
    print(futures[0].task_id, flush=True)
    wait(futures)
    for future in futures:
        print(type(future.exception()).__name__, future.exception(), flush=True)
"""

LONG = "executor.submit(talk, 600)"


@pytest.fixture
def start(namespace, tmp_path, eventually):
    """Return what starts a client, waits for the Jobs of its calls, and gives its process and the id of its run."""
    started = []

    def begin(*calls):
        path = tmp_path / f"client{len(started)}.py"
        path.write_text(PROGRAM.format(calls=", ".join(calls)))
        client = subprocess.Popen(
            [sys.executable, str(path)],
            env={**os.environ, **namespace.environ},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(client)
        run = client.stdout.readline().strip().rpartition("-")[0]
        eventually(lambda: len(namespace.admin.find("jobs", namespace.name, f"ascend.dev/run={run}")) == len(calls))
        return client, run

    yield begin
    for client in started:
        client.kill()
        client.communicate()


@pytest.fixture
def begin(namespace):
    """Return what starts an ``ascend`` command."""

    def run(*arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "ascend", *arguments],
            env={**os.environ, **namespace.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


@pytest.fixture
def ascend(begin):
    """Return what runs an ``ascend`` command to its end: status, standard output, standard error."""

    def run(*arguments, stdin=""):
        process = begin(*arguments)
        out, err = process.communicate(stdin, timeout=PATIENCE)
        return process.returncode, out, err

    return run


@pytest.fixture
def jobs(ascend):
    """Return what lists the Jobs, by the number of their task."""

    def find(*arguments):
        _, out, err = ascend("jobs", "list", "--json", *arguments)
        assert err == ""
        return {each["task"].rpartition("-")[2]: each for each in json.loads(out)}

    return find


def states(jobs):
    return {number: (job["state"], job["reason"]) for number, job in jobs.items()}


def test_jobs_and_runs_are_seen_from_elsewhere(start, ascend, jobs, eventually):
    big = 'executor.with_options(memory="4000Gi").submit(talk, 1)'
    _, run = start(LONG, "executor.submit(fail)", "executor.submit(die)", big)
    wanted = {
        "1": ("running", ""),
        "2": ("failed", "Raised"),
        "3": ("failed", "exit-3"),
        "4": ("pending", "Unschedulable"),
    }
    eventually(lambda: states(jobs()) == wanted)
    assert set(jobs("--state", "failed", "--run", run)) == {"2", "3"}
    assert jobs("--user", "nobody") == {}
    assert "talk" in ascend("jobs", "list")[1]

    assert "Insufficient memory" in ascend("jobs", "why", f"asc-{run}-4")[1]
    assert "exited with 3" in ascend("jobs", "why", f"asc-{run}-3")[1]
    status = json.loads(ascend("jobs", "status", f"asc-{run}-1", "--json")[1])
    assert (status["state"], status["client_alive"], status["run"]) == ("running", True, run)
    assert status["resources"] == {"cpu": "50m", "memory": "64Mi"}
    assert "no longer" not in ascend("jobs", "status", f"asc-{run}-1")[1]

    [listed] = json.loads(ascend("runs", "list", "--json")[1])
    assert (listed["id"], listed["alive"]) == (run, True)
    assert listed["jobs"] == {"pending": 1, "running": 1, "failed": 2}


def test_a_log_is_followed_to_the_end_of_its_container_each_line_once(start, ascend, jobs):
    _, run = start("executor.submit(talk, 3)", LONG)
    lines = "".join(f"line {number}\n" for number in range(15))
    assert ascend("jobs", "logs", "-f", f"asc-{run}-1") == (0, lines, "")
    assert ascend("jobs", "logs", f"asc-{run}-1") == (0, lines, "")
    assert jobs()["1"]["state"] == "succeeded"
    status, _, err = ascend("jobs", "logs", f"asc-{run}-1", "--attempt", "2")
    assert status == 1
    assert "has no attempt 2" in err


def test_ctrl_c_ends_following(start, begin):
    _, run = start(LONG)
    follower = begin("jobs", "logs", "-f", f"asc-{run}-1")
    assert follower.stdout.readline() == "line 0\n"
    follower.send_signal(signal.SIGINT)
    _, err = follower.communicate(timeout=PATIENCE)
    assert (follower.returncode, err.strip()) == (130, "Interrupted")


def test_following_ends_when_nobody_reads(start, begin):
    _, run = start(LONG)
    with begin("jobs", "logs", "-f", f"asc-{run}-1") as follower:
        assert follower.stdout.readline() == "line 0\n"
        follower.stdout.close()
        assert follower.wait(PATIENCE) == 0
        assert follower.stderr.read() == ""


def test_a_job_that_waits_has_no_log_yet(start, ascend, jobs, eventually):
    _, run = start('executor.with_options(memory="4000Gi").submit(talk, 1)')
    eventually(lambda: states(jobs()) == {"1": ("pending", "Unschedulable")})
    status, _, err = ascend("jobs", "logs", f"asc-{run}-1")
    assert status == 1
    assert f"`ascend jobs why asc-{run}-1` says why" in err


def test_a_cancelled_job_is_lost_for_its_client(start, ascend, jobs, eventually):
    client, run = start(LONG)
    eventually(lambda: states(jobs()) == {"1": ("running", "")})
    status, out, err = ascend("jobs", "cancel", f"asc-{run}-1", "asc-none-1")
    assert status == 1
    assert out == f"Cancelled asc-{run}-1 (talk), which was running\n"
    assert "there is no Job asc-none-1" in err
    assert client.communicate(timeout=PATIENCE)[0].startswith("TaskLostError")


def test_only_jobs_that_have_ended_are_deleted(start, ascend, jobs, eventually):
    _, run = start(LONG, "executor.submit(fail)")
    eventually(lambda: states(jobs()) == {"1": ("running", ""), "2": ("failed", "Raised")})
    status, out, err = ascend("jobs", "delete", f"asc-{run}-1", f"asc-{run}-2")
    assert status == 1
    assert out == f"Deleted asc-{run}-2 (fail), which failed\n"
    assert f"asc-{run}-1 is running" in err
    assert set(jobs()) == {"1"}
    assert ascend("jobs", "delete", "--force", f"asc-{run}-1")[0] == 0
    eventually(lambda: jobs() == {})


def test_a_run_is_followed_to_its_end(start, begin):
    client, run = start("executor.submit(talk, 2)", "executor.submit(fail)", "executor.submit(talk, 3)")
    out, err = begin("runs", "attach", run).communicate(timeout=PATIENCE)
    lines = out.splitlines()
    assert [line for line in lines if line.startswith("talk#1: ")] == [f"talk#1: line {n}" for n in range(10)]
    assert [line for line in lines if line.startswith("talk#3: ")] == [f"talk#3: line {n}" for n in range(15)]
    assert "talk#1 succeeded\n" in err
    assert "fail#2 failed: the function raised an exception\n" in err
    assert "3 Jobs have ended: 1 failed, 2 succeeded.\n" in err
    assert client.wait(PATIENCE) == 0


def test_leaving_a_run_changes_nothing_there(start, begin, jobs):
    _, run = start(LONG)
    follower = begin("runs", "attach", run)
    assert follower.stdout.readline() == "talk#1: line 0\n"
    follower.send_signal(signal.SIGINT)
    follower.communicate(timeout=PATIENCE)
    assert follower.returncode == 130
    assert states(jobs()) == {"1": ("running", "")}


def test_only_abandoned_runs_are_collected(start, ascend, namespace, eventually):
    dead, gone = start(LONG)
    _, living = start(LONG)
    dead.kill()
    dead.wait()
    assert "is abandoned" in ascend("runs", "gc", "--yes")[1]
    namespace.admin.patch(
        "leases", f"asc-{gone}", {"spec": {"renewTime": "2020-01-01T00:00:00.000000Z"}}, namespace.name
    )
    assert "Would delete 1 of 2 runs" in ascend("runs", "gc", "--dry-run")[1]
    assert ascend("runs", "gc", stdin="n\n")[0] == 1
    status, out, _ = ascend("runs", "gc", "--yes")
    assert status == 0
    assert f"Deleted {gone}" in out
    eventually(lambda: not [each for each in namespace.left() if gone in each])
    assert f"leases/asc-{living}" in namespace.left()


def test_a_run_whose_client_lives_is_deleted_only_when_told(start, ascend, namespace, eventually):
    client, run = start(LONG)
    status, out, err = ascend("runs", "delete", run, stdin="n\n")
    assert (status, out) == (1, f"Kept {run}\n")
    assert "lives: its heartbeat is" in err
    assert ascend("runs", "delete", "--yes", run)[0] == 0
    assert client.communicate(timeout=PATIENCE)[0].startswith("TaskLostError")
    eventually(lambda: namespace.left() == [])
    status, _, err = ascend("runs", "delete", run)
    assert status == 1
    assert f"there is no run {run}" in err


def findings(ascend, *arguments):
    status, out, _ = ascend("doctor", "--json", *arguments)
    return status, {each["check"]: each for each in json.loads(out)}


def test_the_doctor_finds_nothing_wrong_and_leaves_nothing(ascend, namespace):
    status, found = findings(ascend)
    assert status == 0, found
    assert {each["state"] for each in found.values()} <= {"ok", "unknown"}
    assert namespace.left() == []


def test_the_doctor_names_rights_that_are_missing_and_its_role_grants_them(ascend, namespace):
    for kind in ("rolebindings", "roles"):
        namespace.admin.delete(kind, USER, namespace.name)
    status, found = findings(ascend)
    assert (status, found["permissions"]["state"], found["quota"]["state"]) == (1, "failed", "skipped")
    assert "leases: create, get, list, patch, delete" in found["permissions"]["text"]
    assert ascend("jobs", "list")[0] == 1

    role, binding = yaml.safe_load_all(ascend("doctor", "--role", "--to", f"serviceaccount:{USER}")[1])
    namespace.admin.create("roles", role, namespace.name)
    namespace.admin.create("rolebindings", binding, namespace.name)
    assert findings(ascend)[0] == 0


def test_the_doctor_compares_a_task_with_the_quota(ascend, namespace):
    body = {"metadata": {"name": "small"}, "spec": {"hard": {"requests.memory": "1Gi"}}}
    path = f"api/v1/namespaces/{namespace.name}/resourcequotas"
    namespace.admin.request("POST", path, body)
    status, found = findings(ascend)
    assert (status, found["quota"]["state"]) == (1, "failed")
    assert "small wants requests.memory of every pod" in found["quota"]["text"]


def test_the_doctor_stops_at_a_namespace_that_it_may_not_use(ascend):
    status, found = findings(ascend, "-n", "default")
    assert status == 1
    assert found["permissions"]["state"] == "failed"
    assert found["features"]["state"] == "skipped"


@pytest.mark.timeout(420, func_only=True)
def test_completion_knows_jobs_and_runs(start, namespace):
    _, run = start(LONG)

    def complete(words):
        environ = {"_ASCEND_COMPLETE": "bash_complete", "COMP_WORDS": f"ascend {words}", "COMP_CWORD": "3"}
        command = [sys.executable, "-m", "ascend"]
        env = {**os.environ, **namespace.environ, **environ}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    # A busy machine may be too slow for who waits at a prompt, and for longer than any other condition takes here.
    for words, found in (("jobs logs asc-", f"asc-{run}-1"), ("runs attach ", run)):
        end = time.monotonic() + 180
        while complete(words) != f"plain,{found}\n":
            assert time.monotonic() < end, words
