"""The way back, with a cluster that does what a test says: queues, breaks, deletes, and storage that changes things."""

import hashlib
import importlib
import marshal
import os
import queue
import random
import sys
import threading
import zlib
from concurrent.futures import wait
from pathlib import PurePosixPath

import pytest

from ascend import hookimpl
from ascend._builtin.cloudpickle import CloudpickleSerializer
from ascend._builtin.directory import DirectoryStorage
from ascend._core import wire
from ascend.errors import (
    AscendError,
    CallLoadError,
    ClusterError,
    ConfigError,
    OutcomeLoadError,
    StorageError,
    TaskCrashedError,
    TaskKilledError,
    TaskLostError,
    UnschedulableError,
)
from ascend.model import ClusterTraits, JobOutput, JobStatus, PlacedFile

VERSIONS = {"serializer": "cloudpickle", "python": wire.python_minor(), "cloudpickle": "3", "ascend": "0"}


class Scripted:
    """A cluster whose Jobs do what the test says, and its plugin."""

    name = "scripted"

    def __init__(self, storage_url, *, queues=True, refuses="", placed_file=1 << 20, output_outcome=0):
        self.traits = ClusterTraits(None, queues, 64 * 1024, storage_url, "prebuilt", placed_file, output_outcome)
        self.refuses = refuses
        self.opened = []
        self.placed = {}
        self.manifests = {}
        self.deleted = []
        self.closed = 0
        self._events = queue.Queue()

    @hookimpl
    def ascend_cluster(self, name):
        return self if name == self.name else None

    def open(self, run_id):
        if self.refuses == "open":
            raise ClusterError("the cluster cannot be reached")
        self.opened.append(run_id)

    def place(self, name, content):
        if self.refuses == "place":
            raise ClusterError("the cluster takes no file")
        path = f"/placed/{len(self.placed)} of the run/{name}"
        self.placed[path] = content
        return PlacedFile(path, {"secret": {"secretName": f"placed-{len(self.placed)}"}})

    def create_job(self, manifest):
        if self.refuses == "create":
            raise ClusterError("the cluster refuses the Job")
        self.manifests[manifest["metadata"]["name"]] = manifest

    def watch(self):
        while (event := self._events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            yield event

    def delete_job(self, job_name):
        self.deleted.append(job_name)
        if job_name in self.manifests:
            self.ends(job_name, exit_code=None, signal="SIGKILL", reason="Deleted")

    def close(self):
        self.closed += 1
        self._events.put(None)

    # What the test says.

    def runs(self, job_name, attempt=1):
        self._events.put(JobStatus(job_name, "running", attempt))

    def waits(self, job_name, message):
        self._events.put(JobStatus(job_name, "pending", message=message))

    def writes(self, job_name, *lines):
        self._events.put(JobOutput(job_name, lines))

    def answers(self, job_name, value, where="inline"):
        parts = wire.frame(CloudpickleSerializer().dumps(value, None), [], VERSIONS)
        packed = wire.pack_inline(parts)
        fields = {"status": "value", "digest": wire.digest_of(parts[0]), "size": "1", "times": "1,2,3", "where": where}
        receipt = wire.write_head(wire.RECEIPT, fields) + (packed if where == "inline" else b"")
        self._events.put(JobStatus(job_name, "succeeded", exit_code=0, receipt=receipt))

    def ends(self, job_name, **status):
        self._events.put(JobStatus(job_name, "failed", **status))

    def breaks(self, error):
        self._events.put(error)


@pytest.fixture
def scripted(make_executor, tmp_path):
    """Return a function that makes an executor on a scripted cluster, and that cluster."""

    def make(plugins=(), *, storage=True, progress=False, **settings):
        cluster = Scripted((tmp_path / "storage").as_uri() if storage else None, **settings)
        executor = make_executor(cluster="scripted", plugins=[cluster, *plugins], max_parallel=None, progress=progress)
        return executor, cluster

    return make


@pytest.fixture
def created(eventually):
    """Return a function that waits for the Job of a future and returns its name."""

    def wait_for(cluster, future):
        return eventually(lambda: next((name for name in cluster.manifests if name.endswith(future.task_id)), None))

    return wait_for


# A cluster that queues.


def test_a_task_is_pending_until_its_pod_runs(scripted, created, eventually):
    executor, cluster = scripted()
    future = executor.submit(pow, 2, 2)
    job = created(cluster, future)

    assert not future.running()
    cluster.runs(job)
    eventually(future.running)
    assert not future.cancel()
    cluster.answers(job, 4)

    assert future.result(timeout=60) == 4


def test_cancelling_a_queued_task_deletes_its_job(scripted, created):
    executor, cluster = scripted()
    future = executor.submit(pow, 2, 2)
    job = created(cluster, future)

    assert future.cancel()

    assert wait([future], timeout=60).done
    assert job in cluster.deleted
    executor.shutdown()
    assert cluster.closed


def test_killing_a_running_task_deletes_its_job(scripted, created, eventually):
    executor, cluster = scripted()
    future = executor.submit(pow, 2, 2)
    job = created(cluster, future)
    cluster.runs(job)
    eventually(future.running)

    assert future.kill()

    assert isinstance(future.exception(timeout=60), TaskKilledError)
    assert job in cluster.deleted


def test_what_somebody_else_deleted_is_lost(scripted, created):
    executor, cluster = scripted()
    future = executor.submit(pow, 2, 2)
    cluster.ends(created(cluster, future), exit_code=None, signal="SIGKILL", reason="Deleted")

    assert isinstance(future.exception(timeout=60), TaskLostError)


def test_a_task_that_ends_before_it_was_seen_running_has_an_end(scripted, created):
    executor, cluster = scripted()
    future = executor.submit(pow, 2, 2)
    cluster.answers(created(cluster, future), 4)

    assert future.result(timeout=60) == 4


def test_an_attempt_that_is_not_the_last_settles_nothing(scripted, created, eventually):
    executor, cluster = scripted()
    future = executor.submit(pow, 2, 2)
    job = created(cluster, future)
    cluster.runs(job)
    cluster.ends(job, exit_code=1, final=False)
    cluster.runs(job, attempt=2)
    eventually(lambda: future.attempts == 2)

    assert not future.done()
    cluster.answers(job, 4)
    assert future.result(timeout=60) == 4


def test_events_of_jobs_that_nobody_knows_are_passed_over(scripted, created):
    executor, cluster = scripted()
    future = executor.submit(pow, 2, 2)
    job = created(cluster, future)
    for name in ("asc-of-another-run", f"{job}0"):
        cluster.runs(name)
        cluster.writes(name, "line")
        cluster.answers(name, 5)
    cluster.answers(job, 4)
    cluster.answers(job, 6)

    assert future.result(timeout=60) == 4


def test_lines_belong_to_the_future_of_their_job(scripted, created):
    executor, cluster = scripted()
    one, two = executor.submit(pow, 1, 1), executor.submit(pow, 2, 2)
    jobs = [created(cluster, one), created(cluster, two)]
    for number, job in enumerate(jobs):
        cluster.writes(job, f"line of {number}")
        cluster.ends(job, exit_code=1)

    assert one.exception(timeout=60).last_lines == ("line of 0",)
    assert two.exception(timeout=60).last_lines == ("line of 1",)


# What a Job waits for.


def notes_of(capfd):
    return [line for line in capfd.readouterr().err.splitlines() if "nodes" in line or "quota" in line]


def test_what_a_job_waits_for_is_shown_once_for_each_change_and_explained(scripted, created, eventually, capfd):
    executor, cluster = scripted(progress=True)
    future = executor.submit(pow, 2, 2)
    job = created(cluster, future)
    for reason in ("no nodes.", "no nodes.", "the quota is used up", "no nodes."):
        cluster.waits(job, reason)
        eventually(lambda reason=reason: future.explain() == f"It waits on the cluster: {reason.rstrip('.')}.")
    cluster.waits(job, "")
    eventually(lambda: "waits on the cluster" not in future.explain())

    assert not future.running()
    cluster.waits(job, "no nodes.")
    cluster.runs(job)
    eventually(future.running)
    assert "waits on the cluster" not in future.explain()
    cluster.answers(job, 4)
    assert future.result(timeout=60) == 4
    assert notes_of(capfd) == ["pow: no nodes.", "pow: the quota is used up", "pow: no nodes."]


def test_many_tasks_that_wait_for_the_same_say_it_once(scripted, created, eventually, capfd):
    executor, cluster = scripted(progress=True)
    futures = [executor.submit(pow, 2, number) for number in range(5)]
    for future in futures:
        cluster.waits(created(cluster, future), "no nodes")
    eventually(lambda: all("no nodes" in future.explain() for future in futures))

    assert notes_of(capfd) == ["pow: no nodes"]
    for future in futures:
        cluster.answers(created(cluster, future), 1)
        future.result(timeout=60)


def test_another_attempt_may_wait_again(scripted, created, eventually):
    executor, cluster = scripted()
    future = executor.submit(pow, 2, 2)
    job = created(cluster, future)
    cluster.runs(job)
    cluster.ends(job, exit_code=1, final=False)
    cluster.waits(job, "no nodes")

    eventually(lambda: future.explain() == "It waits on the cluster: no nodes.")
    cluster.answers(job, 4)
    assert future.result(timeout=60) == 4


def test_a_job_that_never_ran_ends_with_the_words_of_the_cluster(scripted, created):
    executor, cluster = scripted()
    future = executor.submit(pow, 2, 2)
    job = created(cluster, future)
    cluster.waits(job, "no nodes")
    cluster.ends(job, exit_code=None, reason="Unschedulable", message="0/3 nodes are available")

    with pytest.raises(UnschedulableError, match="0/3 nodes are available; ask for less"):
        future.result(timeout=60)


# An answer between the lines of the output.


def frames_of(value):
    parts = wire.frame(CloudpickleSerializer().dumps(value, None), [], VERSIONS)
    return [line.decode().removesuffix("\n") for line in wire.output_lines(wire.pack_inline(parts))]


ANSWER = random.Random(1).randbytes(50_000)


def test_an_answer_in_the_output_settles_the_future_and_is_not_shown(scripted, created, capfd):
    executor, cluster = scripted(storage=False, output_outcome=1 << 20)
    future = executor.submit(pow, 2, 2)
    job = created(cluster, future)
    cluster.writes(job, "a line", frames_of(ANSWER)[0])
    for line in frames_of(ANSWER)[1:-1]:
        cluster.writes(job, line)
    cluster.writes(job, "no end of line" + frames_of(ANSWER)[-1], "the last line")
    cluster.answers(job, ANSWER, where="output")

    assert future.result(timeout=60) == ANSWER
    assert list(future.logs()) == ["a line", "no end of line", "the last line"]
    executor.shutdown()
    assert "ascend-outcome" not in capfd.readouterr().out


def test_lines_of_the_output_that_were_lost_are_named_as_the_reason(scripted, created):
    executor, cluster = scripted(storage=False, output_outcome=1 << 20)
    future = executor.submit(pow, 2, 2)
    job = created(cluster, future)
    cluster.writes(job, *frames_of(ANSWER)[3:])
    cluster.answers(job, ANSWER, where="output")

    exception = future.exception(timeout=60)

    assert type(exception) is OutcomeLoadError
    for words in ("lines of the output were lost", "rotates a log", "3 of its", "lines are missing", "ASCEND_STORAGE="):
        assert words in str(exception)


def test_an_attempt_that_died_while_it_answered_does_no_harm_to_the_next(scripted, created):
    executor, cluster = scripted(storage=False, output_outcome=1 << 20)
    future = executor.submit(pow, 2, 2)
    job = created(cluster, future)
    cluster.runs(job)
    cluster.writes(job, *frames_of(ANSWER[:20_000])[:4])
    cluster.ends(job, exit_code=1, final=False)
    cluster.runs(job, attempt=2)
    cluster.writes(job, *frames_of(ANSWER))
    cluster.answers(job, ANSWER, where="output")

    assert future.result(timeout=60) == ANSWER


def variables_of(manifest):
    return {each["name"]: each["value"] for each in manifest["spec"]["template"]["spec"]["containers"][0]["env"]}


@pytest.mark.parametrize(
    ("settings", "there", "absent"),
    [
        ({"storage": False, "output_outcome": 5000}, "ASCEND_OUTCOME_LIMIT", "ASCEND_OUTCOME_URL"),
        ({"storage": True, "output_outcome": 5000}, "ASCEND_OUTCOME_URL", "ASCEND_OUTCOME_LIMIT"),
        ({"storage": False}, "ASCEND_CALL", "ASCEND_OUTCOME_LIMIT"),
    ],
)
def test_the_output_is_the_way_back_only_where_there_is_no_storage(scripted, created, settings, there, absent):
    executor, cluster = scripted(**settings)
    future = executor.submit(pow, 2, 2)
    job = created(cluster, future)
    cluster.answers(job, 4)

    assert future.result(timeout=60) == 4
    variables = variables_of(cluster.manifests[job])
    assert there in variables
    assert absent not in variables
    assert variables.get("ASCEND_OUTCOME_LIMIT", "5000") == "5000"


def test_a_call_that_is_too_large_for_its_job_names_the_storage_that_it_needs(scripted):
    executor, _ = scripted(storage=False)

    with pytest.raises(ConfigError, match=r"the call of len is too large.*ASCEND_STORAGE="):
        executor.submit(len, os.urandom(200_000)).result(timeout=60)


# What the cluster brings into its pods.


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Return the function of a module of a project, and its file."""
    name = f"shipped_{tmp_path.name}".replace("-", "_")
    path = tmp_path / "work" / f"{name}.py"
    path.parent.mkdir()
    path.write_text("def double(value):\n    return 2 * value\n")
    monkeypatch.syspath_prepend(str(path.parent))
    yield importlib.import_module(name).double, path
    del sys.modules[name]


def test_the_source_is_placed_once_where_there_is_no_storage(scripted, created, shipped):
    double, path = shipped
    executor, cluster = scripted(storage=False, placed_file=1 << 30)
    jobs = []
    for _ in range(2):
        future = executor.submit(double, 2)
        jobs.append(created(cluster, future))
        cluster.answers(jobs[-1], 4)
        assert future.result(timeout=60) == 4

    assert [name.rpartition("/")[2] for name in cluster.placed] == ["runner.zip", "source"]
    place, content = list(cluster.placed.items())[1]
    assert path.name in marshal.loads(zlib.decompress(content))
    for job in jobs:
        variables = variables_of(cluster.manifests[job])
        assert variables["ASCEND_SOURCE_URL"] == PurePosixPath(place).as_uri()
        assert variables["ASCEND_SOURCE_DIGEST"] == hashlib.sha256(content).hexdigest()
        pod = cluster.manifests[job]["spec"]["template"]["spec"]
        assert [each["secret"] for each in pod["volumes"][2:]] == [{"secretName": f"placed-{n}"} for n in (1, 2)]


def test_a_source_that_is_too_large_to_place_goes_to_the_storage(scripted, created, shipped):
    executor, cluster = scripted(placed_file=10)
    future = executor.submit(shipped[0], 2)
    job = created(cluster, future)
    cluster.answers(job, 4)

    assert future.result(timeout=60) == 4
    assert [name.rpartition("/")[2] for name in cluster.placed] == ["runner.zip"]
    assert "/source/" in variables_of(cluster.manifests[job])["ASCEND_SOURCE_URL"]


def test_a_source_that_is_too_large_for_the_cluster_names_the_storage_that_it_needs(scripted, shipped):
    executor, cluster = scripted(storage=False, placed_file=10)

    with pytest.raises(ConfigError, match=r"the project's source has [\d,]+ bytes.*ASCEND_STORAGE="):
        executor.submit(shipped[0], 2).result(timeout=60)
    assert not cluster.manifests


def test_a_cluster_is_opened_once_also_if_it_takes_a_file_only_later(scripted, created):
    executor, cluster = scripted(refuses="place")
    with pytest.raises(ClusterError, match="takes no file"):
        executor.submit(pow, 2, 2).result(timeout=60)
    cluster.refuses = ""

    future = executor.submit(pow, 2, 2)
    cluster.answers(created(cluster, future), 4)

    assert future.result(timeout=60) == 4
    assert cluster.opened == [executor.run_id]


# A cluster that fails.


@pytest.mark.parametrize("error", [ClusterError("gone"), RuntimeError("broken"), SystemExit(1)])
@pytest.mark.parametrize("queues", [False, True])
def test_when_the_watch_breaks_every_future_ends(scripted, created, caplog, error, queues):
    executor, cluster = scripted(queues=queues)
    futures = [executor.submit(pow, 2, number) for number in range(3)]
    for future in futures:
        created(cluster, future)
    cluster.runs(created(cluster, futures[0]))
    cluster.breaks(error)

    for future in futures:
        exception = future.exception(timeout=60)
        assert isinstance(exception, TaskLostError)
        assert str(error) in str(exception)
    assert len({id(future.exception()) for future in futures}) == 3
    assert "can no longer be watched" in caplog.text


def test_after_the_watch_broke_a_new_call_fails_at_once(scripted, created, caplog):
    executor, cluster = scripted()
    first = executor.submit(pow, 1, 1)
    created(cluster, first)
    cluster.breaks(ClusterError("gone"))
    first.exception(timeout=60)

    with pytest.raises(AscendError, match="can no longer be watched"):
        executor.submit(pow, 1, 1).result(timeout=60)
    executor.shutdown()
    assert cluster.closed
    assert "gone" in caplog.text


def test_a_watch_that_ends_by_itself_loses_no_future(scripted, created):
    executor, cluster = scripted()
    future = executor.submit(pow, 1, 1)
    created(cluster, future)
    cluster._events.put(None)

    assert isinstance(future.exception(timeout=60), TaskLostError)


@pytest.mark.parametrize("moment", ["open", "place", "create"])
def test_a_cluster_that_refuses_fails_each_future(scripted, moment):
    executor, cluster = scripted(refuses=moment)
    futures = [executor.submit(pow, 1, 1) for _ in range(3)]

    for future in futures:
        assert isinstance(future.exception(timeout=60), ClusterError)
    executor.shutdown()
    assert not cluster.manifests


def test_a_malformed_answer_ends_its_future(scripted, created):
    executor, cluster = scripted()
    future = executor.submit(pow, 1, 1)
    cluster.ends(created(cluster, future), exit_code=1, receipt=b"ascend-receipt/1\nstatus: value\ntimes: x\n\n")

    assert isinstance(future.exception(timeout=60), AscendError)


# Plugins that fail.


class ModifiesJobs:
    """A plugin that does not like every function."""

    @hookimpl
    def ascend_modify_job(self, manifest, task):
        if task.function == "divmod":
            raise LookupError("no such node pool")
        manifest["metadata"]["labels"]["team"] = "weather"


def test_a_plugin_that_changes_jobs_is_asked_for_each(scripted, created):
    executor, cluster = scripted(plugins=[ModifiesJobs()])
    future = executor.submit(pow, 1, 1)
    job = created(cluster, future)
    cluster.answers(job, 1)

    assert cluster.manifests[job]["metadata"]["labels"]["team"] == "weather"


def test_a_plugin_that_breaks_fails_that_future_only(make_executor):
    executor = make_executor(plugins=[ModifiesJobs()])
    good, bad, other = executor.submit(pow, 2, 2), executor.submit(divmod, 1, 1), executor.submit(pow, 2, 3)

    exception = bad.exception(timeout=60)

    assert isinstance(exception, LookupError)
    assert "no such node pool" in str(exception)
    assert any("ascend_modify_job" in note for note in exception.__notes__)
    assert [good.result(), other.result()] == [4, 8]


class Watches:
    """A plugin that takes note of events, and breaks at some."""

    def __init__(self, breaks_at=()):
        self.seen = []
        self._breaks_at = breaks_at

    @hookimpl
    def ascend_task_event(self, event):
        self.seen.append((event.task.id, event.phase))
        if event.phase in self._breaks_at:
            raise SystemExit("an observer that fails")


def test_an_observer_sees_a_task_to_its_end(make_executor):
    watches = Watches()
    with make_executor(plugins=[watches]) as executor:
        futures = [executor.submit(pow, 2, 2), executor.submit(divmod, 1, 0)]

    for future, end in zip(futures, ["succeeded", "failed"], strict=True):
        seen = [phase for task, phase in watches.seen if task == future.task_id]
        assert "run" in seen
        assert seen[-1] == end


@pytest.mark.parametrize("phase", ["pack", "run", "succeeded"])
def test_an_observer_cannot_hurt(make_executor, caplog, phase):
    executor = make_executor(plugins=[Watches(breaks_at={phase})])

    assert executor.submit(pow, 2, 2).result(timeout=60) == 4
    assert executor.submit(pow, 2, 3).result(timeout=60) == 8
    executor.shutdown()
    assert "an observer that fails" in caplog.text


# Storage that changes or loses what it holds.


class Tampered(DirectoryStorage):
    """A storage in which somebody changes what lies under a key, and its plugin."""

    def __init__(self, url, key, change):
        super().__init__(url)
        self._key = key
        self._change = change

    @hookimpl
    def ascend_storage(self, url):
        return self if url.startswith("file:") else None

    def put(self, key, buffers):
        super().put(key, self._changed(key, buffers))

    def get(self, key):
        return memoryview(bytearray(b"".join(self._changed(key, [super().get(key)]))))

    def _changed(self, key, buffers):
        if not key.endswith(self._key):
            return buffers
        return [self._change(b"".join(bytes(buffer) for buffer in buffers))]


def one_byte_changed(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


CHANGES = {
    "a byte": one_byte_changed,
    "cut off": lambda data: data[:-1],
    "empty": lambda _: b"",
    "another": lambda _: b"x" * 99,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_call_that_was_changed_in_storage_is_never_made(make_executor, tmp_path, change):
    url = (tmp_path / "storage").as_uri()
    executor = make_executor(storage=url, plugins=[Tampered(url, "/call", CHANGES[change])])

    exception = executor.submit(len, os.urandom(200_000)).exception(timeout=60)

    assert isinstance(exception, CallLoadError), exception
    assert executor.submit(pow, 2, 2).result(timeout=60) == 4


@pytest.mark.parametrize("change", CHANGES)
def test_an_answer_that_was_changed_in_storage_is_never_unpickled(make_executor, tmp_path, change):
    url = (tmp_path / "storage").as_uri()
    executor = make_executor(storage=url, plugins=[Tampered(url, "/outcome", CHANGES[change])])

    exception = executor.submit(os.urandom, 10_000).exception(timeout=60)

    assert isinstance(exception, OutcomeLoadError), exception
    assert executor.submit(pow, 2, 2).result(timeout=60) == 4


class Failing(Tampered):
    """A storage that refuses one method, and its plugin."""

    def __init__(self, url, method):
        super().__init__(url, "/outcome", lambda data: data)
        self._method = method

    def put(self, key, buffers):
        self._refuse("put", key)
        super().put(key, buffers)

    def get(self, key):
        self._refuse("get", key)
        return super().get(key)

    def delete(self, prefix):
        self._refuse("delete", prefix)
        super().delete(prefix)

    @hookimpl
    def ascend_storage(self, url):
        return self if url.startswith("file:") else None

    def _refuse(self, method, key):
        if self._method == method and "/jobs/" in key:
            raise StorageError(f"no {method}")


@pytest.mark.parametrize(
    ("method", "call"), [("put", (len, bytes(os.urandom(200_000)))), ("get", (os.urandom, 10_000))]
)
def test_a_storage_that_fails_fails_that_future(make_executor, tmp_path, method, call):
    url = (tmp_path / "storage").as_uri()
    executor = make_executor(storage=url, plugins=[Failing(url, method)])

    with pytest.raises(StorageError, match=f"no {method}"):
        executor.submit(*call).result(timeout=60)
    assert executor.submit(pow, 2, 2).result(timeout=60) == 4


def test_a_storage_that_cannot_be_cleaned_costs_no_answer(make_executor, tmp_path, caplog):
    url = (tmp_path / "storage").as_uri()
    executor = make_executor(storage=url, plugins=[Failing(url, "delete")])

    assert len(executor.submit(os.urandom, 10_000).result(timeout=60)) == 10_000
    assert "not removed" in caplog.text


def test_a_thousand_pending_futures_take_no_thread_each(make_executor, gate):
    executor = make_executor(max_parallel=1)
    executor.submit(gate.wait)
    before = threading.active_count()

    futures = [executor.submit(pow, 1, 1) for _ in range(1000)]

    assert threading.active_count() - before < 20
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in futures)


def test_a_crash_is_never_a_lost_task(executor):
    assert isinstance(executor.submit(os._exit, 1).exception(timeout=60), TaskCrashedError)
