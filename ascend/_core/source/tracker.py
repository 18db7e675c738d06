"""The source of the user's project that travels with calls: what it is now, found again only when something changed."""

from __future__ import annotations

import sys
import threading
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING

from ascend._core.source.archive import make_archive
from ascend._core.source.finder import Finder, ShippedFile, SkippedFile
from ascend._core.source.local_modules import (
    exists_only_here,
    is_excluded,
    is_local_file,
    local_module_reason,
    module_file,
)
from ascend._core.source.rules import stamp
from ascend.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ShippedFile",
    "SkippedFile",
    "Source",
    "SourceTracker",
    "exists_only_here",
    "local_module_reason",
]

TOTAL_LIMIT = 100 * 1024 * 1024
_NAMED_IN_ERRORS = 5


class Source:
    """The files that travel and those that stay here, as they were at one moment."""

    def __init__(self, files: Iterable[ShippedFile] = (), skipped: Iterable[SkippedFile] = ()) -> None:
        self.files = tuple(sorted(files, key=lambda file: file.path))
        self.skipped = tuple(sorted(skipped, key=lambda file: file.path))
        self._archive: bytes | None = None
        self._digest: str | None = None
        self._guard = threading.Lock()

    @property
    def digest(self) -> str:
        """The SHA-256 of the archive, in hexadecimal; empty if nothing travels."""
        if self._digest is None:
            self._digest = sha256(self.archive()).hexdigest() if self.files else ""
        return self._digest

    def archive(self) -> bytes:
        """Return all files as a zip, the same bytes for the same files; `SourceError` if one cannot be read."""
        with self._guard:
            if self._archive is None:
                self._archive = make_archive((file.path, file.origin) for file in self.files)
            return self._archive


class SourceTracker:
    """Knows the source as it is now; looks again when modules were loaded, and at files every *interval* seconds."""

    def __init__(self, interval: float = 0.1, limit: int = TOTAL_LIMIT) -> None:
        self._interval = interval
        self._limit = limit
        self._guard = threading.Lock()
        self._source: Source | None = None
        self._error = ""
        self._count = -1
        self._next_look = 0.0
        self._modules: frozenset[str] = frozenset()
        self._path: tuple[str, ...] = ()
        self._stamps: dict[str, tuple[int, int] | None] = {}

    def current(self) -> Source:
        """Return the source as it is now; the same object while nothing changed.

        `SourceError` if it is too large to travel.
        """
        source = self._source
        if source is not None and len(sys.modules) == self._count and monotonic() < self._next_look:
            return source
        with self._guard:
            return self._look()

    def _look(self) -> Source:
        count = len(sys.modules)
        names = frozenset(sys.modules.copy())
        if self._is_stale(names):
            self._search()
        self._modules, self._count, self._next_look = names, count, monotonic() + self._interval
        if self._source is None:
            raise SourceError(self._error)
        return self._source

    def _is_stale(self, names: frozenset[str]) -> bool:
        if self._source is None and not self._error:
            return True
        if any(_is_local(name) for name in names - self._modules):
            return True
        if monotonic() < self._next_look:
            return False
        return self._path != tuple(sys.path) or any(stamp(path) != old for path, old in self._stamps.items())

    def _search(self) -> None:
        self._path = tuple(sys.path)
        finder = Finder()
        finder.search()
        self._stamps = finder.stamps
        self._error = _too_large(finder.files.values(), self._limit)
        self._source = None if self._error else Source(finder.files.values(), finder.skipped.values())


def _is_local(name: str) -> bool:
    path = None if is_excluded(name) else module_file(sys.modules.get(name))
    return path is not None and is_local_file(path)


def _too_large(files: Iterable[ShippedFile], limit: int) -> str:
    by_size = sorted(files, key=lambda file: file.size, reverse=True)
    total = sum(file.size for file in by_size)
    if total <= limit:
        return ""
    largest = ", ".join(f"{file.origin} ({_mebibytes(file.size)})" for file in by_size[:_NAMED_IN_ERRORS])
    return (
        f"the project's source would be {_mebibytes(total)}, and at most {_mebibytes(limit)} travel with a call; "
        f"the largest files are {largest}: name in .gitignore what the call does not need, or move it elsewhere"
    )


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
