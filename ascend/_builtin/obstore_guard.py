"""What stands between obstore and the storages built on it: forks, keys, listings and errors."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ascend.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

    from obstore.store import ObjectStore

    from ascend.interfaces import Buffer


class _Process:
    """What this process knows about its use of obstore."""

    loaded = False
    forked_after_use = False

    @classmethod
    def note_fork(cls) -> None:
        cls.forked_after_use = True


def load_obstore() -> ModuleType:
    """Return the module `obstore`; `StorageError` in a process forked from one that had used it.

    obstore's threads do not survive a fork: a child that uses it hangs, and may hang its parent.
    """
    if _Process.forked_after_use:
        msg = (
            "the storage cannot be used in a process forked from one that used it: "
            "start such processes with the method 'spawn' or 'forkserver', or fork before the first use"
        )
        raise StorageError(msg)
    import obstore  # noqa: PLC0415 - a call that fits into its Job needs no storage

    if not _Process.loaded and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_Process.note_fork)
    _Process.loaded = True
    return obstore


def check_key(url: str, key: str) -> None:
    """Raise `StorageError` unless *key* is relative, with ``/`` between parts that name something."""
    if any(part in {"", ".", ".."} for part in key.split("/")):
        msg = f"{key!r} is no key for {url}: keys are relative, and no part between slashes is empty, '.' or '..'"
        raise StorageError(msg)
    if any(ord(character) < ord(" ") for character in key):
        msg = f"{key!r} is no key for {url}: keys hold no control characters"
        raise StorageError(msg)


def as_bytes(buffers: Sequence[Buffer]) -> list[memoryview]:
    """Return the buffers as the one-dimensional views that obstore takes; nothing is copied."""
    return [memoryview(buffer).cast("B") for buffer in buffers]


@contextmanager
def translated(action: str, url: str, *, missing: type[StorageError] = StorageError) -> Iterator[None]:
    """Turn obstore's errors into a `StorageError` that names *action* and *url*; what is not there into *missing*."""
    try:
        yield
    except FileNotFoundError as exc:
        raise missing(_message(action, url, exc)) from exc
    except _errors() as exc:
        raise StorageError(_message(action, url, exc)) from exc


def keys_below(store: ObjectStore, url: str, prefix: str) -> Iterator[str]:
    """Yield the keys below *prefix*, without *prefix* itself."""
    if prefix:
        check_key(url, prefix)
    with translated(f"list {prefix!r}", url):
        chunks = iter(store.list(prefix or None))
    while True:
        with translated(f"list {prefix!r}", url):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield from (meta["path"] for meta in chunk if meta["path"] != prefix)


def _errors() -> tuple[type[Exception], ...]:
    # Evaluated when something was raised: what works without obstore does not import it.
    own: tuple[type[Exception], ...] = (load_obstore().exceptions.BaseError,) if _Process.loaded else ()
    return (*own, OSError, ValueError, NotImplementedError)


def _message(action: str, url: str, exc: BaseException) -> str:
    # Below the first empty line obstore prints its own structures.
    reason = str(exc).split("\n\n", 1)[0].strip()
    return f"cannot {action} at {url}: {reason}"
