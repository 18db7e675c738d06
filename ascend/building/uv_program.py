"""The program uv: found, run with the machine's settings, its words in our errors."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING

from ascend.errors import EnvironmentBuildError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["UnsolvableError", "Uv", "answer_settings", "uv_environ", "with_indexes"]

_PIP_MEANS = {
    "PIP_CERT": ("SSL_CERT_FILE",),
    "PIP_INDEX_URL": ("UV_INDEX_URL", "UV_DEFAULT_INDEX"),
    "PIP_EXTRA_INDEX_URL": ("UV_EXTRA_INDEX_URL", "UV_INDEX"),
    "PIP_FIND_LINKS": ("UV_FIND_LINKS",),
}
_NOT_FOR_US = ("PYTHONHOME", "PYTHONPATH", "UV_PYTHON", "UV_REQUIRE_HASHES", "UV_SYSTEM_PYTHON", "VIRTUAL_ENV")
_CHANGE_THE_ANSWER = (
    "UV_BUILD_CONSTRAINT",
    "UV_CONFIG_FILE",
    "UV_CONSTRAINT",
    "UV_DEFAULT_INDEX",
    "UV_EXCLUDE_NEWER",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_INDEX",
    "UV_INDEX_STRATEGY",
    "UV_INDEX_URL",
    "UV_NO_BINARY",
    "UV_NO_BINARY_PACKAGE",
    "UV_NO_BUILD",
    "UV_NO_BUILD_PACKAGE",
    "UV_NO_CONFIG",
    "UV_NO_INDEX",
    "UV_OVERRIDE",
    "UV_PRERELEASE",
    "UV_RESOLUTION",
    "UV_TORCH_BACKEND",
)
_NO_SOLUTION = 1
_LONGEST_REASON = 4_000


class UnsolvableError(EnvironmentBuildError):
    """The resolver said no; asking it again would not help."""


class Uv:
    """The uv that was installed beside ascend, with the settings of *environ* as `uv_environ` makes them."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self.environ: dict[str, str] = uv_environ(environ)
        self._program = _find()

    def run(self, *arguments: str, folder: Path, given: str = "") -> str:
        """Run uv in *folder* with *given* as its input; return what it prints, or raise `EnvironmentBuildError`."""
        done = subprocess.run(
            [self._program, *arguments],
            input=given,
            cwd=folder,
            env=self.environ,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode:
            kind = UnsolvableError if done.returncode == _NO_SOLUTION else EnvironmentBuildError
            reason = done.stderr.strip()
            raise kind(reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}\n…")
        return done.stdout

    def interpreter(self, python: str, folder: Path) -> tuple[str, str]:
        """Return an interpreter of the minor version *python*, and what tells it from every other here."""
        if python == f"{sys.version_info[0]}.{sys.version_info[1]}":
            return sys.executable, f"{platform.python_version()} {sysconfig.get_platform()} {sys.base_prefix}"
        found = self.run("python", "find", python, folder=folder).strip()
        return found, f"{python} {sysconfig.get_platform()} {found}"


def with_indexes(environ: Mapping[str, str], index_urls: Sequence[str], certificates: str | None) -> dict[str, str]:
    """Return *environ* with *index_urls*, if there are any, in the place of its indexes, and with *certificates*."""
    made = dict(environ)
    if certificates is not None:
        made["SSL_CERT_FILE"] = certificates
    if not index_urls:
        return made
    for theirs, ours in _PIP_MEANS.items():
        if theirs != "PIP_CERT":
            for name in (theirs, *ours):
                made.pop(name, None)
    made.pop("UV_NO_INDEX", None)
    first, *others = index_urls
    return made | {"UV_DEFAULT_INDEX": first} | ({"UV_INDEX": " ".join(others)} if others else {})


def uv_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* for uv: with pip's index and certificate settings wherever uv's own are not set.

    ``PIP_CERT``, ``PIP_INDEX_URL``, ``PIP_EXTRA_INDEX_URL`` and ``PIP_FIND_LINKS`` are carried over; ``pip.conf`` is
    not read. Settings that would make uv work elsewhere than it is told are left out.
    """
    made = {name: value for name, value in environ.items() if name not in _NOT_FOR_US}
    for theirs, ours in _PIP_MEANS.items():
        if theirs in environ and not any(name in environ for name in ours):
            # Where pip separates by blanks, uv separates links by commas.
            separator = "," if ours == ("UV_FIND_LINKS",) else " "
            made[ours[0]] = separator.join(environ[theirs].split())
    return made | {"NO_COLOR": "1"}


def answer_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings under which the same requirements may come to other versions."""
    return {name: environ[name] for name in _CHANGE_THE_ANSWER if name in environ}


def _find() -> str:
    try:
        from uv import find_uv_bin  # noqa: PLC0415 - not needed where all environments are there already

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError) as exc:
        msg = "uv, which installs requirements, is missing: run `pip install uv` where ascend is installed"
        raise EnvironmentBuildError(msg) from exc
