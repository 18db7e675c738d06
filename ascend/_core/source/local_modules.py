"""Tells apart the user's own modules, installed ones, the standard library, and modules that exist in memory only."""

from __future__ import annotations

import os
import sys
import sysconfig
from functools import cache
from importlib import util
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.metadata import Distribution
    from types import ModuleType

__all__ = [
    "distributions_by_module",
    "exists_only_here",
    "is_excluded",
    "is_local_file",
    "local_module_reason",
    "module_file",
    "search_locations",
]

STANDARD_LIBRARY = "standard library"
LOCAL_SOURCE = "local source"

_INSTALLED_FOLDERS = frozenset({"site-packages", "dist-packages"})
_TRAVELS_WITH_RUNNER = frozenset({"ascend", "cloudpickle"})
_START_UP = frozenset({"__main__", "__mp_main__", "sitecustomize", "usercustomize"})
# Debuggers put themselves on sys.path from the editor's own folder.
_DEBUGGERS = ("pydev", "_pydev", "debugpy")
_SUFFIXES = (".py", *EXTENSION_SUFFIXES)

_only_here: dict[str, tuple[int, bool]] = {}


def module_file(module: object) -> str | None:
    """Return the file that *module* was loaded from, or `None` if it names none."""
    spec = getattr(module, "__spec__", None)
    if spec is not None and getattr(spec, "has_location", False) and isinstance(spec.origin, str):
        return str(spec.origin)
    name = getattr(module, "__file__", None)
    return name if isinstance(name, str) else None


def is_excluded(name: str) -> bool:
    """Return whether the module *name* never travels as source: the runner brings it, or it is a tool's own."""
    top = name.partition(".")[0]
    return top in _TRAVELS_WITH_RUNNER or top in _START_UP or top.startswith(_DEBUGGERS)


def is_local_file(path: str) -> bool:
    """Return whether a module loaded from *path* belongs to the user: outside the standard library and site-packages.

    It must be a real file, Python source or a compiled extension. Links count on both of their ends, since
    some installers link the files of site-packages to a cache.
    """
    if not path.endswith(_SUFFIXES) or is_foreign(path):
        return False
    return os.path.isfile(path) and not is_foreign(os.path.realpath(path))  # noqa: PTH113 - asked for every module


@cache
def is_foreign(path: str) -> bool:
    """Return whether *path* lies in the standard library or among installed distributions."""
    return is_installed_path(path) or _is_below(path, _standard_folders())


def is_installed_path(path: str) -> bool:
    """Return whether *path* lies in a folder that installers write to."""
    if not _INSTALLED_FOLDERS.isdisjoint(PurePath(path).parts):
        return True
    return _is_below(path, _installed_folders())


@cache
def _standard_folders() -> tuple[str, ...]:
    return _folders("stdlib", "platstdlib")


@cache
def _installed_folders() -> tuple[str, ...]:
    import site  # noqa: PLC0415 - a Python started with -S has not loaded it

    found = set(_folders("purelib", "platlib"))
    user = site.getusersitepackages()
    return tuple(found | {user, os.path.realpath(user)})


def _folders(*names: str) -> tuple[str, ...]:
    found = [path for name in names if (path := sysconfig.get_path(name))]
    return tuple({os.path.normcase(each) for path in found for each in (path, os.path.realpath(path))})


def _is_below(path: str, folders: tuple[str, ...]) -> bool:
    path = os.path.normcase(path)
    return any(path.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)


def search_locations(name: str) -> tuple[str | None, list[str]] | None:
    """Return file and package folders of the top-level module *name* without importing it; `None` if there is none."""
    module = sys.modules.get(name)
    if module is not None:
        return module_file(module), package_folders(module)
    try:
        spec = util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        # A finder of somebody else that fails, or a name that no module can have.
        return None
    if spec is None:
        return None
    return (spec.origin if spec.has_location else None), [str(each) for each in spec.submodule_search_locations or ()]


def package_folders(module: object) -> list[str]:
    """Return the folders in which the modules of a package lie; none for a plain module."""
    try:
        return [str(each) for each in getattr(module, "__path__", None) or ()]
    except (KeyError, TypeError):
        # A namespace package whose parent is gone from sys.modules; or a __path__ that is no list.
        return []


def exists_only_here(module: ModuleType) -> bool:
    """Return whether no other process can import *module*: it was made in memory, or comes out of an archive."""
    name = module.__name__
    if sys.modules.get(name) is not module:
        return True
    known = _only_here.get(name)
    if known is None or known[0] != id(module):
        known = _only_here[name] = (id(module), _origin(module) is None)
    return known[1]


def local_module_reason(module: ModuleType) -> str | None:
    """Return why a pod can import *module*; `None` if it exists only here.

    One of ``local source``, ``standard library`` and ``installed: NAME VERSION``.
    """
    origin = None if exists_only_here(module) else _origin(module)
    if origin != "installed":
        return origin
    top = module.__name__.partition(".")[0]
    return f"installed: {_distribution_label(top)}"


def _origin(module: ModuleType) -> str | None:
    """Return ``installed``, `STANDARD_LIBRARY` or `LOCAL_SOURCE`; `None` for a module that exists only here."""
    name = module.__name__
    if name in _START_UP:
        return None
    if name.partition(".")[0] in _TRAVELS_WITH_RUNNER:
        return "installed"
    if getattr(getattr(module, "__spec__", None), "origin", None) in {"built-in", "frozen"}:
        return STANDARD_LIBRARY
    path = module_file(module)
    return _origin_of_folders(package_folders(module)) if path is None else _origin_of_file(path)


def _origin_of_file(path: str) -> str | None:
    if is_installed_path(path):
        return "installed"
    if is_foreign(path):
        return STANDARD_LIBRARY
    if is_local_file(path):
        return LOCAL_SOURCE
    return "installed" if os.path.isfile(path) and is_installed_path(os.path.realpath(path)) else None  # noqa: PTH113


def _origin_of_folders(folders: list[str]) -> str | None:
    real = [folder for folder in folders if os.path.isdir(folder)]  # noqa: PTH112 - as the other paths of modules here
    if any(not is_foreign(folder) for folder in real):
        return LOCAL_SOURCE
    return "installed" if real else None


def _distribution_label(top: str) -> str:
    found = distributions_by_module().get(top)
    if not found:
        return f"{top}, of no distribution"
    return ", ".join(f"{each.name} {each.version}" for each in found)


def distributions_by_module() -> Mapping[str, list[Distribution]]:
    """Return the installed distributions by the top-level names that they bring; takes a tenth of a second once."""
    return _by_module(tuple(sys.path))


@cache
def _by_module(path: tuple[str, ...]) -> dict[str, list[Distribution]]:
    from importlib.metadata import distributions  # noqa: PLC0415 - takes 30 ms, and few ask

    found: dict[str, list[Distribution]] = {}
    seen = set()
    for each in distributions(path=list(path)):
        # The first on the path is the one that is imported.
        if each.name and each.name not in seen:
            seen.add(each.name)
            for top in _top_level_names(each):
                found.setdefault(top, []).append(each)
    return found


def _top_level_names(distribution: Distribution) -> set[str]:
    written = distribution.read_text("top_level.txt")
    if written:
        return set(written.split())
    names = set()
    for line in (distribution.read_text("RECORD") or "").splitlines():
        first, slash, _ = line.rpartition(",")[0].rpartition(",")[0].strip('"').partition("/")
        names.add(first if slash else first.partition(".")[0] if first.endswith(_SUFFIXES) else "")
    return {name for name in names if name.isidentifier()}
