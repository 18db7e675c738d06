"""The promises of `ascend.interfaces.Cluster`."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from threading import Condition, Thread
from typing import TYPE_CHECKING

import pytest

from ascend._core.manifest import default_image
from ascend.interfaces import Cluster
from ascend.model import JobOutput, JobStatus
from ascend.testing._samples import sample_job, sample_task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_RUN_ID = "sample-run"
_RUNNER = b"what would be the runner's archive"
_FOR_EVER = "import threading; print('begun', flush=True); threading.Event().wait()"


class ClusterContract:
    """What every cluster promises. Override ``cluster``, and *patience* where a pod takes longer to start.

    Its Jobs need an image with this minor version of Python, by default the stock one; ``image`` names another.
    """

    patience: float = 60.0
    """How many seconds a test waits for an event."""

    @pytest.fixture
    def cluster(self) -> Cluster:
        """Return a cluster that is not open yet."""
        raise NotImplementedError

    @pytest.fixture
    def image(self) -> str:
        """Return the image of the Jobs."""
        return default_image()

    @pytest.fixture
    def opened(self, cluster: Cluster, image: str) -> Iterator[_Opened]:
        """Yield the cluster, open and watched; it is closed after the test."""
        opened = _Opened(cluster, self.patience, image)
        yield opened
        cluster.close()
        opened.join()

    def test_it_is_a_cluster(self, cluster: Cluster) -> None:
        """It has what the protocol asks for, and a name."""
        assert isinstance(cluster, Cluster)
        assert cluster.name

    def test_its_traits_do_not_change_while_it_is_open(self, opened: _Opened) -> None:
        """The engine asks whenever it likes."""
        traits = opened.cluster.traits
        opened.create("traits")
        opened.final("traits")
        assert opened.cluster.traits == traits

    def test_pods_find_the_runner_where_open_says(self, opened: _Opened) -> None:
        """It is the archive that was given, byte by byte."""
        code = "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())"
        opened.create("finds-runner", code)
        opened.final("finds-runner")
        assert opened.lines("finds-runner") == [sha256(_RUNNER).hexdigest()]

    def test_a_placed_file_has_the_name_that_was_asked_for(self, opened: _Opened) -> None:
        """The last part of its path is that name."""
        file = opened.cluster.place("some.zip", b"content")
        assert Path(file.path).name == "some.zip"

    def test_another_content_is_another_file(self, opened: _Opened) -> None:
        """Each has a folder of its own, since that is what a volume brings."""
        one, another = (Path(opened.cluster.place("some.zip", content).path) for content in (b"one", b"two"))
        assert one.parent != another.parent

    def test_a_job_that_ends_well_has_succeeded(self, opened: _Opened) -> None:
        """It ran before that, and its exit code is 0."""
        opened.create("succeeds")
        status = opened.final("succeeds")
        assert (status.phase, status.exit_code) == ("succeeded", 0)
        phases = [each.phase for each in opened.statuses("succeeds") if each.phase != "pending"]
        assert phases == ["running", "succeeded"]

    def test_a_job_that_fails_tells_its_exit_code(self, opened: _Opened) -> None:
        """It is the one of the process."""
        opened.create("fails", "raise SystemExit(3)")
        status = opened.final("fails")
        assert (status.phase, status.exit_code) == ("failed", 3)

    def test_the_receipt_arrives_with_the_last_status(self, opened: _Opened) -> None:
        """It is what the Job wrote into the file that ``ASCEND_RECEIPT`` names."""
        opened.create("receipt", "import os; open(os.environ['ASCEND_RECEIPT'], 'wb').write(b'a receipt')")
        assert opened.final("receipt").receipt == b"a receipt"

    def test_output_comes_whole_in_order_and_before_the_last_status(self, opened: _Opened) -> None:
        """Standard output and standard error, which the runner makes one, and a last line without an end."""
        code = (
            "import os, sys\n"
            "os.dup2(1, 2)\n"
            "for number in range(500):\n"
            "    print(f'line {number}', file=(sys.stdout, sys.stderr)[number % 2], flush=True)\n"
            "print('the end', end='')"
        )
        opened.create("prints", code)
        opened.final("prints")
        assert opened.lines("prints") == [*(f"line {number}" for number in range(500)), "the end"]
        last = opened.events("prints")[-1]
        assert isinstance(last, JobStatus)
        assert last.final

    def test_another_attempt_follows_while_retries_remain(self, opened: _Opened) -> None:
        """Only the last attempt's status is final."""
        opened.create("retried", "raise SystemExit(3)", retries=1)
        assert opened.final("retried").attempt == 2  # noqa: PLR2004 - the first and one more
        failed = [(each.attempt, each.final) for each in opened.statuses("retried") if each.phase == "failed"]
        assert failed == [(1, False), (2, True)]

    def test_every_job_gets_exactly_one_final_status(self, opened: _Opened) -> None:
        """Whatever becomes of it, and however many there are."""
        codes = {f"many-{number}": f"raise SystemExit({number % 2})" for number in range(6)}
        for name, code in codes.items():
            opened.create(name, code)
        for name in codes:
            opened.final(name)
        opened.cluster.close()
        opened.join()
        for name in codes:
            ends = [each for each in opened.statuses(name) if each.phase in {"succeeded", "failed"}]
            assert [each.final for each in ends] == [True]

    def test_a_deleted_job_stops_and_gets_its_final_status(self, opened: _Opened) -> None:
        """Its reason is ``Deleted``."""
        opened.create("deleted", _FOR_EVER)
        opened.wait(lambda: opened.lines("deleted"), "output of deleted")
        opened.cluster.delete_job("deleted")
        status = opened.final("deleted")
        assert (status.phase, status.reason) == ("failed", "Deleted")

    def test_deleting_a_job_that_is_gone_is_no_error(self, opened: _Opened) -> None:
        """Whether it ever was there or not."""
        opened.cluster.delete_job("never-was")
        opened.create("gone")
        opened.final("gone")
        opened.cluster.delete_job("gone")

    def test_close_stops_what_still_runs_and_ends_watch(self, opened: _Opened) -> None:
        """Calling it again does nothing."""
        opened.create("runs-on", _FOR_EVER)
        opened.wait(lambda: opened.lines("runs-on"), "output of runs-on")
        opened.cluster.close()
        opened.join()
        assert opened.final("runs-on").phase == "failed"
        opened.cluster.close()


class _Opened:
    """An open cluster and all events of its Jobs so far."""

    def __init__(self, cluster: Cluster, patience: float, image: str) -> None:
        self.cluster = cluster
        self._patience = patience
        self._image = image
        cluster.open(_RUN_ID)
        self._runner = cluster.place("runner.zip", _RUNNER)
        self._events: list[JobStatus | JobOutput] = []
        self._changed = Condition()
        self._watching = Thread(target=self._watch, daemon=True)
        self._watching.start()

    def create(self, name: str, code: str = "pass", *, retries: int = 0) -> None:
        task = sample_task(name, retries=retries)
        self.cluster.create_job(sample_job(task, code=code, runner=self._runner, image=self._image))

    def events(self, name: str) -> list[JobStatus | JobOutput]:
        with self._changed:
            return [event for event in self._events if event.job_name == name]

    def statuses(self, name: str) -> list[JobStatus]:
        return [event for event in self.events(name) if isinstance(event, JobStatus)]

    def lines(self, name: str) -> list[str]:
        return [line for event in self.events(name) if isinstance(event, JobOutput) for line in event.lines]

    def final(self, name: str) -> JobStatus:
        """Return the last status of the Job *name*, when it has come."""
        self.wait(lambda: self._finals(name), f"the last status of {name}")
        return self._finals(name)[0]

    def wait(self, ready: Callable[[], object], what: str) -> None:
        with self._changed:
            assert self._changed.wait_for(ready, self._patience), f"{what} did not come; seen so far: {self._events}"

    def join(self) -> None:
        self._watching.join(self._patience)
        assert not self._watching.is_alive(), "watch does not end, although close has returned"

    def _finals(self, name: str) -> list[JobStatus]:
        return [status for status in self.statuses(name) if status.final and status.phase in {"succeeded", "failed"}]

    def _watch(self) -> None:
        for event in self.cluster.watch():
            with self._changed:
                self._events.append(event)
                self._changed.notify_all()
