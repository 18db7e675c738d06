"""An environment as the instructions of a Dockerfile and the files that they need: pure functions for all builders."""

from __future__ import annotations

import io
import re
import shlex
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ascend.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ascend.model import Environment

__all__ = ["CERTIFICATES", "LOCK_FILE", "NETRC", "SECRETS_FOLDER", "InstallSettings", "context_of", "dockerfile_of"]

LOCK_FILE = ".ascend-requirements.txt"
"""The name of the lock in the context of a build."""

SECRETS_FOLDER = "/run/secrets"
"""Where a step finds a secret of the build, under its id: what BuildKit does unless the step says otherwise."""

NETRC = "netrc"
"""The id of the secret with the passwords of package indexes."""

CERTIFICATES = "certificates.pem"
"""The id of the secret with the authorities to trust, which is none; but it is no part of the image either."""

_LOCK_IN_IMAGE = "/usr/local/share/ascend/requirements.txt"
_IGNORE = ".dockerignore"
_APT_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9-]+)?([=/][A-Za-z0-9.+:~*-]+)?")
_ESCAPE = re.compile(r"\A(?:#.*\n)*?#\s*escape\s*=\s*(\S)\s*$", re.IGNORECASE | re.MULTILINE)
_PLAIN_INDEX = re.compile(r"^--(?:index-url|extra-index-url|find-links) http://([^/\s@]+)", re.MULTILINE)
_PIP = ("python", "-m", "pip", "install", "--no-cache-dir", "--no-compile")
# pip would compile one file after the other, and what cannot be compiled is no error for it either.
_COMPILE = (
    'python -c "import compileall, sysconfig; '
    "compileall.compile_dir(sysconfig.get_path('purelib'), quiet=2, workers=0)\""
)
_UV = ("uv", "pip", "install", "--system", "--break-system-packages", "--compile-bytecode", "--no-cache")
_BEST = "--index-strategy=unsafe-best-match"  # any index of the lock may have a file: its hash decides


@dataclass(frozen=True, slots=True)
class InstallSettings:
    """How the steps of a build install packages.

    *installer* ``uv`` must be in the base image; pip comes with Python. *secrets* are those of `NETRC` and
    `CERTIFICATES` that the builder brings: a step finds them below `SECRETS_FOLDER`, and they are in no layer.
    """

    installer: Literal["pip", "uv"] = "pip"
    secrets: tuple[str, ...] = ()

    def variables(self) -> dict[str, str]:
        """Return the variables by which an installer finds the secrets."""
        named = {NETRC: ("NETRC",), CERTIFICATES: ("SSL_CERT_FILE", "PIP_CERT")}
        return {name: f"{SECRETS_FOLDER}/{secret}" for secret in self.secrets for name in named[secret]}


def dockerfile_of(environment: Environment, *, base: str, settings: InstallSettings | None = None) -> str:
    """Return the text of a Dockerfile that makes *environment* on the image *base*.

    One that the user wrote comes first, unchanged, so that its lines keep their numbers; *base* is then not used, and
    what the environment has besides is installed in its last stage. `ConfigError` for a name that cannot be one.
    """
    settings = settings or InstallSettings()
    _check(environment)
    own = environment.dockerfile
    escape = _ESCAPE.search(own) if own else None
    join = f" {escape[1] if escape else chr(92)}\n    ".join
    # Scripts of packages run as root: they are shown no password.
    trusted = tuple(each for each in settings.secrets if each != NETRC)
    steps: list[str] = []
    if environment.apt:
        steps.append(join(_run(_apt_commands(environment, settings), trusted)))
    if environment.lock:
        steps.append(f"COPY {LOCK_FILE} {_LOCK_IN_IMAGE}")
        steps.append(join(_run(_install_commands(environment, settings), settings.secrets)))
    if steps:
        # What is installed is root's, whoever the base image runs as; a pod says by itself who it is.
        steps.insert(0, "USER root")
    return "\n".join([own.rstrip("\n") if own else f"FROM {base}", *steps]) + "\n"


def context_of(environment: Environment) -> bytes:
    """Return the files that the Dockerfile of *environment* is built from, as an uncompressed tar.

    The same bytes for the same files, which all belong to root, as they do in an image. `ConfigError` if the user's
    have the name of one that ascend adds.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        _add_folder(archive, ".")
        if environment.context is not None:
            _copy_files(environment.context, archive)
        if environment.lock:
            _add(archive, LOCK_FILE, environment.lock.encode())
    return packed.getvalue()


def _check(environment: Environment) -> None:
    for name in environment.apt:
        if not _APT_PACKAGE.fullmatch(name):
            raise ConfigError(f"{name!r} in apt cannot be the name of a package, such as 'git' or 'git=1:2.39*'")


def _run(commands: Iterator[str], secrets: tuple[str, ...]) -> list[str]:
    """Return the lines of a step that runs *commands*, each only after the one before it has succeeded."""
    mounts = [f"--mount=type=secret,id={each}" for each in secrets]
    first, *rest = commands
    return [f"RUN {' '.join([*mounts, first])}", *(f"&& {command}" for command in rest)]


def _apt_commands(environment: Environment, settings: InstallSettings) -> Iterator[str]:
    trusts = CERTIFICATES in settings.secrets
    program = ["apt-get", *(["-o", f"Acquire::https::CAInfo={SECRETS_FOLDER}/{CERTIFICATES}"] if trusts else [])]
    yield shlex.join([*program, "update"])
    install = [*program, "install", "--yes", "--no-install-recommends", *environment.apt]
    yield f"DEBIAN_FRONTEND=noninteractive {shlex.join(install)}"
    yield "rm -rf /var/lib/apt/lists/*"


def _install_commands(environment: Environment, settings: InstallSettings) -> Iterator[str]:
    wanted = environment.python.replace(".", ", ")
    yield (
        f'python -c "import sys; sys.exit(None if sys.version_info[:2] == ({wanted}) else '
        f"'the image has Python %d.%d, and the task needs {environment.python}' % sys.version_info[:2])\""
    )
    pip = {"PIP_BREAK_SYSTEM_PACKAGES": "1", "PIP_NO_INPUT": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    ours = {**({} if settings.installer == "uv" else pip), **settings.variables()}
    # pip reads nothing without TLS that it was not told to; what comes is checked by the hashes of the lock.
    plain = [f"--trusted-host={host}" for host in dict.fromkeys(_PLAIN_INDEX.findall(environment.lock))]
    command = (*_UV, _BEST) if settings.installer == "uv" else (*_PIP, *plain)
    # The lock is complete: whatever it leaves out is not wanted, and whatever has another hash is not either.
    words = (*command, "--no-deps", "--require-hashes", "--requirement", _LOCK_IN_IMAGE)
    yield " ".join([*(f"{name}={value}" for name, value in ours.items()), *words])
    if settings.installer == "pip":
        yield _COMPILE


def _copy_files(context: bytes, archive: tarfile.TarFile) -> None:
    folders: set[str] = set()
    with tarfile.open(fileobj=io.BytesIO(context), mode="r:") as given:
        for entry in given:
            name = entry.name.removeprefix("./")
            _add_folders(archive, name, folders)
            if entry.isdir():
                folders.add(name.rstrip("/"))
            if name == LOCK_FILE:
                raise ConfigError(f"the build context has a file {LOCK_FILE}, which ascend writes itself; rename it")
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            content = given.extractfile(entry) if entry.isreg() else None
            if content is not None and name == _IGNORE:
                # A rule such as * would keep out what ascend has added.
                _add(archive, _IGNORE, content.read().rstrip(b"\n") + f"\n!{LOCK_FILE}\n".encode())
            else:
                archive.addfile(entry, content)


def _add_folders(archive: tarfile.TarFile, name: str, known: set[str]) -> None:
    """Add the folders of a file that have no entry of their own: some builders let only root into those they make."""
    parts = name.split("/")[:-1]
    for folder in ("/".join(parts[: count + 1]) for count in range(len(parts))):
        if folder not in known:
            known.add(folder)
            _add_folder(archive, folder)


def _add_folder(archive: tarfile.TarFile, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    archive.addfile(entry)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
