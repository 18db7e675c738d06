"""From what happens to pods and Jobs to the statuses of each Job: every one running once an attempt, final once.

::

    watches ──> observe_pod, observe_job ──┐
    clock   ──> look ──────────────────────┼──> JobStatus, JobOutput ──> emit
    a pod's log, read to its end ──────────┘
"""

from __future__ import annotations

import threading
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from ascend._builtin.kubernetes.conditions import has_ended, is_late, last_words
from ascend._builtin.kubernetes.diagnosis import Diagnosis, diagnose
from ascend._builtin.kubernetes.pods import end_of, read_pod
from ascend._builtin.kubernetes.tracked import TrackedJob
from ascend.model import JobOutput, JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ascend._builtin.kubernetes.logs import PodLog
    from ascend._builtin.kubernetes.pods import Pod

__all__ = ["Tracker"]

# A Job that has ended says so two seconds after its pods, whose word is the better one.
_GRACE_SECONDS = 15.0
_OVERDUE_SECONDS = 5.0
# Pods and Jobs are watched apart: the end of a pod may be told after the deletion of its Job, by whoever had seen it.
_LAST_WORD_SECONDS = 1.0
_NO_POD_SECONDS = 1.5
_ENDED_HERE = {"DeadlineExceeded", "Disrupted"}


class Tracker:
    """Follows the Jobs of a run; its methods may be called from any thread."""

    def __init__(
        self,
        emit: Callable[[JobStatus | JobOutput], None],
        *,
        new_log: Callable[[str, Callable[[tuple[str, ...]], None], str], PodLog],
        in_thread: Callable[..., None],
        stop: Callable[[str], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Keep what to call.

        *emit* takes statuses and output, *new_log* makes the log of a pod's container, *in_thread* calls something in a
        thread of its own, *stop* deletes a Job that no longer has a purpose.
        """
        self._emit = emit
        self._new_log = new_log
        self._in_thread = in_thread
        self._stop = stop
        self._clock = clock
        self._jobs: dict[str, TrackedJob] = {}
        self._guard = threading.RLock()

    def expect(self, manifest: Mapping[str, Any]) -> None:
        """Take note of a Job that is about to be created."""
        spec, meta = manifest["spec"], manifest["metadata"]
        rules = spec.get("podFailurePolicy", {}).get("rules", ())
        codes = {code for rule in rules for code in rule.get("onExitCodes", {}).get("values", ())}
        timeout = float(meta.get("annotations", {}).get("ascend.dev/queue-timeout", "inf"))
        with self._guard:
            now = self._clock()
            self._jobs[meta["name"]] = TrackedJob(
                meta["name"], spec.get("backoffLimitPerIndex", 0), frozenset(codes), timeout, now, now
            )

    def created(self, job_name: str, uid: str) -> None:
        """Take pods for those of the Job only if it has made them."""
        with self._guard:
            job = self._jobs.get(job_name)
            if job is not None:
                job.uid = uid

    def forget(self, job_name: str) -> None:
        """Expect nothing of a Job whose creation was refused."""
        with self._guard:
            self._jobs.pop(job_name, None)

    def unfinished(self) -> list[str]:
        """Return the names of the Jobs without a final status."""
        with self._guard:
            return list(self._jobs)

    def give_up(self, reason: str) -> None:
        """End all that is left."""
        for name in self.unfinished():
            self._finish(name, JobStatus(name, "failed", at=time(), reason=reason))

    # What the watches tell.

    def observe_pod(self, kind: str, item: dict[str, Any]) -> None:
        pod = read_pod(item)
        with self._guard:
            job = self._jobs.get(pod.job_name)
            if job is None or pod.uid in job.ended or (job.uid and pod.owner != job.uid):
                return
            if pod.uid not in job.attempts:
                job.attempts.append(pod.uid)
            if pod.uid == job.attempts[-1]:
                job.see(None if kind == "DELETED" else pod, self._clock())
            if pod.state in {"running", "terminated"} and pod.uid not in job.began:
                self._began(job, pod)
            if not pod.has_ended and kind != "DELETED":
                return
            job.ended.add(pod.uid)
            job.ending += 1
        self._do(self._end, job, pod)

    def observe_job(self, kind: str, item: dict[str, Any]) -> None:
        with self._guard:
            job = self._jobs.get(item["metadata"]["name"])
            if job is None:
                return
            # Without what it carries.
            suspended = (item.get("spec") or {}).get("suspend", False)
            job.item = {"spec": {"suspend": suspended}, "status": item.get("status") or {}}
            if has_ended(item) and job.over_at is None:
                job.over_at = self._clock()
            if kind != "DELETED" and "deletionTimestamp" not in item["metadata"]:
                return
            if job.deleted_at is None:
                job.deleted_at = self._clock()
            if not job.runs:
                self._finish(job.name, self._status(job, "failed", reason="Deleted"))

    # What the clock tells.

    def without_pod(self) -> list[str]:
        """Return the Jobs that should have a pod by now: their events may say why they have none."""
        with self._guard:
            late = self._clock() - _NO_POD_SECONDS
            return [job.name for job in self._jobs.values() if not job.attempts and job.created < late]

    def overdue(self) -> list[str]:
        """Return the Jobs that have ended for a while, though none of their pods did; each once."""
        with self._guard:
            late = self._clock() - _OVERDUE_SECONDS
            found = [job for job in self._jobs.values() if job.over_at is not None and job.over_at < late]
            fresh = [job for job in found if not job.ending and not job.asked]
            for job in fresh:
                job.asked = True
            return [job.name for job in fresh]

    def look(self, refusals: Mapping[str, Diagnosis]) -> None:
        """See what waits for how long and for what; *refusals* are diagnoses of events, by the Job's name."""
        with self._guard:
            for job in list(self._jobs.values()):
                if job.ending:
                    continue
                if job.deleted_at is not None and self._clock() - job.deleted_at > _LAST_WORD_SECONDS:
                    self._finish(job.name, self._status(job, "failed", reason="Deleted"))
                elif job.over_at is not None and self._clock() - job.over_at > _GRACE_SECONDS:
                    self._finish(job.name, self._status(job, "failed", **last_words(job.item)))
                elif (node := job.lost_node(self._clock())) is not None:
                    self._give_up_on_node(job, node)
                elif job.waiting_since is not None:
                    self._look_at(job, self._clock() - job.waiting_since, refusals.get(job.name))

    def _look_at(self, job: TrackedJob, waited: float, refusal: Diagnosis | None) -> None:
        now, before = self._clock(), job.diagnosis
        diagnosis = diagnose(job.pod, job.item, refusal or (before if job.pod is None else None), before)
        if diagnosis is not None and (before is None or not diagnosis.continues(before)):
            job.since = now
        if diagnosis is not None and diagnosis != before:
            self._emit(self._status(job, "pending", reason=diagnosis.reason, message=diagnosis.message))
        job.diagnosis = diagnosis or before
        if diagnosis and diagnosis.fatal_after is not None and now - job.since >= diagnosis.fatal_after:
            self._give_up_on(job, diagnosis)
        elif waited >= job.queue_timeout:
            self._give_up_on(job, diagnosis or Diagnosis("QueueTimeout", "the cluster says nothing about why"))

    def _give_up_on(self, job: TrackedJob, diagnosis: Diagnosis) -> None:
        # In this order: the watch must not tell of the deletion first.
        self._finish(job.name, self._status(job, "failed", reason=diagnosis.reason, message=diagnosis.message))
        self._stop(job.name)

    def _give_up_on_node(self, job: TrackedJob, node: str) -> None:
        reason = "DeadlineExceeded" if is_late(job.item) else "NodeLost"
        words = f"the node {node} has not said that its pod has ended, though that is being deleted"
        self._finish(job.name, self._status(job, "failed", reason=reason, message=words))
        self._stop(job.name)

    # From attempt to attempt.

    def _began(self, job: TrackedJob, pod: Pod) -> None:
        job.began.add(pod.uid)
        job.waiting_since, job.diagnosis = None, None
        self._emit(self._status(job, "running", attempt=job.attempts.index(pod.uid) + 1))
        log = self._new_log(pod.name, lambda lines: self._tell(JobOutput(job.name, lines)), pod.container)
        job.logs[pod.uid] = log
        if pod.state == "running":
            try:
                self._in_thread(log.follow)
            except RuntimeError:
                # No thread is left; it is read when the pod has ended.
                return

    def _do(self, call: Callable[..., None], *args: Any) -> None:
        try:
            self._in_thread(call, *args)
        except RuntimeError:
            # Python 3.12.0 and 3.12.1 refuse new threads as soon as the main thread has ended.
            call(*args)

    def _end(self, job: TrackedJob, pod: Pod) -> None:
        """Read the log of a pod that has ended, then tell how; in a thread of its own."""
        try:
            log = job.logs.get(pod.uid)
            problem = log.finish() if log is not None else None
            if problem:
                self._tell(JobOutput(job.name, (f"ascend: the rest of the output could not be read: {problem}",)))
            self._tell_end(job, pod)
        finally:
            with self._guard:
                job.ending -= 1
                job.logs.pop(pod.uid, None)

    def _tell_end(self, job: TrackedJob, pod: Pod) -> None:
        end = end_of(pod)
        with self._guard:
            job.disruptions += bool(pod.disrupted)
            final, reason = job.verdict(pod, end)
            status = self._status(
                job,
                "succeeded" if end.exit_code == 0 else "failed",
                attempt=job.attempts.index(pod.uid) + 1,
                exit_code=end.exit_code,
                signal=end.signal,
                reason=reason,
                receipt=end.receipt,
                message=end.message,
                final=final,
            )
            if not final:
                self._tell(status)
                if pod.uid == job.attempts[-1]:
                    job.waiting_since = self._clock()
                return
        self._finish(job.name, status)
        if status.reason in _ENDED_HERE:
            # For the Job it is a failure like any other, and it would try again.
            self._stop(job.name)

    def _status(self, job: TrackedJob, phase: Any, **details: Any) -> JobStatus:
        return JobStatus(job.name, phase, **{"attempt": max(1, len(job.attempts)), "at": time(), **details})

    def _tell(self, event: JobStatus | JobOutput) -> None:
        """Emit what is not the last of a Job: nothing comes after that."""
        with self._guard:
            if event.job_name in self._jobs:
                self._emit(event)

    def _finish(self, job_name: str, status: JobStatus) -> None:
        with self._guard:
            job = self._jobs.pop(job_name, None)
            if job is None:
                return
            for log in job.logs.values():
                log.close()
            self._emit(status)
