"""The uv that travels: the build of this uv's version that runs in every Linux image, since it is linked statically."""

from __future__ import annotations

import os
import tempfile
import zlib
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ascend.building.folders import cache_folder
from ascend.building.locks import resolve
from ascend.building.uv_program import UnsolvableError, Uv, with_indexes
from ascend.errors import EnvironmentBuildError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ascend.model import Profile

__all__ = ["packed_uv", "uv_lock", "uv_requirement"]

_TRIPLES = {"linux/amd64": "x86_64-unknown-linux-musl", "linux/arm64": "aarch64-unknown-linux-musl"}


def uv_requirement() -> str:
    """Return the requirement of the version that is installed here."""
    return f"uv=={version('uv')}"


def uv_lock(profile: Profile, python: str, platform: str, report: Callable[[str], None]) -> str:
    """Return the lock by which pip of an image fetches that version, with its hash."""
    return resolve(
        [uv_requirement()],
        python=python,
        platform=platform,
        report=report,
        index_urls=profile.index_urls,
        certificates=profile.certificates,
    )


def packed_uv(profile: Profile, platform: str, report: Callable[[str], None]) -> bytes:
    """Return the program for *platform*, compressed by zlib: fetched once as a package, then from the user's cache.

    It comes from the indexes of *profile*, as does what it installs.

    `EnvironmentBuildError` if the package index has none.
    """
    if platform not in _TRIPLES:
        msg = f"uv is not built for the platform {platform!r}: there are {', '.join(_TRIPLES)}"
        raise UnsolvableError(msg)
    kept = cache_folder("uv") / f"{version('uv')}-{_TRIPLES[platform]}.zlib"
    if kept.exists():
        return kept.read_bytes()
    kept.parent.mkdir(parents=True, exist_ok=True)
    report(f"fetching {uv_requirement()} for {platform}, once")
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        packed = zlib.compress(_fetch(profile, Path(folder), _TRIPLES[platform]), 6)
        partial = Path(folder) / "packed"
        partial.write_bytes(packed)
        partial.replace(kept)
    return packed


def _fetch(profile: Profile, folder: Path, triple: str) -> bytes:
    where = ("--target", str(folder), f"--python-platform={triple}", "--only-binary=:all:", "--no-python-downloads")
    uv = Uv(with_indexes(os.environ, profile.index_urls, profile.certificates))
    try:
        uv.run("pip", "install", "--quiet", "--no-deps", *where, uv_requirement(), folder=folder)
    except EnvironmentBuildError as exc:
        msg = f"{uv_requirement()} cannot be fetched for {triple}:\n{exc}"
        raise type(exc)(msg) from None
    return (folder / "bin" / "uv").read_bytes()
