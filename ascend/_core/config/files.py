"""Finds the configuration files, reads them and says in which line a key stands."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ascend.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROJECT_FILE = "ascend.toml"
USER_FILE = "config.toml"

_HEADER = re.compile(r"\s*\[\[?\s*(?P<path>[^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_ASSIGNMENT = re.compile(r"""\s*(?P<path>(?:[\w.\- ]|"[^"]*"|'[^']*')+?)\s*=""")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file with settings: *table* is the part of it that is ours, at *prefix* in the whole."""

    path: Path
    table: Mapping[str, Any]
    prefix: tuple[str, ...]
    text: str

    def where(self, *keys: str) -> str:
        """Return ``path:line`` of the key *keys* of our table."""
        return f"{self.path}:{line_of(self.text, (*self.prefix, *keys))}"


def user_file() -> Path:
    """Return where the user's own configuration file belongs, on this platform."""
    from platformdirs import user_config_path  # noqa: PLC0415 - nothing else needs it

    return user_config_path("ascend", appauthor=False) / USER_FILE


def config_files(start: Path | None) -> list[ConfigFile]:
    """Return the project's file, then the user's, as far as they exist.

    `ConfigError` if one is not valid TOML or belongs to somebody else.
    """
    found = (_project_config(start), _read(user_file(), ()))
    return [file for file in found if file is not None]


def project_folder(start: Path | None) -> Path | None:
    """Return the nearest folder, upwards from *start* or the working directory, that looks like a project."""
    for folder in _upwards(start):
        if any((folder / mark).exists() for mark in ("pyproject.toml", PROJECT_FILE, ".git")):
            return folder
    return None


def _upwards(start: Path | None) -> Iterator[Path]:
    folder = (start or Path.cwd()).resolve()
    home = _home()
    for each in (folder, *folder.parents):
        yield each
        if each == home or (each / ".git").exists():
            return


def _home() -> Path | None:
    try:
        return Path.home().resolve()
    except RuntimeError:  # an account without a home folder
        return None


def _project_config(start: Path | None) -> ConfigFile | None:
    for folder in _upwards(start):
        own = _read(folder / PROJECT_FILE, ())
        shared = _read(folder / "pyproject.toml", ("tool", "ascend"))
        if own and shared:
            msg = f"{own.path} and {shared.where()} [tool.ascend] both have settings: move them into one of the two"
            raise ConfigError(msg)
        if own or shared:
            return own or shared
    return None


def _read(path: Path, prefix: tuple[str, ...]) -> ConfigFile | None:
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise ConfigError(msg) from error
    import tomllib  # noqa: PLC0415 - many have no file at all

    try:
        text = data.decode()
        table: Any = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path} is not valid TOML: {error}"
        raise ConfigError(msg) from error
    for key in prefix:
        table = table.get(key) if isinstance(table, dict) else None
    if table is None:
        return None
    if not isinstance(table, dict):
        msg = f"{path}:{line_of(text, prefix)}: {'.'.join(prefix)} must be a table, not {table!r}"
        raise ConfigError(msg)
    if hasattr(os, "geteuid"):
        refuse_strangers(path, os.geteuid())
    return ConfigFile(path, table, prefix, text)


def refuse_strangers(path: Path, me: int) -> None:
    """Raise `ConfigError` if *path* belongs neither to *me* nor to the superuser.

    Settings decide which storage is read, and what is read there is unpickled.
    """
    owner = path.stat().st_uid
    if owner not in {me, 0}:
        msg = f"{path} belongs to another user (uid {owner}, not {me}), so its settings are not trusted: make it yours"
        raise ConfigError(msg)


def line_of(text: str, keys: tuple[str, ...]) -> int:
    """Return the line in which *keys* is set, or else the line of the nearest table around it."""
    best, best_line = -1, 1
    for path, line in _paths(text):
        shared = path == keys[: len(path)]
        if shared and len(path) > best:
            best, best_line = len(path), line
    return best_line


def _paths(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    table: tuple[str, ...] = ()
    quote = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not quote and (header := _HEADER.match(line)):
            table = _parts(header["path"])
            yield table, number
        elif not quote and (assignment := _ASSIGNMENT.match(line)):
            yield (*table, *_parts(assignment["path"])), number
        quote = _open_quote(line, quote)


def _open_quote(line: str, quote: str) -> str:
    """Return the triple quote that is open after *line*, in which *quote* was open before."""
    for mark in re.findall(r'"""|\'\'\'', line):
        quote = "" if mark == quote else quote or mark
    return quote


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(path))
