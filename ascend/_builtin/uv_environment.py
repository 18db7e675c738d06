"""Image builder `virtualenv`: requirements as a shared virtual environment of this machine, made by uv.

For the cluster ``local`` an image is the interpreter of such an environment, written ``env:/path/of/python``.
All environments lie in one folder, each below a key that stands for all that its content depends on::

    environments/KEY.lock            held by the one thread of the one process that makes it
    environments/KEY/1f3a9c02/       the virtual environment
    environments/KEY/ready.json      written last; names the folder; its time is that of the last use

A folder that ``ready.json`` does not name was left by a process that was killed; the next one removes it.
uv takes its settings from its variables and from the user's and the system's ``uv.toml``, never from a project's.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ascend.building.flights import Flights
from ascend.building.folders import cache_folder
from ascend.building.locks import parsed
from ascend.building.uv_program import Uv, answer_settings, with_indexes
from ascend.errors import EnvironmentBuildError
from ascend.model import Image, Profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ascend.model import Environment

__all__ = ["UvEnvironments"]

_READY = "ready.json"


class _Order(NamedTuple):
    """What is to be installed, by what, into which folder; *lock* is empty if it must be resolved first."""

    requirements: list[str]
    lock: str
    interpreter: str
    folder: Path
    uv: Uv
    report: Callable[[str], None]


class UvEnvironments:
    """Virtual environments below *root*: ``environments`` in ``$ASCEND_CACHE_DIR``, or else in the user's cache."""

    name = "virtualenv"

    def __init__(self, root: Path | None = None, profile: Profile | None = None) -> None:
        self._root = root
        self._profile = profile or Profile()
        self._flights: Flights[Image] = Flights()

    def ensure(self, environment: Environment, report: Callable[[str], None]) -> Image:
        return self._flights.get(environment, lambda tell: self._find_or_make(environment, tell), report)

    def close(self) -> None:
        """Leave who installs alone: what is half there would be of no use, and all of it is kept for the next time."""

    def _find_or_make(self, environment: Environment, report: Callable[[str], None]) -> Image:
        if what := environment.takes_root:
            msg = f"the image builder virtualenv installs requirements only, and {what} is set: run it on kubernetes"
            raise EnvironmentBuildError(msg)
        if environment.base_image != f"python:{environment.python}-slim":
            report(f"base_image {environment.base_image} is not used here: tasks run in a virtual environment")
        root = self._root or cache_folder("environments")
        root.mkdir(parents=True, exist_ok=True)
        uv = Uv(with_indexes(os.environ, self._profile.index_urls, self._profile.certificates))
        requirements = sorted({_canonical(requirement) for requirement in environment.requirements})
        interpreter, identity = uv.interpreter(environment.python, root)
        key = _key(requirements, identity, answer_settings(uv.environ) | {"lock": environment.lock})
        python = _ready(root / key)
        if python is None:
            python = _make_once(_Order(requirements, environment.lock, interpreter, root / key, uv, report))
        return Image(f"env:{python}")


def _canonical(text: str) -> str:
    """Return the requirement *text* as everybody else would have written it."""
    from packaging.utils import canonicalize_name  # noqa: PLC0415 - only who installs something needs it

    requirement = parsed(text)
    requirement.name = canonicalize_name(requirement.name)
    return str(requirement)


def _key(requirements: list[str], identity: str, settings: dict[str, str]) -> str:
    content = [stamp for requirement in requirements for stamp in _local_content(requirement)]
    return sha256(json.dumps([requirements, identity, settings, content], sort_keys=True).encode()).hexdigest()[:32]


def _local_content(requirement: str) -> Iterator[tuple[str, int, int]]:
    """Yield names, sizes and times of what a ``name @ file://…`` stands for: it may change under its name."""
    path = _local_path(requirement)
    if path is None:
        return
    for each in sorted([path, *path.rglob("*")] if path.is_dir() else [path]):
        if each.is_file() and "__pycache__" not in each.parts:
            status = each.stat()
            yield str(each.relative_to(path)), status.st_size, status.st_mtime_ns


def _local_names(requirements: list[str]) -> list[str]:
    return [each.partition("@")[0].partition("[")[0].strip() for each in requirements if _local_path(each) is not None]


def _local_path(requirement: str) -> Path | None:
    from packaging.requirements import Requirement  # noqa: PLC0415 - as above

    url = urlsplit(Requirement(requirement).url or "")
    return Path(url2pathname(url.path)) if url.scheme == "file" else None


def _ready(folder: Path) -> Path | None:
    """Return the interpreter of the finished environment in *folder*, if there is one, and note its use."""
    marker = folder / _READY
    try:
        python = Path(json.loads(marker.read_text(encoding="utf-8"))["python"])
        os.utime(marker)
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        # There is none, or what it says is damaged: it is made again.
        return None
    # The Python that it was made of may have been removed since.
    return python if python.exists() else None


def _make_once(order: _Order) -> Path:
    from filelock import FileLock, Timeout  # noqa: PLC0415 - not needed where the environment is there already

    lock = FileLock(order.folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        order.report(f"waiting for somebody else who installs {_listed(order.requirements)}")
        lock.acquire()
    try:
        return _ready(order.folder) or _make(order)
    finally:
        lock.release()


def _make(order: _Order) -> Path:
    _remove_remains(order.folder)
    target = order.folder / secrets.token_hex(4)
    target.mkdir(parents=True)
    order.report(f"installing {_listed(order.requirements)}")
    started = perf_counter()
    try:
        python, lock = _install(order, target)
    except EnvironmentBuildError as exc:
        shutil.rmtree(order.folder, ignore_errors=True)
        msg = f"{_listed(order.requirements)} cannot be installed:\n{exc}"
        raise type(exc)(msg) from None
    _write_marker(order, python, lock)
    order.report(f"installed {len(lock)} distributions in {perf_counter() - started:.1f} s")
    return python


def _install(order: _Order, target: Path) -> tuple[Path, list[str]]:
    """Install into *target*; return the interpreter there and what was installed, as ``name==version``."""
    options = ("--quiet", "--python", order.interpreter)
    given = "\n".join(order.requirements)
    compiled = ("pip", "compile", "-", "--no-header", "--no-annotate", *options)
    resolved = order.lock or order.uv.run(*compiled, folder=target, given=given)
    order.uv.run("venv", "--no-project", "--allow-existing", *options, str(target), folder=target)
    python = target / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if resolved.strip():
        # uv would take what it built of a local project before, if only the description of that has not changed.
        fresh = [f"--refresh-package={name}" for name in _local_names(order.requirements)]
        order.uv.run("pip", "sync", "-", "--quiet", "--python", str(python), *fresh, folder=target, given=resolved)
    return python, [line for line in resolved.splitlines() if not line.startswith((" ", "-"))]


def _write_marker(order: _Order, python: Path, lock: list[str]) -> None:
    content = {"python": str(python), "requirements": order.requirements, "lock": lock}
    partial = order.folder / f"{_READY}.part"
    partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
    partial.replace(order.folder / _READY)


def _remove_remains(folder: Path) -> None:
    # The uv of a killed process may still be writing into its folder: what stays now goes the next time.
    shutil.rmtree(folder, ignore_errors=True)


def _listed(requirements: list[str]) -> str:
    return ", ".join(requirements) or "nothing"
