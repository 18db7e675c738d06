"""Reads requirements out of the files that people keep them in.

=========================  ===============================================================================
``requirements.txt``       its lines, and those of the files that it names by ``-r``; a lock if they have hashes
``pyproject.toml``         the project's dependencies
``pyproject.toml[gpu]``    and those of the extra ``gpu``; several are separated by commas
``pyproject.toml:test``    the dependency group ``test`` alone
``uv.lock``                a lock, with ``[extras]`` or for a ``:group``, as uv exports it
``pylock.toml``            a lock (PEP 751), also ``pylock.NAME.toml``
=========================  ===============================================================================
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ascend.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["AUTO", "Written", "is_file", "read_requirements"]

AUTO = "auto"
"""What stands for all that a call imports, in the place of a requirement."""

_FILE = re.compile(
    r"(?P<path>(?:[^\[\]:@\s]*/)?(?P<name>[^\[\]:@\s/]+\.(?:txt|in)|pyproject\.toml|uv\.lock|pylock(?:\.[\w-]+)?\.toml))"
    r"(?:\[(?P<extras>[\w., -]+)\])?(?::(?P<group>[\w.-]+))?"
)
_COMMENT = re.compile(r"(^|\s)#.*$")
_PATH = re.compile(r"\.|/|[A-Za-z]:|[^;]*@ file:")
_HASH = re.compile(r"\s+--hash[= ](\S+)")


class Written(NamedTuple):
    """What a file says: requirements, and the same as a lock where it has versions and hashes."""

    requirements: tuple[str, ...]
    lock: str = ""


def is_file(text: str) -> bool:
    """Tell whether *text* names a file, in the form that `read_requirements` takes."""
    return _FILE.fullmatch(text) is not None


def read_requirements(text: str, folder: Path) -> Written:
    """Return what the file says that *text* names, seen from *folder*; `ConfigError` for what cannot be used."""
    match = _FILE.fullmatch(text)
    if match is None:
        msg = f"{text!r} names no file with requirements"
        raise ConfigError(msg)
    path = folder / match["path"]
    extras = tuple(each.strip() for each in (match["extras"] or "").split(",") if each.strip())
    if path.name == "uv.lock":
        return _uv_lock(path, extras, match["group"])
    if path.name != "pyproject.toml":
        if extras or match["group"]:
            msg = f"{text!r}: {path.name} has no extras and no groups"
            raise ConfigError(msg)
        return _pylock(path) if path.suffix == ".toml" else _text_file(path)
    return Written(tuple(_pyproject(path, extras, match["group"])))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as exc:
        msg = f"requirements name {path}, which cannot be read: {exc.strerror}"
        raise ConfigError(msg) from exc


def _toml(path: Path) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - only who names a file needs it

    try:
        return tomllib.loads(_read(path))
    except tomllib.TOMLDecodeError as exc:
        msg = f"{path} is not valid TOML: {exc}"
        raise ConfigError(msg) from exc


def _text_file(path: Path) -> Written:
    lines = list(_lines(path, ()))
    locked = [bool(hashes) for _, hashes in lines]
    if any(locked) and not all(locked):
        bare = next(text for text, hashes in lines if not hashes)
        msg = f"{path}: {bare} has no hash, and others have: lock all, as `uv pip compile --generate-hashes` does"
        raise ConfigError(msg)
    requirements = tuple(text for text, _ in lines)
    return Written(requirements, _lock(lines) if lines and all(locked) else "")


def _lines(path: Path, above: tuple[Path, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield requirements and their hashes."""
    if path in above:
        msg = f"{path} names itself by -r"
        raise ConfigError(msg)
    for raw in re.sub(r"\\\n", " ", _read(path)).splitlines():
        line = _COMMENT.sub("", raw).strip()
        option, _, value = line.partition("=" if re.match(r"--[\w-]+=", line) else " ")
        if option in {"-r", "--requirement"}:
            yield from _lines(path.parent / value.strip(), (*above, path))
        elif line.startswith("-"):
            # An index of the lock's is not where pods look unless the settings say so.
            msg = f"{path}: {line!r} is nothing that ascend reads: {_instead(option)}"
            raise ConfigError(msg)
        elif line:
            yield _checked(_HASH.sub("", line), path), tuple(_HASH.findall(line))


def _instead(option: str) -> str:
    if option in {"-i", "--index-url", "--extra-index-url", "--find-links", "-f"}:
        return "set index_urls"
    if option in {"-e", "--editable"}:
        return "leave it out, since a project's source travels by itself"
    return "compile the file with `uv pip compile --generate-hashes`, and name the lock"


def _checked(text: str, path: Path) -> str:
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - as above

    from ascend.building.locks import credentials_in  # noqa: PLC0415

    try:
        wrong = credentials_in(Requirement(text))
    except InvalidRequirement as exc:
        msg = f"{path}: {text!r} is no requirement: {str(exc).splitlines()[0]}"
        raise ConfigError(msg) from exc
    if wrong:
        msg = f"{path}: {wrong}"
        raise ConfigError(msg)
    return text


def _lock(lines: list[tuple[str, tuple[str, ...]]]) -> str:
    return "".join(" \\\n    ".join([text, *(f"--hash={each}" for each in hashes)]) + "\n" for text, hashes in lines)


def _pyproject(path: Path, extras: tuple[str, ...], group: str | None) -> Iterator[str]:
    table = _toml(path)
    project = table.get("project", {})
    if group is not None:
        if extras:
            msg = f"{path.name}[{','.join(extras)}]:{group} mixes extras and a group: name the file twice"
            raise ConfigError(msg)
        found = list(_group(path, table.get("dependency-groups", {}), group, ()))
    else:
        found = list(project.get("dependencies", []))
        optional = project.get("optional-dependencies", {})
        for extra in extras:
            if extra not in optional:
                msg = f"{path} has no extra {extra!r}: there are {', '.join(optional) or 'none'}"
                raise ConfigError(msg)
            found += optional[extra]
    _refuse_sources(path, table, found)
    yield from (_checked(text, path) for text in found)


def _group(path: Path, groups: dict[str, Any], name: str, above: tuple[str, ...]) -> Iterator[str]:
    if name not in groups or name in above:
        reason = "includes itself" if name in above else f"is not there: there are {', '.join(groups) or 'none'}"
        msg = f"{path}: the dependency group {name!r} {reason}"
        raise ConfigError(msg)
    for each in groups[name]:
        if isinstance(each, dict):
            yield from _group(path, groups, each.get("include-group", ""), (*above, name))
        else:
            yield each


def _refuse_sources(path: Path, table: dict[str, Any], found: list[str]) -> None:
    sources = table.get("tool", {}).get("uv", {}).get("sources", {})
    for text in found:
        name = re.split(r"[^\w.-]", text, maxsplit=1)[0]
        if name in sources:
            msg = f"{path} takes {name} from [tool.uv.sources], which only uv reads: name the uv.lock beside it"
            raise ConfigError(msg)


def _uv_lock(path: Path, extras: tuple[str, ...], group: str | None) -> Written:
    from ascend.building.uv_program import Uv  # noqa: PLC0415 - as above
    from ascend.errors import EnvironmentBuildError  # noqa: PLC0415

    _read(path)
    options = ["--frozen", "--no-header", "--no-annotate", "--quiet", "--no-emit-project", "--format=requirements-txt"]
    options += [f"--extra={extra}" for extra in extras]
    options += [f"--only-group={group}"] if group else ["--no-default-groups"]
    try:
        exported = Uv().run("export", *options, folder=path.parent)
    except EnvironmentBuildError as exc:
        msg = f"{path} cannot be read:\n{exc}"
        raise ConfigError(msg) from exc
    lines = []
    for line in re.sub(r"\\\n", " ", exported).splitlines():
        text = _COMMENT.sub("", line).strip()
        # An editable install is source, and travels by itself.
        if text and not text.startswith("-e "):
            lines.append((_not_here(_HASH.sub("", text).strip(), path), tuple(_HASH.findall(text))))
    return _written_lock(path, lines)


def _not_here(text: str, path: Path) -> str:
    """Return the requirement *text*; `ConfigError` if it is a path of this machine, with a hash or without one."""
    if _PATH.match(text) is None:
        return _checked(text, path)
    msg = (
        f"{path} takes {text} from this machine, which pods do not see: put a wheel of it into a package index, or "
        "make it `editable = true` in [tool.uv.sources] if it is a project of yours, since source travels by itself"
    )
    raise ConfigError(msg)


def _pylock(path: Path) -> Written:
    lines = []
    for package in _toml(path).get("packages", []):
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        hashes = tuple(f"{kind}:{value}" for file in files for kind, value in file.get("hashes", {}).items())
        marker = f" ; {package['marker']}" if "marker" in package else ""
        lines.append((_checked(f"{package['name']}=={package.get('version', '0')}{marker}", path), hashes))
    return _written_lock(path, lines)


def _written_lock(path: Path, lines: list[tuple[str, tuple[str, ...]]]) -> Written:
    for text, hashes in lines:
        if not hashes:
            msg = (
                f"{path} has {text!r} without a hash, as from a folder or a repository: put a wheel of it into a "
                "package index, or leave it out if your code imports it, since a project's source travels by itself"
            )
            raise ConfigError(msg)
    return Written(tuple(text for text, _ in lines), _lock(lines))
