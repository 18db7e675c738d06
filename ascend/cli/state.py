"""Jobs and runs as their objects tell them: pure functions from the dicts of the API to small values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ascend._builtin.kubernetes.diagnosis import diagnose
from ascend._builtin.kubernetes.pods import end_of, read_pod
from ascend._core.wire import RECEIPT, FormatError, read_head
from ascend.model import LABEL_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ascend._builtin.kubernetes.diagnosis import Diagnosis
    from ascend._builtin.kubernetes.pods import Pod

__all__ = ["STATES", "JobView", "RunView", "ago", "moment_of", "receipt_of", "server_time", "view_job", "view_run"]

State: TypeAlias = Literal["pending", "running", "succeeded", "failed"]

STATES: tuple[State, ...] = ("pending", "running", "succeeded", "failed")

GRACE = 60.0
"""How many seconds after its end a Lease counts as one that its client no longer renews: clocks differ."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class JobView:
    """One Job: *state* is that of its task, so *failed* also if the function raised an exception.

    Times are Unix times, `None` for what has not happened. *reason* is one word, *message* the cluster's sentence.
    """

    name: str
    run: str
    task: str
    function: str
    user: str
    project: str
    state: State
    attempt: int
    reason: str
    message: str
    exit_code: int | None
    signal: str | None
    queued: float
    started: float | None
    ended: float | None
    node: str
    image: str
    resources: Mapping[str, str]

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it runs any more, or will."""
        return self.state in {"succeeded", "failed"}

    @property
    def label(self) -> str:
        """What its output is labelled with, as the client does it."""
        return f"{self.function}#{self.task.rpartition('-')[2]}"

    def duration(self, now: float) -> float | None:
        """Return for how many seconds its newest attempt has run."""
        return None if self.started is None else (self.ended or now) - self.started

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return _with_dates(asdict(self), ("queued", "started", "ended"))


@dataclass(frozen=True, slots=True)
class RunView:
    """One run: its Lease, and how many Jobs it has in each state."""

    id: str
    user: str
    project: str
    client: str
    begun: float
    renewed: float | None
    lasts: float
    jobs: Mapping[str, int] = field(default_factory=dict)

    def is_alive(self, now: float) -> bool:
        """Tell whether its client renews the Lease."""
        return self.renewed is not None and now <= self.renewed + self.lasts

    def is_abandoned(self, now: float) -> bool:
        """Tell whether its client has not renewed the Lease for so long that it never will."""
        return now > (self.renewed or self.begun) + self.lasts + GRACE

    def to_dict(self, now: float) -> dict[str, Any]:
        """Return what JSON can hold."""
        return _with_dates({**asdict(self), "alive": self.is_alive(now)}, ("begun", "renewed"))


def view_job(job: Mapping[str, Any], pods: Sequence[dict[str, Any]], refusal: Diagnosis | None = None) -> JobView:
    """Return what a Job and its pods say; *refusal* is what its events say about why it has no pod."""
    meta, spec, status = job["metadata"], job["spec"], job.get("status") or {}
    notes = meta.get("annotations") or {}
    attempts = [read_pod(each) for each in sorted(pods, key=lambda each: each["metadata"]["creationTimestamp"])]
    pod = attempts[-1] if attempts else None
    state = _state(job, pod)
    why = _ended(job, pod) if state in {"succeeded", "failed"} else _waits(job, pod, refusal, state)
    end = end_of(pod) if pod is not None and pod.has_ended else None
    container = spec["template"]["spec"]["containers"][0]
    started, ended = _times(pod)
    return JobView(
        name=meta["name"],
        run=(meta.get("labels") or {}).get(f"{LABEL_PREFIX}/run", ""),
        task=notes.get(f"{LABEL_PREFIX}/task", ""),
        function=notes.get(f"{LABEL_PREFIX}/function", ""),
        user=notes.get(f"{LABEL_PREFIX}/user", ""),
        project=notes.get(f"{LABEL_PREFIX}/project", ""),
        state=state,
        attempt=max(1, len(attempts)),
        reason=why[0],
        message=why[1],
        exit_code=end.exit_code if end else None,
        signal=end.signal if end else None,
        queued=moment_of(meta["creationTimestamp"]) or 0.0,
        started=started,
        ended=(ended or _over_at(status)) if state in {"succeeded", "failed"} else None,
        node=pod.node if pod else "",
        image=container["image"],
        resources=dict((container.get("resources") or {}).get("limits") or {}),
    )


def view_run(lease: Mapping[str, Any], jobs: Sequence[JobView] = ()) -> RunView:
    """Return what a Lease says; *jobs* are the Jobs of any runs."""
    meta, spec = lease["metadata"], lease["spec"]
    notes = meta.get("annotations") or {}
    run = meta["labels"][f"{LABEL_PREFIX}/run"]
    states = [job.state for job in jobs if job.run == run]
    return RunView(
        id=run,
        user=notes.get(f"{LABEL_PREFIX}/user", ""),
        project=notes.get(f"{LABEL_PREFIX}/project", ""),
        client=spec.get("holderIdentity") or "",
        begun=moment_of(meta.get("creationTimestamp")) or 0.0,
        renewed=moment_of(spec.get("renewTime")),
        lasts=float(spec.get("leaseDurationSeconds") or 0),
        jobs={state: states.count(state) for state in STATES if state in states},
    )


def moment_of(text: str | None) -> float | None:
    """Return the Unix time of a time stamp of the API."""
    return datetime.fromisoformat(text).timestamp() if text else None


def server_time(headers: Mapping[str, str]) -> float | None:
    """Return the Unix time by the clock of who has sent *headers*, to half a second; `None` if they do not say it."""
    try:
        return parsedate_to_datetime(headers["Date"]).timestamp() + 0.5
    except (KeyError, ValueError):
        return None


def ago(seconds: float | None) -> str:
    """Return a stretch of time in a few characters, as in ``42s``, ``3m``, ``2h05m`` or ``4d``; empty for `None`."""
    if seconds is None:
        return ""
    whole = max(0, int(seconds))
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02d}m"
    return f"{whole // _DAY}d"


def receipt_of(receipt: bytes) -> dict[str, str]:
    """Return the head of a receipt; empty if the runner wrote none."""
    try:
        return read_head(RECEIPT, receipt)[0]
    except FormatError:
        return {}


def _state(job: Mapping[str, Any], pod: Pod | None) -> State:
    done = {each["type"] for each in _conditions(job) if each["status"] == "True"} - {"Suspended"}
    if pod is not None and pod.has_ended:
        end = end_of(pod)
        if end.exit_code == 0:
            return "succeeded" if receipt_of(end.receipt).get("status") in {None, "value"} else "failed"
        if not done and (pod.disrupted or pod.failures < job["spec"].get("backoffLimitPerIndex", 0)):
            # The Job tries again; where it does not, it says so a moment later.
            return "pending"
        return "failed"
    if done & {"Complete", "Failed"}:
        return "succeeded" if "Complete" in done else "failed"
    return "running" if pod is not None and pod.state == "running" else "pending"


def _waits(job: Mapping[str, Any], pod: Pod | None, refusal: Diagnosis | None, state: State) -> tuple[str, str]:
    """Return reason and message of a Job that has not ended."""
    if "deletionTimestamp" in job["metadata"]:
        return "Deleting", "its Job is being deleted"
    if state == "running":
        return "", ""
    if job["spec"].get("suspend"):
        return "Suspended", _words(job, "Suspended")
    if pod is not None and pod.has_ended:
        return "Retrying", "its last attempt failed, and the Job makes another one"
    return _waits_for_pod(job, pod, refusal)


def _waits_for_pod(job: Mapping[str, Any], pod: Pod | None, refusal: Diagnosis | None) -> tuple[str, str]:
    found = diagnose(pod, job, refusal)
    if found is not None:
        return found.reason, found.message
    if pod is None:
        return "NoPod", "its pod has not been made yet"
    return pod.details.get("reason") or "Scheduled", pod.details.get("message") or ""


def _ended(job: Mapping[str, Any], pod: Pod | None) -> tuple[str, str]:
    """Return reason and message of a Job that has ended."""
    if pod is None or not pod.has_ended:
        failed = next((each for each in _conditions(job) if each["type"] == "Failed"), {})
        return failed.get("reason", ""), failed.get("message", "")
    end = end_of(pod)
    receipt = receipt_of(end.receipt)
    if receipt.get("status") == "exception":
        return "Raised", ""
    if receipt.get("status") == "failed":
        text = end.receipt.partition(b"\n\n")[2].decode(errors="replace").strip()
        return end.reason or receipt.get("kind", ""), text
    if end.exit_code == 0:
        return "", ""
    word = pod.disrupted or end.reason or end.signal or f"exit-{end.exit_code}"
    return word, end.message


def _times(pod: Pod | None) -> tuple[float | None, float | None]:
    if pod is None or pod.state not in {"running", "terminated"}:
        return None, None
    return moment_of(pod.details.get("startedAt")), moment_of(pod.details.get("finishedAt"))


def _over_at(status: Mapping[str, Any]) -> float | None:
    conditions = [each for each in status.get("conditions") or () if each["type"] in {"Complete", "Failed"}]
    return moment_of(conditions[0].get("lastTransitionTime")) if conditions else None


def _words(job: Mapping[str, Any], kind: str) -> str:
    return next((each.get("message", "") for each in _conditions(job) if each["type"] == kind), "")


def _conditions(job: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return (job.get("status") or {}).get("conditions") or ()


def _with_dates(values: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    dates = {name: datetime.fromtimestamp(values[name], UTC).isoformat() for name in names if values[name] is not None}
    return {**values, **dates}
