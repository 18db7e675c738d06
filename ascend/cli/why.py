"""Why a Job waits or failed: one pure function from what the cluster says to sentences, its words, and advice."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ascend.cli.state import ago

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ascend.cli.state import JobView

__all__ = ["Why", "explain_job"]


@dataclass(frozen=True, slots=True)
class Why:
    """A *sentence* about a Job, what the cluster said in its own *words*, and what to *do*."""

    sentence: str
    words: tuple[str, ...] = ()
    do: str = ""

    def lines(self) -> Iterator[str]:
        """Yield it for people."""
        yield self.sentence
        for line in self.words:
            yield f"  {line}"
        if self.do:
            yield f"To do: {self.do}"

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)


_WAITS = {
    "CreateContainerConfigError": (
        "Its container cannot be made, because something that it refers to is missing.",
        "create the Secret, key or volume claim in the namespace, or correct secrets",
    ),
    "ErrImagePull": (
        "Its image cannot be pulled.",
        "correct base_image, or give the nodes the right to pull it",
    ),
    "ExceededQuota": (
        "The quota of the namespace is used up.",
        "wait, delete Jobs that have ended, ask for less cpu, memory or gpus, or have the quota raised",
    ),
    "FailedCreate": (
        "The cluster refuses its pod.",
        "change what the rule names; `ascend doctor` tries the same with a pod that does nothing",
    ),
    "Deleting": ("Its Job is being deleted.", ""),
    "NoPod": ("Its pod has not been made yet, and the cluster does not say why.", "wait a few seconds and ask again"),
    "Retrying": ("Its last attempt failed, and the next one has not started yet.", ""),
    "Suspended": (
        "Its Job is suspended: a queue has not admitted it yet.",
        "ask the administrators of the queue, or wait",
    ),
    "Unschedulable": (
        "No node has room for it, or none may have it.",
        "ask for less cpu, memory or gpus, correct node_type, or wait until others have ended",
    ),
}
_FAILED = {
    "BackoffLimitExceeded": ("All of its attempts failed, and their pods are gone.", ""),
    "DeadlineExceeded": ("It ran longer than it may.", "raise timeout, or give it less to do"),
    "Evicted": ("Its pod was evicted from its node.", "ask for the memory and the disk space that it needs"),
    "OOMKilled": ("It was killed because it used more memory than it was given.", "raise memory"),
    "PodDeleted": ("Its pod was deleted by somebody.", "retries=1 makes another attempt"),
    "Raised": (
        "The function raised an exception.",
        "its traceback is in the exception that the client got; `ascend jobs logs` shows what it printed",
    ),
    "encode": ("What the function returned cannot be pickled.", "return something that can"),
    "initializer": ("The executor's initializer raised.", "correct it; `ascend explain` tries a call without it"),
    "load": ("The call could not be read where it ran.", "`ascend explain` says what is missing there"),
    "storage": ("The storage could not be reached from the pod.", "`ascend doctor` checks it from here"),
    "timeout": ("The function ran longer than its timeout.", "raise timeout, or give it less to do"),
    "version": ("The image has another Python than the client.", "correct base_image"),
}
# Reasons of events about a pod that is on its way, the most telling first.
_ON_THE_WAY = (
    ("NotTriggerScaleUp", "The autoscaler cannot add a node that it would fit on."),
    ("TriggeredScaleUp", "The autoscaler adds a node for it, which takes some minutes."),
    ("Nominated", "The autoscaler prepares a node for it."),
    ("FailedMount", "A volume of it cannot be mounted."),
    ("FailedAttachVolume", "A volume of it cannot be attached."),
    ("FailedCreatePodSandBox", "The node cannot set up its network."),
    ("Pulling", "Its node pulls the image."),
)
_SHOWN = (
    "FailedCreate",
    "FailedScheduling",
    *(reason for reason, _ in _ON_THE_WAY),
    "Failed",
    "BackOff",
    "Evicted",
    "Preempted",
)
_MOST_WORDS = 5


def explain_job(view: JobView, events: Sequence[Mapping[str, Any]], now: float) -> Why:
    """Return why a Job is where it is; *events* are those of the Job and its pods."""
    if view.state == "succeeded":
        return Why(f"It succeeded{_after(view)}.")
    if view.state == "running":
        attempt = f", in attempt {view.attempt}" if view.attempt > 1 else ""
        return Why(f"It runs on {view.node or 'a node'} since {ago(view.duration(now))}{attempt}.")
    words = _words(view, events)
    if view.state == "failed":
        sentence, advice = _FAILED.get(view.reason) or _death(view)
        return Why(f"It failed{_after(view)}. {sentence}", words, advice)
    sentence, advice = _waiting(view, {each.get("reason") for each in events})
    return Why(f"It waits since {ago(now - view.queued)}. {sentence}", words, advice)


def _waiting(view: JobView, reasons: set[Any]) -> tuple[str, str]:
    known = _WAITS.get(view.reason)
    if known is not None and view.reason != "Unschedulable":
        return known
    if "Pulled" in reasons:
        reasons = reasons - {"Pulling"}
    for reason, sentence in _ON_THE_WAY:
        if reason in reasons:
            advice = known[1] if known and reason == "NotTriggerScaleUp" else ""
            return (f"{known[0]} {sentence}" if known else sentence), advice
    return known or (f"Its pod is on {view.node or 'its way'}, and its container is being made.", "")


def _death(view: JobView) -> tuple[str, str]:
    """Return how a process ended that left no word."""
    logs = f"`ascend jobs logs {view.name}` shows what it wrote last"
    if view.signal is not None:
        return f"Its process was ended by {view.signal}.", logs
    if view.exit_code is not None:
        return f"Its process exited with {view.exit_code} before it answered.", logs
    return "Its pod is gone, and with it all that could tell why.", ""


def _after(view: JobView) -> str:
    took = view.duration(view.ended or 0.0) if view.ended else None
    return "" if took is None else f" after {ago(took)}"


def _words(view: JobView, events: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return what the cluster says: the message of the state, and the newest event of each telling reason."""
    newest: dict[str, str] = {}
    for event in sorted(events, key=_moment):
        if event.get("reason") in _SHOWN:
            newest[event["reason"]] = " ".join(str(event.get("message", "")).split())
    lines = [*view.message.splitlines()[-_MOST_WORDS:]]
    # An event often repeats what the state says.
    lines += [f"{reason}: {text}" for reason, text in newest.items() if text and text not in view.message]
    return tuple(lines)


def _moment(event: Mapping[str, Any]) -> str:
    return event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or ""
