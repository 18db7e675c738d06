r"""Locks: what requirements come to, resolved once by uv on the client for the Python and the platform of the pods.

A lock is a ``requirements.txt``: first the indexes, without credentials and without what only this machine has, then
every distribution in one version with the hashes of its files::

    --index-url https://packages.example/simple

    six==1.17.0 \
        --hash=sha256:4721f391…

It is kept for a day in ``locks`` in the user's cache, by all that it depends on.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from ascend.building.folders import cache_folder
from ascend.building.uv_program import UnsolvableError, Uv, answer_settings, uv_environ, with_indexes
from ascend.errors import EnvironmentBuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from packaging.requirements import Requirement

    from ascend.model import Environment, Profile

__all__ = ["FRESH_SECONDS", "PLATFORMS", "credentials_in", "locked", "parsed", "pins", "resolve"]

FRESH_SECONDS = 24 * 3600.0
"""How long a lock is kept for the next who asks for the same."""

PLATFORMS = {"linux/amd64": "x86_64-manylinux_2_28", "linux/arm64": "aarch64-manylinux_2_28"}
"""The platforms of pods, and uv's words for them."""

_OPTION = re.compile(r"(?P<option>--(?:index-url|extra-index-url|find-links)) (?P<where>\S+)")
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?(?:==(?P<version>[^\s;\\]+)| @ (?P<url>\S+))")
_REMEDIES = {
    "building from source is disabled": (
        "it is only there as source: take a version with wheels, or an image_builder that builds from source"
    ),
    "matching platform tag": "it has no wheel for the pods' platform: take another version, or set platform",
}


def locked(
    environment: Environment, profile: Profile, report: Callable[[str], None], *, source: bool = False
) -> Environment:
    """Return *environment* with its lock: what its requirements come to, or the one that it has, with the indexes.

    *source* is as in `resolve`.
    """
    if not environment.requirements or _OPTION.match(environment.lock):
        return environment
    lock = resolve(
        () if environment.lock else environment.requirements,
        python=environment.python,
        platform=environment.platform,
        report=report,
        index_urls=profile.index_urls,
        certificates=profile.certificates,
        source=source,
    )
    return replace(environment, lock=lock + environment.lock)


def resolve(
    requirements: Sequence[str],
    *,
    python: str,
    platform: str,
    report: Callable[[str], None],
    index_urls: Sequence[str] = (),
    certificates: str | None = None,
    source: bool = False,
    fresh: bool = False,
) -> str:
    """Return the lock of *requirements* (PEP 508) for the minor version *python* on *platform*.

    *index_urls* take the place of the indexes that uv knows here, and *certificates*, a file, of the authorities that
    it trusts. With *source* the lock may have what must be built from its source. *fresh* takes no lock from the cache.
    `EnvironmentBuildError` with the resolver's own words.
    """
    wanted = sorted({_travelling(requirement) for requirement in requirements})
    if platform not in PLATFORMS:
        msg = f"no lock can be made for the platform {platform!r}: there are {', '.join(PLATFORMS)}"
        raise UnsolvableError(msg)
    uv = Uv(_for_pods(with_indexes(os.environ, index_urls, certificates), report))
    options = [f"--python-version={python}", f"--python-platform={PLATFORMS[platform]}"]
    options += [] if source else ["--only-binary=:all:"]
    kept = _kept(wanted, options, uv)
    if not fresh and (lock := _read_fresh(kept)):
        return lock
    started = perf_counter()
    kept.parent.mkdir(parents=True, exist_ok=True)
    lock = _cleaned(_compile(uv, wanted, options, kept.parent), report)
    if wanted:
        report(f"resolved {', '.join(wanted)} to {len(pins(lock))} distributions in {perf_counter() - started:.1f} s")
    partial = kept.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    partial.write_text(lock, encoding="utf-8")
    partial.replace(kept)
    return lock


def pins(lock: str) -> dict[str, str]:
    """Return the distributions of *lock*, each with its version or its URL."""
    found = (_PIN.match(line) for line in lock.splitlines())
    return {each["name"]: each["version"] or each["url"] for each in found if each}


def parsed(text: str) -> Requirement:
    """Return the requirement *text*; `UnsolvableError` if it is none."""
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - only who installs needs it

    try:
        return Requirement(text)
    except InvalidRequirement as exc:
        msg = f"{text!r} is no requirement such as 'torch==2.6.0' or 'name @ https://…': {exc}"
        raise UnsolvableError(msg) from exc


def credentials_in(requirement: Requirement) -> str:
    """Return what is wrong with *requirement* if its URL holds credentials, without telling them; else nothing."""
    url = urlsplit(requirement.url or "")
    if url.username is None:
        return ""
    return (
        f"{requirement.name} has credentials in its URL of {url.hostname}, and whoever may read Jobs or images would "
        "read them: leave them out; index_secret names those of the pods, and ~/.netrc has those of this machine"
    )


def _travelling(text: str) -> str:
    """Return the requirement *text* in its usual form; `UnsolvableError` for one that pods cannot fetch."""
    requirement = parsed(text)
    if wrong := credentials_in(requirement):
        raise UnsolvableError(wrong)
    scheme = urlsplit(requirement.url or "").scheme
    if scheme == "file":
        msg = (
            f"{text!r} is a path of this machine, which pods do not see: leave it out if your code imports it, since a "
            "project's source travels by itself, or put a wheel of it into a package index"
        )
        raise UnsolvableError(msg)
    if requirement.url and scheme not in {"http", "https"}:
        msg = f"{text!r} has no hash that pods could check: put a wheel of it into a package index, or give its URL"
        raise UnsolvableError(msg)
    return str(requirement)


def _for_pods(environ: dict[str, str], report: Callable[[str], None]) -> dict[str, str]:
    """Return *environ* without the folders that only this machine has."""
    made = uv_environ(environ)
    made.pop("PIP_FIND_LINKS", None)
    links = [each for each in made.pop("UV_FIND_LINKS", "").split(",") if each]
    here = [each for each in links if not each.startswith(("http://", "https://"))]
    if here:
        report(f"{', '.join(here)} is not used: pods do not see it")
    there = [each for each in links if each not in here]
    return made | ({"UV_FIND_LINKS": ",".join(there)} if there else {})


def _kept(wanted: list[str], options: list[str], uv: Uv) -> Path:
    """Return the file of the cache for what is asked, by all that the answer depends on."""
    files = {str(path): sha256(path.read_bytes()).hexdigest() for path in _config_files(uv.environ) if path.exists()}
    question = [wanted, options, answer_settings(uv.environ), files]
    return cache_folder("locks") / f"{sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:32]}.txt"


def _config_files(environ: dict[str, str]) -> list[Path]:
    from platformdirs import site_config_path, user_config_path  # noqa: PLC0415 - only who resolves needs it

    named = environ.get("UV_CONFIG_FILE")
    return [path / "uv.toml" for path in (user_config_path("uv"), site_config_path("uv"), Path("/etc/uv"))] + (
        [Path(named)] if named else []
    )


def _read_fresh(kept: Path) -> str:
    try:
        return kept.read_text(encoding="utf-8") if time.time() - kept.stat().st_mtime < FRESH_SECONDS else ""
    except FileNotFoundError:
        return ""


def _compile(uv: Uv, wanted: list[str], options: list[str], folder: Path) -> str:
    always = ("--generate-hashes", "--no-header", "--no-annotate", "--emit-index-url", "--emit-find-links", "--quiet")
    here = ("--python", sys.executable, "--no-python-downloads")
    try:
        return uv.run("pip", "compile", "-", *always, *here, *options, folder=folder, given="\n".join(wanted))
    except EnvironmentBuildError as exc:
        # uv wraps its lines to what it takes for the width of a terminal.
        said = " ".join(str(exc).split())
        remedy = next((advice for words, advice in _REMEDIES.items() if words in said), "")
        msg = f"{', '.join(wanted)} cannot be resolved:\n{exc}" + (f"\n{remedy}" if remedy else "")
        raise type(exc)(msg) from None


def _cleaned(lock: str, report: Callable[[str], None]) -> str:
    """Return *lock* without credentials, and without places that only this machine sees."""
    lines = []
    for line in lock.splitlines():
        option = _OPTION.fullmatch(line.strip())
        if option is None:
            lines.append(line)
            continue
        url = urlsplit(option["where"])
        if url.scheme not in {"http", "https"}:
            report(f"{option['where']} is not used: pods do not see it")
            continue
        host = url.netloc.rpartition("@")[2]
        if host != url.netloc:
            report(f"the credentials of {host} stay here: index_secret names those of the pods")
        lines.append(f"{option['option']} {urlunsplit(url._replace(netloc=host))}")
    return "\n".join(lines) + "\n"
