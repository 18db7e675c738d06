"""How a build ended without an image, as an error that shows the step, the last lines, the Dockerfile and a remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ascend.errors import BuildOutOfMemoryError, BuildStartError, BuildTimeoutError, ImageBuildError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ascend.building.build_options import BuildOptions
    from ascend.building.recipes import Failure
    from ascend.model import JobStatus

__all__ = ["SHOWN_LINES", "Attempt", "build_error"]

SHOWN_LINES = 20
"""How many of the last lines of a log an error shows."""

_NEVER_RAN = {
    "ErrImagePull": "see to the name of base_image, or to that of the builder's own image, and to registry_secret",
    "CreateContainerConfigError": "what its pod refers to must be in the namespace of the build: see to index_secret",
    "ExceededQuota": "lower cpu or memory in [plugins.build], or have the quota raised",
    "FailedCreate": "a rule of the namespace forbids its pod: set build_namespace to one that admits this builder",
    "StartError": "the image has no such program: the builder needs another base_image",
    "Unschedulable": "lower cpu or memory in [plugins.build], or wait longer by queue_timeout",
    "QueueTimeout": "wait longer by queue_timeout",
}


class Attempt(NamedTuple):
    """What was tried: by the *builder*, for the requirements in *what*, as *key*, with *dockerfile* if there is one."""

    builder: str
    what: str
    key: str
    dockerfile: str
    options: BuildOptions


class _Verdict(NamedTuple):
    kind: type[ImageBuildError]
    why: str
    remedy: str = ""


def build_error(attempt: Attempt, status: JobStatus, lines: Sequence[str], failure: Failure) -> ImageBuildError:
    """Return the error of a build that ended as *status* says; *failure* is what its recipe read from it."""
    kind, why, remedy = _verdict(status, failure, attempt.options)
    last = tuple(lines[-SHOWN_LINES:])
    step = f" at {failure.step!r}" if failure.step else ""
    text = [f"the image of {attempt.what} could not be built by {attempt.builder}{step}: {why}"]
    if remedy:
        text[0] += f"; {remedy}"
    if last:
        text.append(f"The last lines of its log (`ascend image logs {attempt.key[:12]}` has all for a while):")
        text += [f"  {line}" for line in last]
    if attempt.dockerfile:
        text.append("The Dockerfile:")
        text += [f"  {number:3} {line}" for number, line in enumerate(attempt.dockerfile.splitlines(), 1)]
    error = kind("\n".join(text), step=failure.step, lines=last, dockerfile=attempt.dockerfile)
    error.__cause__ = failure.cause
    return error


def _verdict(status: JobStatus, failure: Failure, options: BuildOptions) -> _Verdict:
    reason = status.reason
    if reason in _NEVER_RAN:
        return _Verdict(BuildStartError, f"its pod never ran: {status.message}", _NEVER_RAN[reason])
    if reason == "DeadlineExceeded":
        why = f"it ran longer than {options.timeout:g} s"
        return _Verdict(BuildTimeoutError, why, "raise timeout or cpu in [plugins.build]")
    # A pod that is deleted, evicted or late is killed too, and says so.
    if reason == "OOMKilled" or (status.signal == "SIGKILL" and not reason):
        why = f"it needed more than its memory, {options.memory}"
        return _Verdict(BuildOutOfMemoryError, why, "raise memory in [plugins.build]")
    if reason in {"Deleted", "PodDeleted"}:
        return _Verdict(ImageBuildError, "somebody deleted its Job or its pod", "run it again")
    if reason:
        return _Verdict(ImageBuildError, f"its pod was lost: {status.message or reason}", "run it again")
    why = failure.message or f"it ended with exit code {status.exit_code}"
    return _Verdict(ImageBuildError, f"{status.message}: {why}" if status.message else why)
