"""Decides which files beside the user's modules stay here, and says why: ignored, secret, generated or too large."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pathspec import GitIgnoreSpec

__all__ = ["FILE_LIMIT", "IGNORED", "IgnoreRules", "folder_reason", "name_reason", "project_root", "stamp"]

FILE_LIMIT = 10 * 1024 * 1024
IGNORED = "ignored by"

_FOLDERS = frozenset(
    {
        "__pycache__",
        ".git",
        ".hg",
        ".svn",
        ".tox",
        ".nox",
        ".eggs",
        ".idea",
        ".vscode",
        "node_modules",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".ipynb_checkpoints",
        ".hypothesis",
        ".terraform",
        ".aws",
        ".ssh",
        ".gnupg",
        ".kube",
        ".docker",
    }
)
_SECRETS = (
    ".env*",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.ppk",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    "credentials*",
    ".credentials*",
    ".netrc",
    "_netrc",
    ".pypirc",
    ".pgpass",
    ".npmrc",
    ".htpasswd",
    ".git-credentials",
    "kubeconfig*",
    "client_secret*.json",
    "service_account*.json",
    "service-account*.json",
    "secrets.*",
)
_GENERATED = ("*.pyc", "*.pyo", ".DS_Store", "Thumbs.db", "*.swp", "*~")
_FOR_GIT = (".gitignore", ".gitattributes", ".gitkeep", ".gitmodules")


def folder_reason(folder: Path) -> str | None:
    """Return why nothing below *folder* travels, or `None`."""
    if folder.name in _FOLDERS or folder.name.endswith((".egg-info", ".dist-info")):
        return f"a {folder.name} folder"
    if (folder / "pyvenv.cfg").exists():
        return "a virtual environment"
    return None


def name_reason(name: str) -> str | None:
    """Return why a file of this name does not travel, or `None`."""
    lowered = name.lower()
    # A module may be called credentials; what it says is code, and .gitignore rules over it.
    if not lowered.endswith(".py"):
        for pattern in _SECRETS:
            if fnmatch(lowered, pattern):
                return f"may hold a secret ({pattern})"
    if any(fnmatch(name, pattern) for pattern in _GENERATED):
        return "generated"
    if name in _FOR_GIT:
        return "for git only"
    return None


@cache
def project_root(folder: Path) -> Path:
    """Return the nearest folder upwards that has ``.git``, else ``pyproject.toml``, else *folder* itself.

    In a repository of many projects the rules and the linked files of all of them count.
    """
    above = (folder, *folder.parents)
    for marker in (".git", "pyproject.toml"):
        for each in above:
            if (each / marker).exists():
                return each
    return folder


class IgnoreRules:
    """All ``.gitignore`` files of a project, from its root down; *looked_at* are those that were looked for."""

    def __init__(self, root: Path) -> None:
        self.looked_at: set[Path] = set()
        self._root = root
        self._specs: dict[Path, GitIgnoreSpec | None] = {}
        self._folders: dict[Path, str | None] = {root: None}

    def reason(self, path: Path, *, is_folder: bool = False) -> str | None:
        """Return which file ignores *path*, or `None`; what lies in an ignored folder is ignored."""
        if self._root not in path.parents:
            return None
        return self._of_folder(path.parent) or self._own(path, "/" if is_folder else "")

    def _of_folder(self, folder: Path) -> str | None:
        if folder not in self._folders:
            self._folders[folder] = self.reason(folder, is_folder=True)
        return self._folders[folder]

    def _own(self, path: Path, suffix: str) -> str | None:
        # The file nearest to the path decides, as git does it.
        for folder in path.parents:
            spec = self._spec(folder)
            if spec is not None:
                found = spec.check_file(path.relative_to(folder).as_posix() + suffix).include
                if found is not None:
                    where = (folder / ".gitignore").relative_to(self._root).as_posix()
                    return f"{IGNORED} {where}" if found else None
            if folder == self._root:
                break
        return None

    def _spec(self, folder: Path) -> GitIgnoreSpec | None:
        if folder not in self._specs:
            path = folder / ".gitignore"
            self.looked_at.add(path)
            self._specs[folder] = _parse(path)
        return self._specs[folder]


def _parse(path: Path) -> GitIgnoreSpec | None:
    try:
        lines = path.read_text("utf-8", "surrogateescape").splitlines()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 - takes 20 ms, and many projects ignore nothing

    return GitIgnoreSpec.from_lines(lines)


def stamp(path: str) -> tuple[int, int] | None:
    """Return what changes when the file or the listing of the folder does; `None` if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 - asked for every file, each second
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
