"""Where the standard library's own tests are: with this interpreter, or in Debian's package of them."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
RUNNER = Path(__file__).with_name("conformance_run.py")
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
PACKAGE = f"libpython{VERSION}-testsuite"


class SuiteMissingError(Exception):
    """The tests are neither with this interpreter nor to be had as a package."""


def find_suite() -> Path:
    """Return a folder for the runner's ``--testsuite``; fetches Debian's package into ``.cache`` if it must."""
    own = Path(sysconfig.get_paths()["stdlib"], "test")
    if (own / "test_concurrent_futures").is_dir() or (own / "test_concurrent_futures.py").is_file():
        return own
    target = ROOT / ".cache" / PACKAGE
    target.mkdir(parents=True, exist_ok=True)
    with FileLock(target / "lock"):
        if not (target / "complete").exists():
            _fetch(target)
            (target / "complete").touch()
    return target


def _fetch(target: Path) -> None:
    # Nothing is installed and no list of the system is touched, so this needs no rights.
    lists = target / "lists"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    own_lists = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={target / 'apt'}"]
    try:
        _run(["apt-get", "download", PACKAGE], target)
    except SuiteMissingError:
        _run(["apt-get", *own_lists, "update"], target)
        _run(["apt-get", *own_lists, "download", PACKAGE], target)
    for package in target.glob("*.deb"):
        _run(["dpkg", "-x", package.name, "."], target)


def _run(command: list[str], folder: Path) -> None:
    try:
        # apt-get fetches as another user unless told that it is one already.
        sandbox = ["-o", "APT::Sandbox::User=root"] if command[0] == "apt-get" else []
        subprocess.run(
            [*command, *sandbox],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError as error:
        raise SuiteMissingError(_advice(str(error))) from error
    except subprocess.CalledProcessError as error:
        raise SuiteMissingError(_advice(f"{' '.join(command)}: {error.stderr.strip()}")) from error


def _advice(cause: str) -> str:
    return (
        f"Python {VERSION} at {sys.base_prefix} has no test.test_concurrent_futures, and Debian's {PACKAGE} "
        f"cannot be fetched ({cause}). Use a Python that has its tests, or put the unpacked package into "
        f".cache/{PACKAGE} beside an empty file named complete."
    )
