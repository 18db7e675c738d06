"""What is known of one Job, and whether another attempt of it follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ascend._builtin.kubernetes.conditions import is_late

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ascend._builtin.kubernetes.diagnosis import Diagnosis
    from ascend._builtin.kubernetes.logs import PodLog
    from ascend._builtin.kubernetes.pods import End, Pod

__all__ = ["TrackedJob"]

_MOST_DISRUPTIONS = 20
# A kubelet that lives has told by then how a pod ended whose grace is over.
_SILENCE_SECONDS = 60.0


@dataclass(slots=True, eq=False)
class TrackedJob:
    """What is known of a Job that was created and has no final status yet."""

    name: str
    retries: int
    final_codes: frozenset[int]
    queue_timeout: float
    created: float
    # Since when it waits for an attempt to begin; `None` while one runs.
    waiting_since: float | None
    # What the server calls it, once it has answered.
    uid: str = ""
    item: Mapping[str, Any] | None = None
    # Attempts by the uid of their pods, in order, and the newest of them.
    attempts: list[str] = field(default_factory=list)
    pod: Pod | None = None
    # Since when that one is being deleted and goes on.
    leaving_since: float | None = None
    began: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    # Those whose ends are just being told: their logs may be long.
    ending: int = 0
    disruptions: int = 0
    logs: dict[str, PodLog] = field(default_factory=dict)
    diagnosis: Diagnosis | None = None
    since: float = 0.0
    # When the Job said that it has ended, though none of its pods did.
    over_at: float | None = None
    asked: bool = False
    deleted_at: float | None = None

    @property
    def runs(self) -> bool:
        """Whether an attempt has begun whose end has not been told."""
        return bool(self.ending or self.began - self.ended)

    def see(self, pod: Pod | None, now: float) -> None:
        """Take note of the newest attempt as it is now; `None` if its pod is gone."""
        same = pod is not None and self.pod is not None and pod.uid == self.pod.uid
        self.pod = pod
        if pod is None or not pod.being_deleted or pod.has_ended:
            self.leaving_since = None
        elif self.leaving_since is None or not same:
            self.leaving_since = now

    def lost_node(self, now: float) -> str | None:
        """Return the node that says nothing of a pod whose grace is long over.

        Its Job makes no other pod before that one has ended, and where the Node object stays nobody else ends it.
        """
        if self.pod is None or self.leaving_since is None:
            return None
        return self.pod.node if now - self.leaving_since > self.pod.grace + _SILENCE_SECONDS else None

    def verdict(self, pod: Pod, end: End) -> tuple[bool, str]:
        """Return whether no attempt follows one that ended so, and the reason of the end."""
        reason = end.reason
        if reason == "PodDeleted" and is_late(self.item):
            # The Job's own deadline has its pods deleted.
            reason = "DeadlineExceeded"
        if end.exit_code == 0 or reason == "DeadlineExceeded" or end.exit_code in self.final_codes:
            return True, reason
        if self.deleted_at is not None:
            return True, "Deleted"
        if pod.disrupted:
            # The Job's policy ignores those, however often they come.
            return self.disruptions > _MOST_DISRUPTIONS, "Disrupted"
        return pod.failures >= self.retries, reason
