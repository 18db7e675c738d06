"""What an author of a builder writes: a recipe, which turns an environment into the pod that builds its image.

`ascend.building.jobs.JobBuilder` does the rest: names, locks, Jobs, logs, errors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ascend.building.build_options import BuildOptions
    from ascend.building.names import ImageName, Place
    from ascend.errors import RegistryError
    from ascend.model import Environment, Manifest, Profile

__all__ = [
    "DOCKERFILE",
    "FILES_FOLDER",
    "REGISTRY_FOLDER",
    "RESTRICTED",
    "Build",
    "Failure",
    "Recipe",
    "build_mounts",
    "build_volumes",
    "node_selector",
    "proxy_variables",
]

FILES_FOLDER = "/ascend/build"
"""Where a pod finds the files of its recipe."""

REGISTRY_FOLDER = "/ascend/registry"
"""Where a pod finds ``config.json``, with the credentials of the Secret that ``registry_secret`` names."""

DOCKERFILE = "Dockerfile"
"""The name of the file of a recipe that errors show."""

_PROXIES = {"ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}

RESTRICTED: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""The security context of a container that may run in every namespace."""


@dataclass(frozen=True, slots=True)
class Build:
    """One build: *environment* on the image *base*, which has its digest where that is known, to *destination*.

    *files* says where each file of the recipe is found: a path in the pod, or a URL that needs no credentials;
    *digests* are their SHA-256, by the same names. *secret* is the Secret behind those paths.
    """

    environment: Environment
    base: str
    destination: ImageName
    place: Place
    profile: Profile
    options: BuildOptions
    files: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    secret: str = ""


class Failure(NamedTuple):
    """What a recipe reads from a failed build: the *step*, why in a sentence, and the registry's refusal if any."""

    step: str = ""
    message: str = ""
    cause: RegistryError | None = None


@runtime_checkable
class Recipe(Protocol):
    """How one kind of builder makes an image."""

    @property
    def name(self) -> str:
        """What users write as ``image_builder``."""
        ...

    @property
    def version(self) -> str:
        """What is raised whenever the same environment comes to another image: it is a part of the image's name."""
        ...

    @property
    def builds_source(self) -> bool:
        """Whether it also takes distributions that are there only as source; otherwise locks have wheels only."""
        ...

    def refuses(self, environment: Environment) -> str | None:
        """Return why this builder cannot make *environment*, and which can; `None` if it can."""
        ...

    def files(self, environment: Environment) -> Mapping[str, bytes]:
        """Return what the pod needs, by name, such as a `DOCKERFILE`; those of *environment* have its lock.

        Its *base_image* has the digest that is built on, unless a Dockerfile of the user's says what that is.
        """
        ...

    def pod(self, build: Build) -> Manifest:
        """Return the pod's spec. Its container ``main`` builds and pushes, and exits with 0 once both are done.

        What every such pod has is added: memory and CPUs, also for init containers, a deadline, pull secrets, what
        `build_volumes` does not bring.
        """
        ...

    def failure(self, lines: Sequence[str], receipt: bytes, dockerfile: str) -> Failure:
        """Return what the last *lines* of the log and the termination message say of a build that failed.

        *dockerfile* is the text of its `DOCKERFILE`, or empty if it has none.
        """
        ...


def proxy_variables(profile: Profile) -> dict[str, str]:
    """Return those variables of *profile* by which programs find a proxy: builds need them as tasks do."""
    return {name: value for name, value in (profile.needs.env or {}).items() if name.upper() in _PROXIES}


def build_volumes(build: Build) -> list[dict[str, Any]]:
    """Return the volumes with the files of the recipe and the credentials for registries."""
    volumes: list[dict[str, Any]] = [{"name": "files", "secret": {"secretName": build.secret, "defaultMode": 0o444}}]
    if build.profile.registry_secret is not None:
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        source = {"secretName": build.profile.registry_secret, "defaultMode": 0o444, "items": items}
        # A pod whose volume is missing would wait for ever, without a word in its status; the registry says more.
        source["optional"] = True
        volumes.append({"name": "registry", "secret": source})
    return volumes


def build_mounts(build: Build) -> list[dict[str, Any]]:
    """Return how a container mounts those volumes."""
    mounts = [{"name": "files", "mountPath": FILES_FOLDER, "readOnly": True}]
    if build.profile.registry_secret is not None:
        mounts.append({"name": "registry", "mountPath": REGISTRY_FOLDER, "readOnly": True})
    return mounts


def node_selector(platform: str) -> dict[str, str]:
    """Return the labels of nodes on which images of *platform* run."""
    system, _, architecture = platform.partition("/")
    return {"kubernetes.io/os": system, "kubernetes.io/arch": architecture}
