"""What Jobs write, printed here: one attempt of one Job, or a whole run as its client shows it."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from ascend._builtin.kubernetes.features import JOBS
from ascend._builtin.kubernetes.logs import PodLog
from ascend._builtin.kubernetes.pods import read_pod
from ascend._builtin.kubernetes.tracker import Tracker
from ascend._builtin.kubernetes.watching import Watch
from ascend._core.output import displayed
from ascend._core.wire import split_output
from ascend.cli.kubernetes import asking, find_job, pods_of
from ascend.cli.state import receipt_of, view_job
from ascend.errors import ClusterError
from ascend.model import LABEL_PREFIX, JobOutput, JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ascend._builtin.kubernetes.connection import Connection

__all__ = ["RunFollower", "follow_job", "print_attempt", "status_line"]

_LOOK_SECONDS = 1.0
_JOIN_SECONDS = 5.0
# A client that makes one call after the other leaves so little time between them.
_QUIET_SECONDS = 3.0
_PATIENCE = 60.0


class _Gone(Exception):  # noqa: N818 - nobody sees it
    """Whoever read our output has gone, as `head` does."""


def print_attempt(connection: Connection, job: dict[str, Any], attempt: int | None) -> None:
    """Print what an attempt of a Job has written until now."""
    name = job["metadata"]["name"]
    item = _attempt(pods_of(connection, job=name).get(name, []), attempt)
    pod = None if item is None else read_pod(item)
    if pod is None or pod.state not in {"running", "terminated"}:
        raise _nothing_yet(connection, name, attempt)
    problem = PodLog(connection, pod.name, _print, pod.container).finish()
    if problem:
        raise ClusterError(f"the output of {name} could not be read to its end: {problem}")


def follow_job(connection: Connection, job: dict[str, Any], attempt: int | None) -> None:
    """Print what an attempt of a Job writes, until its container has ended."""
    name = job["metadata"]["name"]
    # A watch tells the oldest pod first: the newest must be known before.
    newest = max(1, len(pods_of(connection, job=name).get(name, [])))
    follower = _AttemptFollower(connection, name, attempt or newest)
    with _stopped(follower.close):
        while not follower.ended.wait(_LOOK_SECONDS):
            # A Job that ends without a pod tells nothing to who watches pods.
            if not follower.began and _is_over(connection, name):
                raise _nothing_yet(connection, name, attempt)
    if follower.problem:
        with asking("watch pods"):
            raise follower.problem


class _AttemptFollower:
    """Watches the pods of one Job, and prints the log of the one that is asked for."""

    def __init__(self, connection: Connection, name: str, attempt: int) -> None:
        self.began = False
        self.ended = threading.Event()
        self.problem: Exception | None = None
        self._connection = connection
        self._attempt = attempt
        self._pods: dict[str, dict[str, Any]] = {}
        self._log: PodLog | None = None
        self._uid = ""
        self._reader: threading.Thread | None = None
        selector = f"batch.kubernetes.io/job-name={name}"
        self._watch = Watch(connection, connection.path("pods"), selector, self._observe, patience=_PATIENCE)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, in the middle of a line or not."""
        self._watch.close()
        if self._log is not None:
            self._log.close()
        for thread in (self._thread, self._reader):
            if thread is not None:
                thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        try:
            self._watch.run()
        except Exception as exc:  # noqa: BLE001 - raised by who waits for this thread
            self.problem = exc
        finally:
            self.ended.set()

    def _observe(self, kind: str, item: dict[str, Any]) -> None:
        self._pods[item["metadata"]["uid"]] = item
        wanted = _attempt(list(self._pods.values()), self._attempt)
        if self._log is None and wanted is not None and read_pod(wanted).state in {"running", "terminated"}:
            self._begin(wanted)
        pod = read_pod(item)
        if pod.uid == self._uid and (pod.has_ended or kind == "DELETED"):
            self._end()

    def _begin(self, item: dict[str, Any]) -> None:
        pod = read_pod(item)
        self.began, self._uid = True, pod.uid
        self._log = PodLog(self._connection, pod.name, _print, pod.container)
        if pod.state == "running":
            self._reader = threading.Thread(target=self._read, args=(self._log.follow,), daemon=True)
            self._reader.start()

    def _end(self) -> None:
        if self._log is not None and (problem := self._read(self._log.finish)):
            self.problem = ClusterError(f"the output could not be read to its end: {problem}")
        self._watch.close()

    def _read(self, read: Callable[[], str | None]) -> str | None:
        try:
            return read()
        except _Gone:
            self._watch.close()
            self.ended.set()
            return None


class RunFollower:
    """Prints the starts, the output and the ends of a run's Jobs; leaves the Jobs alone."""

    def __init__(self, connection: Connection, run_id: str) -> None:
        self._events: SimpleQueue[JobStatus | JobOutput | Exception] = SimpleQueue()
        self._labels: dict[str, str] = {}
        # Pods of which a watch tells before the other one tells of their Jobs.
        self._early: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        self._guard = threading.RLock()
        self.ends: dict[str, str] = {}
        self._tracker = Tracker(
            self._events.put, new_log=partial(PodLog, connection), in_thread=_in_thread, stop=lambda _: None
        )
        selector = f"{LABEL_PREFIX}/run={run_id}"
        self._watches = [
            Watch(connection, connection.path("jobs", api=JOBS), selector, self._observe_job, patience=_PATIENCE),
            Watch(connection, connection.path("pods"), selector, self._observe_pod, patience=_PATIENCE),
        ]

    def follow(self) -> None:
        """Return when all Jobs have ended, and no new one has come for a moment."""
        for watch in self._watches:
            with asking("watch Jobs and pods"):
                watch.list()
            threading.Thread(target=self._run, args=(watch,), daemon=True).start()
        quiet_since = monotonic()
        with _stopped(self._close):
            while self._tracker.unfinished() or monotonic() - quiet_since < _QUIET_SECONDS:
                try:
                    event = self._events.get(timeout=_LOOK_SECONDS)
                except Empty:
                    self._tracker.look({})
                    continue
                quiet_since = monotonic()
                self._show(event)

    def _run(self, watch: Watch) -> None:
        try:
            watch.run()
        except Exception as exc:  # noqa: BLE001 - raised by who follows
            self._events.put(exc)

    def _close(self) -> None:
        for watch in self._watches:
            watch.close()

    def _observe_job(self, kind: str, item: dict[str, Any]) -> None:
        name = item["metadata"]["name"]
        with self._guard:
            if name not in self._labels and kind != "DELETED":
                self._labels[name] = view_job(item, []).label
                self._tracker.expect(item)
            early = self._early.pop(name, [])
            for told in early:
                self._tracker.observe_pod(*told)
        self._tracker.observe_job(kind, item)

    def _observe_pod(self, kind: str, item: dict[str, Any]) -> None:
        name = read_pod(item).job_name
        with self._guard:
            if name not in self._labels:
                self._early.setdefault(name, []).append((kind, item))
                return
        self._tracker.observe_pod(kind, item)

    def _show(self, event: JobStatus | JobOutput | Exception) -> None:
        if isinstance(event, Exception):
            raise event
        label = self._labels.get(event.job_name, event.job_name)
        if isinstance(event, JobOutput):
            _print(event.lines, label)
            return
        line, end = status_line(label, event)
        if end:
            self.ends[event.job_name] = end
        click.echo(line, err=True)


def status_line(label: str, status: JobStatus) -> tuple[str, str]:
    """Return what is said of a status; and ``succeeded`` or ``failed`` if it is the last one of its Job."""
    attempt = f" (attempt {status.attempt})" if status.attempt > 1 else ""
    if status.phase == "running":
        return f"{label} started{attempt}", ""
    if status.phase == "pending":
        return f"{label} waits: {status.message or status.reason}", ""
    end, why = _how(status)
    if not status.final:
        return f"{label} failed{attempt}{why}; another attempt follows", ""
    return f"{label} {end}{attempt}{why}", end


def _how(status: JobStatus) -> tuple[str, str]:
    receipt = receipt_of(status.receipt)
    if receipt.get("status") == "exception":
        return "failed", ": the function raised an exception"
    if status.phase == "succeeded":
        return "succeeded", ""
    words = status.reason or status.signal or receipt.get("kind") or f"exit code {status.exit_code}"
    return "failed", f": {words}" + (f", {status.message}" if status.message else "")


@contextmanager
def _stopped(close: Callable[[], None]) -> Iterator[None]:
    """Close at the end; who reads no longer what we print gets no error from us."""
    try:
        yield
    except _Gone:
        return
    finally:
        close()


def _in_thread(call: Callable[..., object], *args: Any) -> None:
    threading.Thread(target=call, args=args, daemon=True).start()


def _attempt(pods: list[dict[str, Any]], number: int | None) -> dict[str, Any] | None:
    """Return the pod of an attempt, or of the newest."""
    ordered = sorted(pods, key=lambda each: each["metadata"]["creationTimestamp"])
    place = len(ordered) if number is None else number
    return ordered[place - 1] if 0 < place <= len(ordered) else None


def _is_over(connection: Connection, name: str) -> bool:
    job = find_job(connection, name)
    return job is None or view_job(job, pods_of(connection, job=name).get(name, [])).has_ended


def _nothing_yet(connection: Connection, name: str, attempt: int | None) -> ClusterError:
    job = find_job(connection, name)
    pods = pods_of(connection, job=name).get(name, [])
    if job is None:
        return ClusterError(f"{name} has been deleted, and its output with it")
    view = view_job(job, pods)
    if attempt is not None and attempt > len(pods):
        return ClusterError(f"{name} has no attempt {attempt} yet: it is {view.state}, in attempt {view.attempt}")
    return ClusterError(
        f"{name} has written nothing: it is {view.state}{f' ({view.reason})' if view.reason else ''}; "
        f"`ascend jobs why {name}` says why"
    )


def _print(lines: Sequence[str], label: str | None = None) -> None:
    """Print the lines that are the function's own."""
    own, _ = split_output(lines)
    front = "" if label is None else f"{label}: "
    text = "".join(f"{front}{displayed(line)}\n" for line in own)
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        raise _Gone from None
