"""From the last status of a Job to the value or the exception of its future: one pure function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ascend._core import wire
from ascend.errors import (
    AscendError,
    CallLoadError,
    InitializerError,
    OutcomeLoadError,
    OutOfMemoryError,
    RemoteExecutionError,
    SerializationError,
    StorageError,
    TaskCrashedError,
    TaskLostError,
    TaskTimeoutError,
    VersionMismatchError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ascend.interfaces import Serializer
    from ascend.model import JobStatus, Task

__all__ = ["Outcome", "outcome_of"]


class Outcome(NamedTuple):
    """What a task came to, and when its phases began there (Unix time)."""

    value: Any = None
    exception: BaseException | None = None
    times: tuple[float, ...] = ()


def outcome_of(
    task: Task,
    status: JobStatus,
    last_lines: tuple[str, ...],
    fetch: Callable[[], memoryview],
    serializer: Serializer,
) -> Outcome:
    """Return the outcome of a Job that has ended; *fetch* gets its outcome from storage.

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
    return _read(task, fields, fetch if fields["where"] == "storage" else lambda: wire.unpack_inline(body), serializer)


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
        return Outcome(exception=_unreadable(task, exc), times=times)
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
    what = f"the call of {task.function}"
    if kind == "version":
        hint = "use an image with the same minor version, or run the client on it"
        return VersionMismatchError(f"{what} was not made: {message}; {hint}", task_id=task.id)
    if kind == "load":
        return CallLoadError(f"{what} could not be read where it was to run:\n\n{message}", task_id=task.id)
    if kind == "initializer":
        return InitializerError(f"the initializer failed before {what}:\n\n{message}", task_id=task.id)
    if kind == "timeout":
        return TaskTimeoutError(f"{task.function} timed out: {message}; set timeout to allow more", task_id=task.id)
    if kind == "storage":
        return StorageError(f"{what}: {message}")
    return SerializationError(f"the answer of {task.function} cannot travel: {message}")


def _unreadable(task: Task, exc: BaseException) -> OutcomeLoadError:
    error = OutcomeLoadError(
        f"the answer of {task.function} cannot be read here: {type(exc).__name__}: {exc}", task_id=task.id
    )
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
    if status.reason == "Deleted":
        return TaskLostError(f"the Job {status.job_name} of {task.function} was deleted by somebody", task_id=task.id)
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
