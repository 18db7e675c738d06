"""Storage `file://`: keys as files below a folder that client and tasks share."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

from ascend._builtin.obstore_guard import as_bytes, check_key, keys_below, load_obstore, translated
from ascend.errors import KeyNotFoundError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from obstore.store import LocalStore

    from ascend.interfaces import Buffer

__all__ = ["DirectoryStorage"]

_PIECE = 16 * 1024 * 1024


class DirectoryStorage:
    """Files below the folder of a URL such as ``file:///srv/ascend``, which is made at the first use."""

    def __init__(self, url: str) -> None:
        self._root = _folder_of(url)

    @property
    def url(self) -> str:
        return self._root.as_uri()

    @cached_property
    def _opened(self) -> LocalStore:
        obstore = load_obstore()
        with translated("open the storage", self.url):
            store: LocalStore = obstore.store.LocalStore(self._root, mkdir=True)
        return store

    @property
    def _store(self) -> LocalStore:
        load_obstore()
        return self._opened

    def put(self, key: str, buffers: Sequence[Buffer]) -> None:
        check_key(self.url, key)
        with translated(f"write {key!r}", self.url):
            # In one piece it is five times as fast, and just as atomic.
            self._store.put(key, as_bytes(buffers), use_multipart=False)

    def get(self, key: str) -> memoryview:
        check_key(self.url, key)
        changed = load_obstore().exceptions.PreconditionError
        with translated(f"read {key!r}", self.url, missing=KeyNotFoundError):
            while True:
                try:
                    return self._read(key)
                except changed:
                    # The key was replaced between two pieces: what was read belongs to neither content.
                    continue

    def _read(self, key: str) -> memoryview:
        first = self._store.get(key)
        size = first.meta["size"]
        content = memoryview(bytearray(size))
        if size <= _PIECE:
            content[:] = memoryview(first.bytes())
            return content
        # Streams of a LocalStore are slow; pieces are not.
        for start in range(0, size, _PIECE):
            end = min(start + _PIECE, size)
            piece = self._store.get(key, options={"range": (start, end), "if_match": first.meta["e_tag"]})
            content[start:end] = memoryview(piece.bytes())
        return content

    def list(self, prefix: str) -> Iterator[str]:
        return keys_below(self._store, self.url, prefix)

    def delete(self, prefix: str) -> None:
        check_key(self.url, prefix)
        path = self._path(prefix)
        with translated(f"delete {prefix!r}", self.url):
            if path.is_dir() and not path.is_symlink():
                _remove_folder(path)
            else:
                path.unlink(missing_ok=True)

    def sign(self, key: str, method: Literal["GET", "PUT"], *, lifetime: float) -> str:  # noqa: ARG002 - a file is a file
        check_key(self.url, key)
        return self._path(key).as_uri()

    def _path(self, key: str) -> Path:
        return self._root.joinpath(*key.split("/"))


def _remove_folder(folder: Path) -> None:
    # obstore would leave the folders and what a killed writer left half-written.
    while folder.exists():
        # Somebody else may be removing the same things.
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)


def _folder_of(url: str) -> Path:
    parts = urlsplit(url)
    host = "" if parts.netloc == "localhost" else parts.netloc
    # Only Windows has a meaning for the host: \\host\share.
    folder = Path(_path_of(f"//{host}{parts.path}" if host else parts.path))
    if (host and os.name != "nt") or parts.query or parts.fragment or not folder.is_absolute():
        msg = f"{url!r} names no folder: write file:///absolute/path, with spaces and the like as in pathlib's as_uri()"
        raise StorageError(msg)
    return folder


def _path_of(path: str) -> str:
    if os.name != "nt":
        return unquote(path)
    from urllib.request import url2pathname  # noqa: PLC0415 - 20 ms, and it knows drives, which only Windows has

    return url2pathname(path)
