"""What travels for one task as the client sees it: the call on its way out, the outcome on its way back, their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ascend import __version__
from ascend._core import wire
from ascend.errors import SerializationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ascend.interfaces import Serializer
    from ascend.model import Task

__all__ = ["Call", "PackedCall", "job_prefix", "log_key", "pack_call", "pickle_call", "source_key"]


class Call(NamedTuple):
    """A function and its arguments, and what must run before it in its process."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    initializer: tuple[Callable[..., object], tuple[Any, ...]] | None = None


class PackedCall(NamedTuple):
    """A call ready to travel: the parts of its bundle, or all of it as text if it is small."""

    digest: str
    inline: str | None
    parts: list[bytes | memoryview]


def job_prefix(task: Task) -> str:
    """Return the key below which everything of one task lies."""
    return f"projects/{task.project}/users/{task.user}/jobs/{task.job_name}"


def log_key(project: str, user: str, job_name: str) -> str:
    """Return the key of what a failed task has written; nothing else of it is kept."""
    return f"projects/{project}/users/{user}/jobs/{job_name}/log"


def source_key(task: Task, digest: str) -> str:
    """Return the key of a source archive, shared by all tasks that ship the same files."""
    return f"projects/{task.project}/users/{task.user}/source/{digest}"


def lock_key(task: Task, digest: str) -> str:
    """Return the key of a lock that is too large to be placed."""
    return f"projects/{task.project}/users/{task.user}/locks/{digest}.txt"


def tool_key(task: Task, digest: str) -> str:
    """Return the key of a program that pods need, shared by all tasks of the user's project."""
    return f"projects/{task.project}/users/{task.user}/tools/{digest}"


def pickle_call(call: Call, serializer: Serializer) -> tuple[bytes, list[memoryview]]:
    """Return the call as bytes and out-of-band buffers; `SerializationError` names what cannot be pickled."""
    buffers: list[Any] = []
    row = (call.initializer, call.function, call.args, dict(call.kwargs))
    try:
        payload = serializer.dumps(row, buffers.append)
    except Exception as exc:
        raise _explain(call, serializer, exc) from exc
    return payload, [buffer.raw() for buffer in buffers]


def pack_call(call: Call, serializer: Serializer, inline_limit: int) -> PackedCall:
    """Pickle and frame a call; as text if that has at most *inline_limit* bytes."""
    payload, buffers = pickle_call(call, serializer)
    parts = wire.frame(payload, buffers, _versions(serializer))
    size = sum(len(part) for part in parts)
    inline = wire.pack_inline(parts).decode() if size <= 4 * inline_limit else None
    if inline is not None and len(inline) > inline_limit:
        inline = None
    return PackedCall(wire.digest_of(parts[0]), inline, parts)


def _versions(serializer: Serializer) -> dict[str, str]:
    import cloudpickle  # noqa: PLC0415 - takes 40 ms, and only who submits needs it

    return {
        "serializer": serializer.name,
        "python": wire.python_minor(),
        "cloudpickle": cloudpickle.__version__,
        "ascend": __version__,
    }


def _explain(call: Call, serializer: Serializer, exc: Exception) -> SerializationError:
    from ascend._core.culprit import find_culprit  # noqa: PLC0415 - only a call that fails needs it

    def dumps(value: object) -> object:
        return serializer.dumps(value, lambda _: None)

    culprit = find_culprit(call.function, call.args, call.kwargs, dumps)
    name = getattr(call.function, "__qualname__", repr(call.function))
    where = f"{culprit} cannot be pickled" if culprit else "it cannot be pickled"
    return SerializationError(f"the call of {name} cannot travel: {where} ({type(exc).__name__}: {exc})")
