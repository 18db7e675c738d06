"""Credentials for registries, as `docker login` keeps them, and Secrets of the type ``dockerconfigjson``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ascend.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Credentials", "DockerConfig"]

_HUB = "docker.io"
_HUB_NAMES = {"docker.io", "index.docker.io", "registry-1.docker.io"}
_HELPER_SECONDS = 60
_TOKEN_USER = "<token>"  # noqa: S105 - how helpers say that the secret is a token


@dataclass(frozen=True)
class Credentials:
    """A name with its password, or an *identity_token* that a token server gives others for."""

    username: str = ""
    password: str = ""
    identity_token: str = ""

    def __repr__(self) -> str:
        """Return it without what is secret."""
        return f"Credentials({self.username!r})"


class DockerConfig:
    """What ``config.json`` says: entries of its own, helpers for single registries, and one for all others."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content = _read(path)

    @classmethod
    def of_user(cls, environ: Mapping[str, str] = os.environ) -> DockerConfig:
        """Return the one in ``$DOCKER_CONFIG``, or else in ``~/.docker``; one that is not there is empty."""
        folder = environ.get("DOCKER_CONFIG")
        return cls((Path(folder) if folder else Path.home() / ".docker") / "config.json")

    def find(self, registry: str, repository: str) -> Credentials | None:
        """Return what to show *registry* for *repository*; `None` if there is nothing, as for public images."""
        helper = self._helper(registry)
        if helper is not None:
            return _ask_helper(helper, registry, self.path)
        wanted = f"{_plain(registry)}/{repository}"
        # As Kubernetes does: the entry with the longest path counts.
        found = sorted((key for key in self._entries() if _serves(key, wanted)), key=len)
        return self._entry(found[-1]) if found else self._from_store(registry)

    def _entries(self) -> Iterator[str]:
        # An empty entry says that a store has it.
        return (key for key, entry in _table(self._content, "auths").items() if entry)

    def _helper(self, registry: str) -> str | None:
        for host, helper in _table(self._content, "credHelpers").items():
            if _plain(host) == _plain(registry):
                return str(helper)
        return None

    def _from_store(self, registry: str) -> Credentials | None:
        store = self._content.get("credsStore")
        return _ask_helper(str(store), registry, self.path) if store else None

    def _entry(self, key: str) -> Credentials:
        entry = _table(self._content, "auths")[key]
        name, password = str(entry.get("username", "")), str(entry.get("password", ""))
        if entry.get("auth"):
            try:
                name, _, password = b64decode(entry["auth"], validate=True).decode().partition(":")
            except (Base64Error, UnicodeDecodeError, TypeError) as exc:
                msg = f"the entry auths.{key} in {self.path} cannot be read: run `docker login {_plain(key)}` again"
                raise ConfigError(msg) from exc
        return Credentials(name, password.rstrip("\0"), str(entry.get("identitytoken", "")))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        msg = f"{path}, which has the credentials of registries, cannot be read: {exc}"
        raise ConfigError(msg) from exc
    return content if isinstance(content, dict) else {}


def _table(content: dict[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name)
    return found if isinstance(found, dict) else {}


def _plain(key: str) -> str:
    """Return the key of an entry without scheme and API version, which old versions of docker wrote."""
    host, slash, path = key.partition("://")[2 if "://" in key else 0].rstrip("/").partition("/")
    if host in _HUB_NAMES:
        host = _HUB
    return host + (f"/{path}" if slash and path not in {"v1", "v2"} else "")


def _serves(key: str, wanted: str) -> bool:
    host, _, path = _plain(key).partition("/")
    wanted_host, _, repository = wanted.partition("/")
    return fnmatchcase(wanted_host, host) and f"{repository}/".startswith(f"{path}/" if path else "")


def _ask_helper(helper: str, registry: str, path: Path) -> Credentials | None:
    program = shutil.which(f"docker-credential-{helper}")
    if program is None:
        msg = f"docker-credential-{helper}, which {path} names for {registry}, is not installed"
        raise ConfigError(msg)
    # Docker's own registry has kept the name under which its helpers know it.
    server = "https://index.docker.io/v1/" if registry in _HUB_NAMES else registry
    try:
        done = subprocess.run(
            [program, "get"], input=server, capture_output=True, text=True, check=False, timeout=_HELPER_SECONDS
        )
        answer = json.loads(done.stdout) if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired) as exc:
        msg = f"docker-credential-{helper} does not answer for {registry}: {exc}"
        raise ConfigError(msg) from exc
    if answer is None:
        if "not found" in done.stdout + done.stderr:
            return None
        msg = f"docker-credential-{helper} has no answer for {registry}: {(done.stdout + done.stderr).strip()}"
        raise ConfigError(msg)
    name, secret = str(answer.get("Username", "")), str(answer.get("Secret", ""))
    return Credentials(identity_token=secret) if name == _TOKEN_USER else Credentials(name, secret)
