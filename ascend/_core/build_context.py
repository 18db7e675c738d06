"""The user's own Dockerfile and the files beside it, as an environment has them."""

from __future__ import annotations

import io
import tarfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ascend.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["NO_DOCKERFILE", "Dockerfile", "Dockerfiles"]

_IGNORE = ".dockerignore"
_LARGEST = 100_000_000
_EXECUTABLE, _PLAIN = 0o755, 0o644


class Dockerfile(NamedTuple):
    """The *text*, and the *context*: the folder around it as an uncompressed tar, the same for the same files."""

    text: str | None = None
    context: bytes | None = None


NO_DOCKERFILE = Dockerfile()


class Dockerfiles:
    """Reads Dockerfiles once, so that all tasks of an executor have the same; their paths are seen from *folder*."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._known: dict[str, Dockerfile] = {}
        self._guard = threading.Lock()

    def read(self, name: str | None) -> Dockerfile:
        """Return the Dockerfile called *name* and its files; `ConfigError` if it cannot be read, or is too large."""
        if name is None:
            return NO_DOCKERFILE
        with self._guard:
            if name not in self._known:
                self._known[name] = _read((self._folder or Path.cwd()) / name, name)
            return self._known[name]


def _read(path: Path, name: str) -> Dockerfile:
    try:
        return Dockerfile(path.read_text(encoding="utf-8"), _packed(path, name))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"dockerfile = {name!r}: {path} and the files beside it cannot be read: {exc}") from exc


def _packed(dockerfile: Path, name: str) -> bytes:
    folder, packed, size = dockerfile.parent, io.BytesIO(), 0
    kept = {dockerfile.name, _IGNORE}
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in _files(folder, _ignored(folder)):
            relative = path.relative_to(folder).as_posix()
            entry = archive.gettarinfo(path, relative)
            if entry.islnk():
                # Each name of a hard-linked file is a file: that they share their bytes is this machine's affair.
                entry.type, entry.linkname, entry.size = tarfile.REGTYPE, "", path.stat().st_size
            entry.uid = entry.gid = entry.mtime = 0
            entry.uname = entry.gname = ""
            # Of its rights, only this one is the file's and not its owner's.
            entry.mode = _EXECUTABLE if entry.mode & 0o100 else _PLAIN
            size += entry.size
            if size > _LARGEST and relative not in kept:
                raise ConfigError(
                    f"dockerfile = {name!r}: the files in {folder} have more than {_LARGEST:,} bytes: keep out by a "
                    f"{_IGNORE} what the image does not need, or move the Dockerfile to a folder of its own"
                )
            if entry.isreg():
                with path.open("rb") as file:
                    archive.addfile(entry, file)
            elif entry.issym():
                archive.addfile(entry)
    return packed.getvalue()


def _files(folder: Path, is_ignored: Callable[[str], bool]) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if (path.is_symlink() or not path.is_dir()) and not is_ignored(relative):
            yield path


def _ignored(folder: Path) -> Callable[[str], bool]:
    """Return what tells whether the rules of the folder keep a file out."""
    rules = folder / _IGNORE
    if not rules.is_file():
        return lambda _: False
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 - few have rules

    lines = [line.strip() for line in rules.read_text(encoding="utf-8").splitlines()]
    written = [line for line in lines if line and not line.startswith("#")]
    # Git's begin anywhere below the folder, Docker's at the folder itself; and in Docker's the last one always wins.
    specs = [(line[0] == "!", GitIgnoreSpec.from_lines([f"/{line.lstrip('! ').strip('/')}"])) for line in written]

    def is_ignored(name: str) -> bool:
        matches = [keeps for keeps, spec in specs if spec.match_file(name)]
        # A builder reads the rules again, by its own letter.
        return bool(matches) and not matches[-1] and name != _IGNORE

    return is_ignored
