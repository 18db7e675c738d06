"""An environment as a Dockerfile and the files beside it: pure functions, the same for every builder that takes one."""

from __future__ import annotations

import io
import re
import shlex
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ascend.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ascend.model import Environment

__all__ = ["LOCK_FILE", "SECRETS_FOLDER", "InstallSettings", "context_of", "dockerfile_of"]

LOCK_FILE = ".ascend-requirements.txt"
"""The name of the lock in the context of a build."""

SECRETS_FOLDER = "/run/secrets"
"""Where a step finds a secret of the build, under its id: what BuildKit does unless the step says otherwise."""

_LOCK_IN_IMAGE = "/usr/local/share/ascend/requirements.txt"
_IGNORE = ".dockerignore"
_APT_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9-]+)?([=/][A-Za-z0-9.+:~*-]+)?")
_SECRET_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPE = re.compile(r"\A(?:#.*\n)*?#\s*escape\s*=\s*(\S)\s*$", re.IGNORECASE | re.MULTILINE)
_PIP = ("python", "-m", "pip", "install", "--no-cache-dir")
_UV = ("uv", "pip", "install", "--system", "--break-system-packages", "--compile-bytecode", "--no-cache")


@dataclass(frozen=True, slots=True)
class InstallSettings:
    """How packages are installed in a build, beyond what the environment says.

    *installer* ``uv`` must be in the base image; pip comes with Python. *variables* are set for the installer alone and
    stay in the image's history, so they hold no password. *secrets* are the ids of what a step may read below
    `SECRETS_FOLDER`, such as ``netrc``: they are in no layer and in no variable of the image.
    *apt_options* are given to each call of ``apt-get``, as ``Acquire::https::CAInfo=/run/secrets/ca.crt``.
    """

    installer: Literal["pip", "uv"] = "pip"
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    apt_options: tuple[str, ...] = ()


def dockerfile_of(environment: Environment, *, base: str, settings: InstallSettings | None = None) -> str:
    """Return the text of a Dockerfile that makes *environment* on the image *base*.

    One that the user wrote comes first, unchanged, so that its lines keep their numbers; *base* is then not used, and
    what the environment has besides is installed in its last stage. `ConfigError` for a name that cannot be one.
    """
    settings = settings or InstallSettings()
    _check(environment, settings)
    own = environment.dockerfile
    escape = _ESCAPE.search(own) if own else None
    join = f" {escape[1] if escape else chr(92)}\n    ".join
    blocks = [own.rstrip("\n") if own else f"FROM {base}"]
    steps = [
        *([_run(_apt_commands(environment, settings), settings)] if environment.apt else []),
        *([f"COPY {LOCK_FILE} {_LOCK_IN_IMAGE}"] if environment.lock else []),
        *([_run(_install_commands(environment, settings), settings)] if environment.lock else []),
    ]
    # What is installed is root's, whoever the base image runs as; a pod says by itself who it is.
    blocks += ["USER root", *(join(step) if isinstance(step, list) else step for step in steps)] if steps else []
    return "\n".join(blocks) + "\n"


def context_of(environment: Environment) -> bytes:
    """Return the files that the Dockerfile of *environment* is built from, as an uncompressed tar.

    The same bytes for the same files. `ConfigError` if the user's have the name of one that ascend adds.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        if environment.context is not None:
            _copy_files(environment.context, archive)
        if environment.lock:
            _add(archive, LOCK_FILE, environment.lock.encode())
    return packed.getvalue()


def _check(environment: Environment, settings: InstallSettings) -> None:
    for what, pattern, names in (
        ("an apt package", _APT_PACKAGE, environment.apt),
        ("the id of a build secret", _SECRET_ID, settings.secrets),
        ("a variable", _VARIABLE, settings.variables),
    ):
        for name in names:
            if not pattern.fullmatch(name):
                raise ConfigError(f"{name!r} cannot be the name of {what}")


def _run(commands: Iterator[str], settings: InstallSettings) -> list[str]:
    """Return the lines of a step that runs *commands*, each only after the one before it has succeeded."""
    mounts = [f"--mount=type=secret,id={each}" for each in settings.secrets]
    first, *rest = commands
    return [f"RUN {' '.join([*mounts, first])}", *(f"&& {command}" for command in rest)]


def _apt_commands(environment: Environment, settings: InstallSettings) -> Iterator[str]:
    options = [word for option in settings.apt_options for word in ("-o", option)]
    yield shlex.join(["apt-get", *options, "update"])
    install = ["apt-get", *options, "install", "--yes", "--no-install-recommends", *environment.apt]
    yield f"DEBIAN_FRONTEND=noninteractive {shlex.join(install)}"
    yield "rm -rf /var/lib/apt/lists/*"


def _install_commands(environment: Environment, settings: InstallSettings) -> Iterator[str]:
    wanted = environment.python.replace(".", ", ")
    yield (
        f'python -c "import sys; sys.exit(None if sys.version_info[:2] == ({wanted}) else '
        f"'the image has Python %d.%d, and the task needs {environment.python}' % sys.version_info[:2])\""
    )
    ours = {} if settings.installer == "uv" else {"PIP_BREAK_SYSTEM_PACKAGES": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    variables = [f"{name}={shlex.quote(value)}" for name, value in {**ours, **settings.variables}.items()]
    command = _UV if settings.installer == "uv" else _PIP
    # The lock is complete: whatever it leaves out is not wanted, and whatever has another hash is not either.
    yield " ".join([*variables, *command, "--no-deps", "--require-hashes", "--requirement", _LOCK_IN_IMAGE])


def _copy_files(context: bytes, archive: tarfile.TarFile) -> None:
    with tarfile.open(fileobj=io.BytesIO(context), mode="r:") as given:
        for entry in given:
            name = entry.name.removeprefix("./")
            if name == LOCK_FILE:
                raise ConfigError(f"the build context has a file {LOCK_FILE}, which ascend writes itself; rename it")
            content = given.extractfile(entry) if entry.isreg() else None
            if content is not None and name == _IGNORE:
                # A rule such as * would keep out what ascend has added.
                _add(archive, _IGNORE, content.read().rstrip(b"\n") + f"\n!{LOCK_FILE}\n".encode())
            else:
                archive.addfile(entry, content)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
