"""From the last status of a Job to the value or the exception of its future: one pure function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ascend._core import wire
from ascend._core.install_words import remedy_of
from ascend.errors import (
    AscendError,
    CallLoadError,
    ContainerConfigError,
    EnvironmentBuildError,
    ImagePullError,
    InitializerError,
    JobRefusedError,
    OutcomeLoadError,
    OutOfMemoryError,
    QueueTimeoutError,
    QuotaExceededError,
    RemoteExecutionError,
    SerializationError,
    StorageError,
    TaskCrashedError,
    TaskDisruptedError,
    TaskError,
    TaskLostError,
    TaskTimeoutError,
    UnschedulableError,
    VersionMismatchError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ascend.interfaces import Serializer
    from ascend.model import JobStatus, Task

__all__ = ["Outcome", "outcome_of"]


# Kubernetes' reasons for the end of a Job that never ran or was taken away, and what to do about each.
_ENDS: Mapping[str, tuple[type[TaskError], str, str]] = {
    "CreateContainerConfigError": (
        ContainerConfigError,
        "its container cannot be made",
        "create what is missing in the namespace, or correct secrets and volumes",
    ),
    "Deleted": (TaskLostError, "its Job was deleted by somebody", ""),
    "Disrupted": (
        TaskDisruptedError,
        "its pods were preempted, drained or evicted too often",
        "set priority, or a node_type that is not taken away",
    ),
    "ErrImagePull": (
        ImagePullError,
        "its image cannot be pulled",
        "correct base_image, or give the namespace the right to pull it",
    ),
    "Evicted": (TaskDisruptedError, "its pod was evicted", "ask for the memory and the disk space that it needs"),
    "ExceededQuota": (
        QuotaExceededError,
        "it needs more than the quota of the namespace allows",
        "ask for less cpu, memory or gpus, or have the quota raised",
    ),
    "FailedCreate": (
        JobRefusedError,
        "the cluster refuses its pod",
        "see what the rule asks for; plugins and job_patch can change the Job",
    ),
    "NodeLost": (TaskLostError, "the machine under it went away", "submit it again"),
    "PodDeleted": (TaskLostError, "its pod was deleted by somebody", "retries makes another attempt"),
    "QueueTimeout": (QueueTimeoutError, "it did not start within queue_timeout", "set queue_timeout to wait longer"),
    "StartError": (
        ContainerConfigError,
        "its container cannot start",
        "choose a base_image with a `python` of this minor version",
    ),
    "Unreachable": (TaskLostError, "the cluster could not be reached any more", ""),
    "Unschedulable": (
        UnschedulableError,
        "no node took it within queue_timeout",
        "ask for less cpu, memory or gpus, correct node_type, or set queue_timeout to wait longer",
    ),
}


class Outcome(NamedTuple):
    """What a task came to, and when its phases began there (Unix time)."""

    value: Any = None
    exception: BaseException | None = None
    times: tuple[float, ...] = ()


def outcome_of(
    task: Task,
    status: JobStatus,
    last_lines: tuple[str, ...],
    fetch: Callable[[str], memoryview],
    serializer: Serializer,
) -> Outcome:
    """Return the outcome of a Job that has ended; *fetch* gets it from ``storage`` or from the ``output``.

    Nothing is unpickled whose digest is not the one in the receipt.
    """
    try:
        fields, start = wire.read_head(wire.RECEIPT, status.receipt)
        _check_receipt(fields)
    except (wire.FormatError, KeyError, ValueError):
        # A process that dies leaves none; Kubernetes puts the end of the log in its place.
        return Outcome(exception=_death(task, status, last_lines))
    body = status.receipt[start:]
    if fields["status"] == "failed":
        return Outcome(exception=_failure(task, fields["kind"], body.decode(errors="replace")))
    where = fields["where"]
    return _read(task, fields, lambda: wire.unpack_inline(body) if where == "inline" else fetch(where), serializer)


def _read(task: Task, fields: dict[str, str], fetch: Callable[[], memoryview], serializer: Serializer) -> Outcome:
    """Return the value or exception that the receipt announces."""
    times = tuple(float(moment) for moment in fields["times"].split(","))
    try:
        head, parts = wire.check(fetch(), fields["digest"])
        if head["python"] != wire.python_minor():
            there, here = head["python"], wire.python_minor()
            message = f"the answer of {task.function} was pickled by Python {there}, and here is {here}"
            raise VersionMismatchError(message, task_id=task.id)  # noqa: TRY301 - it is one of the ways in which reading fails
        loaded = serializer.loads(parts[0], parts[1:])
        if fields["status"] == "exception":
            loaded = _exception(task, loaded, serializer)
    except AscendError as exc:
        return Outcome(exception=exc, times=times)
    except BaseException as exc:  # noqa: BLE001 - unpickling runs whatever the class of the value likes
        return Outcome(exception=_unreadable(task, exc, fields["where"]), times=times)
    if fields["status"] == "exception":
        return Outcome(exception=loaded, times=times)
    return Outcome(value=loaded, times=times)


def _check_receipt(fields: dict[str, str]) -> None:
    """Raise `KeyError` or `ValueError` if a receipt does not say all that its status promises."""
    if fields["status"] == "failed":
        fields["kind"]
        return
    for name in ("digest", "where", "size"):
        fields[name]
    [float(moment) for moment in fields["times"].split(",")]


def _exception(task: Task, row: tuple[str, str, str, bytes | None, str], serializer: Serializer) -> BaseException:
    """Return the function's exception as itself, with its remote traceback where `ProcessPoolExecutor` puts it."""
    remote_type, message, text, pickled, reason = row
    if pickled is not None:
        try:
            exc = wire.restore_exception(serializer.loads(pickled, ()))
        except BaseException as failure:  # noqa: BLE001 - as in outcome_of
            reason = f"it cannot be unpickled here ({type(failure).__name__}: {failure})"
        else:
            _attach_traceback(exc, text)
            return exc
    else:
        reason = f"it cannot be pickled there ({reason})"
    error = RemoteExecutionError(
        f"{task.function} raised {remote_type}: {message}\n\nIt does not come as itself because {reason}.\n\n{text}",
        task_id=task.id,
        remote_type=remote_type,
        remote_message=message,
        remote_traceback=text,
    )
    _attach_traceback(error, text)
    return error


def _attach_traceback(exc: BaseException, text: str) -> None:
    from concurrent.futures.process import _RemoteTraceback  # noqa: PLC0415 - imports multiprocessing, 15 ms

    # The root of the chain is printed first, and the causes that the function set stay what they were.
    seen = set()
    while exc.__cause__ is not None and id(exc) not in seen:
        seen.add(id(exc))
        exc = exc.__cause__
    if exc.__cause__ is None:
        # typeshed takes the argument for a traceback; the class is made for its text.
        exc.__cause__ = _RemoteTraceback(f'\n"""\n{text}"""')  # type: ignore[arg-type]


def _failure(task: Task, kind: str, message: str) -> AscendError:
    """Return what the runner reports under the name *kind*."""
    what = f"the call of {task.function}"
    texts: dict[str, tuple[type[AscendError], str]] = {
        "environment": (
            EnvironmentBuildError,
            f"{what} was not made: {message} in its image; choose a base_image that has it, or another image_builder",
        ),
        "install": (
            EnvironmentBuildError,
            f"{what} was not made: its requirements could not be installed there: {message}{remedy_of(message)}",
        ),
        "initializer": (InitializerError, f"the initializer failed before {what}:\n\n{message}"),
        "load": (CallLoadError, f"{what} could not be read where it was to run:\n\n{message}"),
        "storage": (StorageError, f"{what}: {message}"),
        "timeout": (TaskTimeoutError, f"{task.function} timed out: {message}; set timeout to allow more"),
        "version": (
            VersionMismatchError,
            f"{what} was not made: {message}; use an image with the same minor version, or run the client on it",
        ),
    }
    error, text = texts.get(kind, (SerializationError, f"the answer of {task.function} cannot travel: {message}"))
    return error(text, task_id=task.id) if issubclass(error, TaskError) else error(text)


def _unreadable(task: Task, exc: BaseException, where: str) -> OutcomeLoadError:
    what = f"the answer of {task.function} cannot be read here: {type(exc).__name__}: {exc}"
    if where == "output" and isinstance(exc, wire.FormatError):
        what = (
            f"the answer of {task.function} came back between the lines of its output, and lines of the output were "
            f"lost, as when the cluster rotates a log: {exc}; with a storage it takes another way: set storage, as in "
            "ASCEND_STORAGE=s3://bucket/prefix"
        )
    error = OutcomeLoadError(what, task_id=task.id)
    error.__cause__ = exc
    return error


def _death(task: Task, status: JobStatus, last_lines: tuple[str, ...]) -> AscendError:
    limit = task.needs.memory
    end: dict[str, Any] = {"task_id": task.id, "last_lines": last_lines}
    quoted = "".join(f"\n    {line}" for line in last_lines)
    tail = f"; its last lines were:{quoted}" if quoted else "; it wrote nothing"
    if status.reason == "OOMKilled":
        message = f"{task.function} ran out of memory: it needed more than memory={limit!r}{tail}"
        return OutOfMemoryError(message, signal="SIGKILL", **end)
    if status.reason == "DeadlineExceeded":
        return TaskTimeoutError(f"{task.function} timed out: it was stopped by the cluster{tail}", task_id=task.id)
    if status.reason in _ENDS:
        kind, what, hint = _ENDS[status.reason]
        words = f": {status.message.rstrip('. ')}" if status.message else ""
        advice = f"; {hint}" if hint else ""
        return kind(f"{task.function} (Job {status.job_name}) was not done: {what}{words}{advice}", task_id=task.id)
    if status.signal is not None:
        message = f"the process of {task.function} was killed by {status.signal}{_hint(status.signal)}{tail}"
        return TaskCrashedError(message, signal=status.signal, **end)
    if status.exit_code is None:
        return TaskLostError(f"the Job {status.job_name} of {task.function} is lost: {status.reason}", task_id=task.id)
    message = f"the process of {task.function} exited with code {status.exit_code} before it answered{tail}"
    return TaskCrashedError(message, exit_code=status.exit_code, **end)


def _hint(signal: str) -> str:
    if signal == "SIGKILL":
        return " (if nobody did that, the system ran out of memory)"
    if signal == "SIGSEGV":
        return " (a crash in compiled code)"
    return ""
