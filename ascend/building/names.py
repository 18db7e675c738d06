"""Names of images: what a reference says, and the name under which an environment is built once and found again."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ascend.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ascend.model import Environment, Manifest

__all__ = [
    "KEY_LENGTH",
    "ImageName",
    "Place",
    "check_images",
    "check_registry",
    "image_key",
    "image_labels",
    "parse_image",
    "parse_place",
]

KEY_LENGTH = 40
"""How many characters the key of an environment has; it is the tag of its image, and part of the name of its Job."""

_HUB = "docker.io"
_REPOSITORY = re.compile(r"[a-z0-9]+((__|[._/]|-+)[a-z0-9]+)*")
_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?|\[[0-9A-Fa-f:]+\](:\d+)?")
_TAG = re.compile(r"[\w][\w.-]{0,127}")
_DIGEST = re.compile(r"[a-z0-9]+:[0-9a-f]{32,}")


@dataclass(frozen=True, slots=True)
class ImageName:
    """A reference to an image, taken apart: *registry* is its host, and its port if it has one."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        """Return it as Kubernetes takes it; by its digest alone if it has one."""
        end = f"@{self.digest}" if self.digest else f":{self.tag or 'latest'}"
        return f"{self.registry}/{self.repository}{end}"

    @property
    def wanted(self) -> str:
        """What one asks the registry for: the digest, or else the tag."""
        return self.digest or self.tag or "latest"

    def at(self, digest: str) -> ImageName:
        """Return the name of the same image by *digest*."""
        return replace(self, tag="", digest=digest)


@dataclass(frozen=True, slots=True)
class Place:
    """Where built images go: the *registry*, a *path* in it, perhaps empty, and whether it speaks *plain* HTTP.

    *others* are further registries that do.
    """

    registry: str
    path: str
    plain: bool = False
    others: tuple[str, ...] = ()

    def image(self, key: str) -> ImageName:
        """Return the name of the image of an environment."""
        return ImageName(self.registry, self.repository, key)

    @property
    def repository(self) -> str:
        """The repository that holds the images of all environments."""
        return f"{self.path}/env" if self.path else "env"

    def repository_of(self, name: str) -> str:
        """Return a repository beside that one, such as a builder's ``cache``."""
        return f"{self.path}/{name}" if self.path else name

    def speaks_plainly(self, registry: str) -> bool:
        """Tell whether *registry* is spoken to without TLS: this one as its setting says, others as they were named."""
        if registry == self.registry:
            return self.plain
        return registry in self.others or registry.rpartition(":")[0] in {"localhost", "127.0.0.1"}


def parse_image(reference: str) -> ImageName:
    """Return *reference* taken apart, as `docker pull` would; `ConfigError` if it is none."""
    rest, _, digest = reference.partition("@")
    host, slash, path = rest.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, path = _HUB, rest
    repository, _, tag = path.partition(":")
    if host == _HUB and "/" not in repository:
        repository = f"library/{repository}"
    fits = _HOST.fullmatch(host) and _REPOSITORY.fullmatch(repository)
    if not fits or (digest and not _DIGEST.fullmatch(digest)) or (":" in path and not _TAG.fullmatch(tag)):
        msg = f"{reference!r} is no image: write it as in 'python:3.12-slim' or 'registry.example/team/python:3.12'"
        raise ConfigError(msg)
    return ImageName(host, repository, tag, digest)


def parse_place(setting: str) -> Place:
    """Return what the setting ``registry`` says: ``registry.example/team``, or with ``http://`` before it."""
    scheme, separator, _ = setting.partition("://")
    url = urlsplit(setting if separator else f"https://{setting}")
    path = url.path.strip("/")
    fits = _HOST.fullmatch(url.netloc) and (not path or _REPOSITORY.fullmatch(path))
    if not fits or url.query or url.fragment or (separator and scheme not in {"http", "https"}):
        msg = (
            f"registry must be as in 'registry.example/team/ascend', or 'http://localhost:5000/ascend' for one "
            f"without TLS, not {setting!r}; names and passwords stand in ~/.docker/config.json"
        )
        raise ConfigError(msg)
    return Place(url.netloc, path, plain=url.scheme == "http")


def check_registry(reference: str, allowed: Sequence[str] | None, where: str = "") -> None:
    """Raise `ConfigError` if *reference* is not below one of the *allowed*, such as ``registry.example/team``.

    *where* says what names it, as far as that is not a setting of ascend.
    """
    if allowed is None:
        return
    name = parse_image(reference)
    whole = f"{name.registry}/{name.repository}"
    if not any(f"{whole}/".startswith(f"{each.rstrip('/')}/") for each in allowed):
        remedy = "take an image from one of those" if where else "set base_image or registry to one of those"
        msg = (
            f"{reference}{where and f', which {where} names,'} is in no allowed registry: allowed_registries has "
            f"{', '.join(allowed) or 'none'}; {remedy}, or have {name.registry} added"
        )
        raise ConfigError(msg)


def check_images(job: Manifest, allowed: Sequence[str] | None) -> None:
    """Refuse a Job with an image from elsewhere, also one that a plugin or ``job_patch`` has put there."""
    pod = job["spec"]["template"]["spec"]
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        where = f"the container {container['name']} of the Job {job['metadata']['name']}"
        check_registry(container["image"], allowed, where)
    for volume in pod.get("volumes", ()):
        if reference := volume.get("image", {}).get("reference"):
            check_registry(reference, allowed, f"the volume {volume['name']} of the Job {job['metadata']['name']}")


def image_key(environment: Environment, *, base_digest: str, builder: str, version: str) -> str:
    """Return the name of an environment: the same for all who would build the same, another for any difference.

    *version* is the builder's own, raised whenever it makes another image of the same environment.
    """
    content = [
        base_digest,
        environment.platform,
        environment.python,
        environment.lock,
        sorted(set(environment.apt)),
        environment.dockerfile,
        sha256(environment.context).hexdigest() if environment.context is not None else None,
        builder,
        version,
    ]
    return sha256(json.dumps(content).encode()).hexdigest()[:KEY_LENGTH]


def image_labels(environment: Environment, *, builder: str) -> dict[str, str]:
    """Return the labels by which people and ``ascend image list`` see what an image was built for."""
    return {
        "ascend.dev/builder": builder,
        "ascend.dev/base": environment.base_image,
        "ascend.dev/python": environment.python,
        "ascend.dev/requirements": ", ".join(environment.requirements),
    }
