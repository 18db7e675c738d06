"""The cluster `local`: what a node would do with a Job, done by processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from threading import Condition, Thread

import pytest

from ascend._builtin.local import LocalCluster
from ascend._builtin.local_process import bytes_of, follow, start
from ascend.errors import ClusterError
from ascend.model import JobOutput, JobStatus, Secret, Volume
from ascend.testing import sample_job, sample_task

posix_only = pytest.mark.skipif(os.name != "posix", reason="signals and process groups of POSIX")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="memory is looked at in /proc")

PATIENCE = 60
FOR_EVER = "import threading; print('begun', flush=True); threading.Event().wait()"


class Watched:
    """A local cluster, open, with all events of its Jobs so far."""

    def __init__(self):
        self.cluster = LocalCluster()
        self.cluster.open("testrun")
        self.runner = self.cluster.place("runner.zip", b"archive")
        self._events = []
        self._changed = Condition()
        self._thread = Thread(target=self._watch)
        self._thread.start()

    @property
    def folder(self):
        return Path(self.runner.path).parents[2]

    def create(self, name, code="pass", *, change=lambda manifest: None, **needs):
        manifest = sample_job(sample_task(name, **needs), code=code, runner=self.runner)
        change(manifest)
        self.cluster.create_job(manifest)

    def events(self, name):
        with self._changed:
            return [event for event in self._events if event.job_name == name]

    def lines(self, name):
        return [line for event in self.events(name) if isinstance(event, JobOutput) for line in event.lines]

    def statuses(self, name):
        return [event for event in self.events(name) if isinstance(event, JobStatus)]

    def wait(self, condition):
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), self._events
        return condition()

    def final(self, name):
        return self.wait(lambda: [each for each in self.statuses(name) if each.final and each.phase != "running"])[0]

    def end(self):
        self.cluster.close()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def _watch(self):
        for event in self.cluster.watch():
            with self._changed:
                self._events.append(event)
                self._changed.notify_all()


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


@pytest.fixture
def local():
    watched = Watched()
    yield watched
    watched.end()


def reads_to_the_end(path):
    """Wait until nobody holds the other end of a named pipe open."""
    with path.open("rb") as pipe:
        return pipe.read()


# Quantities.


@pytest.mark.parametrize(
    ("quantity", "size"),
    [
        ("0", 0),
        ("1024", 1024),
        ("1Ki", 1024),
        ("1.5Gi", 3 * 2**29),
        ("4Gi", 2**32),
        ("2Ti", 2**41),
        ("1Pi", 2**50),
        ("1Ei", 2**60),
        ("1k", 1000),
        ("128M", 128_000_000),
        ("1G", 10**9),
        ("1T", 10**12),
        ("1P", 10**15),
        ("1E", 10**18),
        ("1500m", 1),
        ("1e3", 1000),
        ("12E2", 1200),
    ],
)
def test_a_quantity_of_memory_in_bytes(quantity, size):
    assert bytes_of(quantity) == size


# Limits.


@linux_only
def test_a_process_over_its_memory_is_killed_and_that_is_told(local):
    code = "filled = bytearray(b'x') * (300 << 20); import threading; threading.Event().wait()"
    local.create("greedy", code, memory="100Mi")
    status = local.final("greedy")
    assert (status.phase, status.reason, status.signal) == ("failed", "OOMKilled", "SIGKILL")


@linux_only
def test_the_memory_of_its_children_counts(local):
    child = "filled = bytearray(b'x') * (300 << 20); import threading; threading.Event().wait()"
    local.create("parent", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])", memory="100Mi")
    assert local.final("parent").reason == "OOMKilled"


def test_within_its_memory_a_process_lives(local):
    local.create("modest", "bytearray(b'x') * (1 << 20)", memory="1Gi")
    assert local.final("modest").phase == "succeeded"


@posix_only
def test_a_process_past_its_deadline_is_killed_and_that_is_told(tmp_path):
    process = start([sys.executable, "-c", FOR_EVER], tmp_path, dict(os.environ))
    lines = []
    end = follow(process, lines.extend, deadline=0.5, memory=None)
    assert (end.reason, end.signal, end.exit_code) == ("DeadlineExceeded", "SIGKILL", None)


def test_the_deadline_comes_after_the_runners_own_timeout(local):
    def soon(manifest):
        # The cluster adds what it grants the runner to write its receipt.
        (timeout,) = (
            each
            for each in manifest["spec"]["template"]["spec"]["containers"][0]["env"]
            if each["name"] == "ASCEND_TASK_TIMEOUT"
        )
        timeout["value"] = "-9.5"

    local.create("stuck", FOR_EVER, timeout=1.0, change=soon)
    assert local.final("stuck").reason == "DeadlineExceeded"


# Attempts.


def test_backoff_limit_and_exit_codes_decide_about_another_attempt(local):
    local.create("again", "raise SystemExit(3)", retries=2)
    local.create("final", "raise SystemExit(64)", retries=2)
    assert (local.final("again").attempt, local.final("again").exit_code) == (3, 3)
    assert (local.final("final").attempt, local.final("final").exit_code) == (1, 64)
    phases = [(each.phase, each.attempt, each.final) for each in local.statuses("again")]
    # A running attempt is never the last word.
    assert [phase for phase in phases if phase[0] == "failed"] == [
        ("failed", 1, False),
        ("failed", 2, False),
        ("failed", 3, True),
    ]


@posix_only
def test_a_process_that_a_signal_ends_gets_another_attempt(local):
    local.create("killed", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", retries=1)
    status = local.final("killed")
    assert (status.attempt, status.signal, status.exit_code) == (2, "SIGSEGV", None)


def test_each_attempt_has_an_empty_folder_and_no_receipt_of_the_last(local):
    code = (
        "import os, sys\n"
        "folder, receipt = os.environ['TMPDIR'], os.environ['ASCEND_RECEIPT']\n"
        "print(os.listdir(), os.listdir(folder), os.path.exists(receipt), flush=True)\n"
        "open('left', 'w'); open(folder + '/left', 'w'); open(receipt, 'w')\n"
        "sys.exit(3)"
    )
    local.create("tidy", code, retries=1)
    local.final("tidy")
    assert local.lines("tidy") == ["[] [] False"] * 2


def test_nothing_of_an_attempt_is_left_in_the_folder_of_the_run(local):
    local.create("tidy")
    local.final("tidy")
    assert list((local.folder / "jobs").iterdir()) == []


# The surroundings of a process.


def test_a_task_stands_in_a_folder_of_its_own(local, temporary):
    local.create("where", "import os, tempfile; print(os.getcwd()); print(tempfile.gettempdir())")
    local.final("where")
    assert all(Path(line).is_relative_to(temporary.resolve()) for line in local.lines("where"))


def test_variables_of_the_client_are_there_but_for_ours(local, monkeypatch):
    monkeypatch.setenv("MY_OWN", "here")
    monkeypatch.setenv("ASCEND_NAMESPACE", "of the client")
    code = "import os; print(os.environ['MY_OWN'], os.environ.get('ASCEND_NAMESPACE'), os.environ['ADDED'])"
    local.create("env", code, env={"ADDED": "yes"})
    local.final("env")
    assert local.lines("env") == ["here None yes"]


def test_a_variable_with_dollar_signs_arrives_as_it_was_written(local):
    value = "a$b $(HOME) $$(HOME) $$$"
    local.create("dollars", "import os; print(os.environ['PRICE'])", env={"PRICE": value})
    local.final("dollars")
    assert local.lines("dollars") == [value]


def test_secrets_are_refused_and_the_message_says_what_to_do(local):
    with pytest.raises(ClusterError, match=r"TOKEN is a Secret of Kubernetes.*use env instead"):
        local.create("secretive", secrets={"TOKEN": Secret("tokens", "key")})


@pytest.mark.parametrize("volume", [Volume(claim="datasets"), Volume(memory="1Gi")])
def test_volumes_are_refused_and_the_message_says_what_to_do(local, volume):
    with pytest.raises(ClusterError, match=r"/data is a volume of Kubernetes.*use a folder of this machine"):
        local.create("mounting", volumes={"/data": volume})
    local.create("next")
    assert local.final("next").phase == "succeeded"


def test_what_only_kubernetes_understands_of_a_job_changes_nothing(local):
    local.create("plain", service_account="trainer", priority="low", labels={"team": "a"}, queue="team-a")
    assert local.final("plain").phase == "succeeded"


def test_what_cannot_be_started_is_refused(local):
    def other(manifest):
        manifest["spec"]["template"]["spec"]["containers"][0]["image"] = "env:/no/such/python"

    with pytest.raises(ClusterError, match=r"Job impossible cannot be started here.*/no/such/python"):
        local.create("impossible", change=other)
    local.create("next")
    assert local.final("next").phase == "succeeded"


def test_a_job_of_that_name_may_be_created_again(local):
    for count in (1, 2):
        local.create("twice")
        local.wait(lambda count=count: sum(each.phase == "succeeded" for each in local.statuses("twice")) == count)


# Output.


def test_a_line_without_an_end_that_never_ends_is_cut(local):
    local.create("endless", "print('x' * 3_000_000, end='')")
    local.final("endless")
    assert sum(map(len, local.lines("endless"))) == 3_000_000
    assert max(map(len, local.lines("endless"))) < 1_500_000


def test_bytes_that_are_no_text_do_not_stop_the_output(local):
    local.create("binary", "import os; os.write(1, b'\\xff\\xfe\\n'); print('after')")
    local.final("binary")
    assert local.lines("binary") == ["\ufffd\ufffd", "after"]


@posix_only
def test_a_process_that_holds_the_output_open_does_not_hold_up_the_end(local):
    code = "import subprocess; print(subprocess.Popen(['sleep', '1000'], start_new_session=True).pid)"
    local.create("holder", code)
    assert local.final("holder").phase == "succeeded"
    os.kill(int(local.lines("holder")[0]), signal.SIGKILL)


# Ends.


@posix_only
@pytest.mark.parametrize("end", ["returns", "is deleted", "closes"])
def test_a_process_takes_all_that_it_started_with_it(local, tmp_path, end):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code = f"""
import subprocess, sys, threading
with open({str(pipe)!r}, "wb") as pipe:
    subprocess.Popen(["sleep", "1000"], stdout=pipe)
print("begun", flush=True)
{"sys.exit()" if end == "returns" else "threading.Event().wait()"}
"""
    local.create("parent", code)
    reader = Thread(target=reads_to_the_end, args=[pipe])
    reader.start()
    local.wait(lambda: local.lines("parent"))
    if end == "is deleted":
        local.cluster.delete_job("parent")
    elif end == "closes":
        local.cluster.close()
    reader.join(PATIENCE)
    assert not reader.is_alive()


def test_a_job_may_be_deleted_as_soon_as_it_was_created(local):
    for number in range(5):
        local.create(f"brief-{number}", FOR_EVER)
        local.cluster.delete_job(f"brief-{number}")
    for number in range(5):
        assert (local.final(f"brief-{number}").phase, local.final(f"brief-{number}").reason) == ("failed", "Deleted")


def test_a_deleted_job_gets_no_other_attempt(local):
    local.create("stubborn", FOR_EVER, retries=5)
    local.cluster.delete_job("stubborn")
    assert local.final("stubborn").attempt == 1


def test_close_stops_everything_and_removes_the_folder(local):
    for number in range(3):
        local.create(f"job-{number}", FOR_EVER)
    folder = local.folder
    local.end()
    assert not folder.exists()
    assert [local.final(f"job-{number}").reason for number in range(3)] == ["Deleted"] * 3


def test_a_closed_cluster_takes_no_job():
    watched = Watched()
    watched.end()
    with pytest.raises(ClusterError, match="closed"):
        watched.create("late")


def test_a_cluster_that_was_never_opened_takes_no_job():
    cluster = LocalCluster()
    with pytest.raises(ClusterError, match="closed"):
        cluster.create_job(sample_job(sample_task()))
    cluster.close()


# Folders of runs.


CLIENT = """
import threading
from ascend._builtin.local import LocalCluster
cluster = LocalCluster()
cluster.open("other")
print(cluster.place("runner.zip", b"archive").path, flush=True)
threading.Event().wait()
"""


@pytest.fixture
def client():
    """Return the process of another client, and the folder of its run."""
    process = subprocess.Popen([sys.executable, "-c", CLIENT], stdout=subprocess.PIPE, text=True)
    folder = Path(process.stdout.readline().strip()).parents[2]
    yield process, folder
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_folder_of_a_killed_client_is_removed_by_the_next(client, temporary):
    process, folder = client
    assert folder.is_relative_to(temporary.resolve())
    process.kill()
    process.wait()
    assert folder.exists()
    Watched().end()
    assert not folder.exists()


def test_the_folder_of_a_living_client_stays(client):
    _, folder = client
    Watched().end()
    assert list(folder.glob("placed/*/runner.zip"))


def test_the_folder_of_another_run_of_this_process_stays(local):
    Watched().end()
    assert Path(local.runner.path).exists()


class SmallCluster(LocalCluster):
    """The local cluster, which takes files of ten bytes at most."""

    @property
    def traits(self):
        return replace(super().traits, placed_file=10)


def test_a_file_that_is_too_large_is_refused():
    cluster = SmallCluster()
    cluster.open("small")
    with pytest.raises(ClusterError, match="has 11 bytes"):
        cluster.place("large.zip", bytes(11))
    cluster.close()


def test_a_file_is_placed_in_the_folder_of_an_open_cluster_only():
    with pytest.raises(ClusterError, match="not open"):
        LocalCluster().place("file", b"")


def test_folders_that_are_not_ours_stay(temporary):
    for name in ("ascend-notes", "ascend-0-looks-alike"):
        (temporary / name).mkdir()
    Watched().end()
    assert sorted(path.name for path in temporary.glob("ascend-*")) == ["ascend-0-looks-alike", "ascend-notes"]


@posix_only
def test_others_on_this_machine_cannot_look_into_the_folder_of_a_run(local):
    assert local.folder.stat().st_mode & 0o077 == 0


def test_it_runs_as_many_tasks_as_there_are_cores_and_has_a_storage(local):
    traits = local.cluster.traits
    assert traits.parallel >= 1
    assert traits.storage_url.startswith("file:///")
    assert not traits.queues
