"""Finds the files of the user's project that calls may need: what is loaded, what that imports, what lies beside."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING

from ascend._core.source.imports import imports_of
from ascend._core.source.local_modules import (
    is_excluded,
    is_foreign,
    is_local_file,
    module_file,
    search_locations,
)
from ascend._core.source.rules import FILE_LIMIT, IgnoreRules, folder_reason, name_reason, project_root, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Finder", "ShippedFile", "SkippedFile"]

_INIT = "__init__.py"


@dataclass(frozen=True, slots=True)
class ShippedFile:
    """A file that travels: its *path* in the archive, where it lies here, its size in bytes, and why it is needed."""

    path: str
    origin: Path
    size: int
    why: str


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that stays here, or a folder if *path* ends with ``/``, and why."""

    path: str
    origin: Path
    size: int
    why: str


class Finder:
    """One search. *stamps* are those of everything that was looked at: while they stay, the result stays."""

    def __init__(self) -> None:
        self.files: dict[str, ShippedFile] = {}
        self.skipped: dict[str, SkippedFile] = {}
        self.stamps: dict[str, tuple[int, int] | None] = {}
        self._rules: dict[Path, IgnoreRules] = {}
        self._done: set[str] = set()
        self._asked: set[str] = set()
        # Where they lie, what they are called in messages, and the package against which they import.
        self._unread: list[tuple[Path, str, str]] = []

    def search(self) -> None:
        """Fill *files* and *skipped*."""
        for name, module in sys.modules.copy().items():
            # An alias is made again by whoever made it here.
            if getattr(module, "__name__", None) == name:
                self._add_loaded(name, module)
        self._read_script()
        while self._unread:
            path, name, package = self._unread.pop()
            for imported in imports_of(path, package):
                self._add_named(imported.name, f"imported by {name}")
        for rules in self._rules.values():
            for path in rules.looked_at:
                self.stamps[str(path)] = stamp(str(path))

    def _read_script(self) -> None:
        main = sys.modules.get("__main__")
        path = module_file(main)
        if path is None or is_foreign(path) or not Path(path).is_file():
            return
        self.stamps[path] = stamp(path)
        spec = getattr(main, "__spec__", None)
        self._unread.append((Path(path), Path(path).name, spec.parent if spec else ""))

    def _add_loaded(self, name: str, module: object) -> None:
        path = None if is_excluded(name) else module_file(module)
        if path is None or not is_local_file(path):
            return
        parts = name.split(".")
        for length in range(1, len(parts)):
            prefix = ".".join(parts[:length])
            parent = sys.modules.get(prefix)
            file = module_file(parent)
            if file is not None and _is_init(file):
                self._add_below_package(prefix, file, name, path)
                return
        self._add_module(name, path, "loaded")

    def _add_below_package(self, package: str, init: str, name: str, path: str) -> None:
        if not is_local_file(init):
            origin = Path(path)
            why = f"part of the installed package {package}; put it into a package of its own"
            self._skip(_archive_name(name, path), origin, why)
            return
        self._add_module(package, init, "loaded")
        # Most lie in the package's folder; one that an extended __path__ brought does not.
        self._add_file(_archive_name(name, path), Path(path), "loaded", reached=True)

    def _add_named(self, name: str, why: str) -> None:
        top, _, rest = name.partition(".")
        if name in self._asked or is_excluded(top) or top in sys.stdlib_module_names:
            return
        self._asked.add(name)
        found = search_locations(top)
        if found is None:
            return
        file, folders = found
        if file is not None:
            if is_local_file(file):
                self._add_module(top, file, why)
                self._reach(top, folders, rest, why)
            return
        self._descend(
            top, [folder for folder in folders if not is_foreign(folder)], rest.split(".") if rest else [], why
        )

    def _reach(self, top: str, folders: list[str], rest: str, why: str) -> None:
        """Take the imported module itself also where a rule would leave it here."""
        for folder in folders:
            for file in _candidates(Path(folder, *rest.split("."))) if rest else ():
                if is_local_file(str(file)):
                    self._add_file(_archive_name(f"{top}.{rest}", str(file)), file, why, reached=True)

    def _descend(self, package: str, folders: list[str], rest: list[str], why: str) -> None:
        """Walk down a namespace package until there is a module or a regular package."""
        if not rest:
            return
        name, deeper = f"{package}.{rest[0]}", []
        for folder in folders:
            below = Path(folder, rest[0])
            for file in _candidates(below):
                if is_local_file(str(file)):
                    self._add_module(name, str(file), why)
                    return
            deeper.append(str(below))
        self._descend(name, [each for each in deeper if Path(each).is_dir()], rest[1:], why)

    def _add_module(self, name: str, path: str, why: str) -> None:
        """Take a module's file, or all of a regular package's folder."""
        origin = Path(path)
        archive_name = _archive_name(name, path)
        if archive_name in self._done:
            return
        self._done.add(archive_name)
        if _is_init(path):
            self._add_file(archive_name, origin, why, reached=True)
            folder = Path(os.path.realpath(origin.parent))
            self._walk(folder, name.replace(".", "/"), f"in the package {name}", (folder,))
        else:
            self._add_file(archive_name, origin, why, reached=True)

    def _walk(self, folder: Path, prefix: str, why: str, above: tuple[Path, ...]) -> None:
        self.stamps[str(folder)] = stamp(str(folder))
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except PermissionError:
            self._skip(f"{prefix}/", folder, "not readable")
            return
        for entry in entries:
            path, name = Path(entry.path), f"{prefix}/{entry.name}"
            if entry.is_symlink():
                self._add_link(path, name, why, above)
            elif entry.is_dir():
                self._add_folder(path, name, why, above)
            else:
                self._add_file(name, path, why)

    def _add_folder(self, path: Path, name: str, why: str, above: tuple[Path, ...]) -> None:
        reason = folder_reason(path) or self._rules_for(path).reason(path, is_folder=True)
        if reason is None:
            self._walk(path, name, why, (*above, path))
        else:
            self._skip(f"{name}/", path, reason)

    def _add_link(self, path: Path, name: str, why: str, above: tuple[Path, ...]) -> None:
        target = Path(os.path.realpath(path))
        root = project_root(above[0])
        inside = target == root or root in target.parents or above[0] in target.parents
        reason = None if inside else f"a link out of the project, to {target}"
        if target in above or any(target in each.parents for each in above):
            reason = "a link to a folder that it lies in"
        reason = reason or name_reason(path.name) or self._rules_for(path).reason(path)
        if reason is not None:
            self._skip(name, path, reason)
        elif target.is_dir():
            self._add_folder(target, name, why, above)
        else:
            self._add_file(name, target, why)

    def _add_file(self, name: str, path: Path, why: str, *, reached: bool = False) -> None:
        if name in self.files:
            return
        self.stamps[str(path)] = found = stamp(str(path))
        reason = self._reason(path, reached=reached)
        if reason is not None or found is None:
            self._skip(name, path, reason or "gone, or a link to nothing")
            return
        self.skipped.pop(name, None)
        self.files[name] = ShippedFile(name, path, found[1], why)
        if name.endswith(".py"):
            self._unread.append((path, name, _package_of(name)))

    def _reason(self, path: Path, *, reached: bool) -> str | None:
        if path.exists() and not path.is_file():
            return "not a regular file"
        if reason := name_reason(path.name):
            return reason
        # A version file that a build wrote is ignored by git, and its package cannot be imported without it.
        if not reached and (reason := self._rules_for(path).reason(path)):
            return reason
        size = (self.stamps[str(path)] or (0, 0))[1]
        return f"larger than {FILE_LIMIT // 2**20} MiB" if size > FILE_LIMIT else None

    def _skip(self, name: str, path: Path, why: str) -> None:
        if name not in self.files:
            size = (stamp(str(path)) or (0, 0))[1] if not name.endswith("/") else 0
            self.skipped.setdefault(name, SkippedFile(name, path, size, why))

    def _rules_for(self, path: Path) -> IgnoreRules:
        root = project_root(path.parent)
        if root not in self._rules:
            self._rules[root] = IgnoreRules(root)
        return self._rules[root]


def _is_init(path: str) -> bool:
    return Path(path).name.startswith("__init__.")


def _archive_name(name: str, path: str) -> str:
    base = Path(path).name
    inside = name.replace(".", "/")
    if _is_init(path):
        return f"{inside}/{base}"
    return f"{inside}.{base.partition('.')[2]}"


def _package_of(name: str) -> str:
    return name.rpartition("/")[0].replace("/", ".")


def _candidates(path: Path) -> Iterator[Path]:
    """Yield where a module may lie, in the order in which Python looks."""
    yield path / _INIT
    for suffix in (*EXTENSION_SUFFIXES, ".py"):
        yield path.with_name(path.name + suffix)
