"""Built images as the registry, Leases and Jobs tell of them: read once, as small values."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import update_wrapper
from typing import TYPE_CHECKING, Any

import click

from ascend._builtin.kubernetes.failures import ApiError
from ascend._builtin.kubernetes.features import JOBS
from ascend._builtin.kubernetes.lease import LEASES
from ascend.building.build_manifest import BUILD_LABEL
from ascend.building.names import parse_image, parse_place
from ascend.building.registry import Registry
from ascend.building.usage import IMAGE_LABEL
from ascend.cli.kubernetes import asking, for_completion, open_connection, pick_profile, place_options
from ascend.cli.state import moment_of
from ascend.errors import ConfigError, ImageNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from click.shell_completion import CompletionItem

    from ascend._builtin.kubernetes.connection import Connection
    from ascend.building.names import ImageName, Place
    from ascend.errors import AscendError
    from ascend.model import Profile

__all__ = [
    "ImageView",
    "Uses",
    "builds_of",
    "complete_images",
    "find_image",
    "images_in",
    "no_such_image",
    "registry_of",
    "uses_of",
    "with_builds",
]

_DENIED = {401, 403}
_PLATFORM = "linux/amd64"


@dataclass(frozen=True, slots=True)
class ImageView:
    """One image: its *keys* are all names that environments gave it; *used* is when, `None` if nobody has noted that.

    *jobs* are those that name it, as ``namespace/name``.
    """

    image: str
    keys: tuple[str, ...]
    size: int
    builder: str
    base: str
    requirements: str
    used: float | None
    jobs: tuple[str, ...]

    @property
    def name(self) -> ImageName:
        """Its name by digest."""
        return parse_image(self.image)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Uses:
    """What uses images: *last* by their keys, *jobs* by what these name.

    *leases* are the namespaces that have noted a use, by the key. *everywhere* says whether all namespaces were read.
    """

    last: Mapping[str, float]
    jobs: Mapping[str, tuple[str, ...]]
    leases: Mapping[str, tuple[str, ...]]
    everywhere: bool

    def of(self, keys: Iterable[str], digest: str) -> tuple[float | None, tuple[str, ...]]:
        """Return when an image was last used, and which Jobs name it."""
        moments = [self.last[key] for key in keys if key in self.last]
        jobs = [job for image, names in self.jobs.items() if _is_named(image, keys, digest) for job in names]
        return max(moments, default=None), tuple(sorted(jobs))


def registry_of(profile: Profile) -> tuple[Registry, Place]:
    """Return the registry of built images, and the place in it; `ConfigError` if none is set."""
    if profile.registry is None:
        msg = "there are no built images without a registry: set registry, as in ASCEND_REGISTRY=registry.example/team"
        raise ConfigError(msg)
    place = parse_place(profile.registry)
    return Registry(place.registry, plain=place.plain, ca_file=profile.certificates), place


def images_in(registry: Registry, place: Place, uses: Uses) -> Iterator[ImageView]:
    """Yield the images of *place*, each once however many keys it has."""
    found: dict[str, list[str]] = {}
    for key in sorted(registry.tags(place.repository)):
        digest = registry.digest(place.image(key))
        if digest is not None:
            found.setdefault(digest, []).append(key)
    for digest, keys in found.items():
        try:
            yield _view(registry, place.image(keys[0]).at(digest), tuple(keys), uses)
        except ImageNotFoundError:
            # Somebody deletes it in this moment, or it is for another platform.
            continue


def _view(registry: Registry, image: ImageName, keys: tuple[str, ...], uses: Uses) -> ImageView:
    manifest = registry.manifest(image, _PLATFORM)
    config = json.loads(registry.blob(image.repository, manifest.config.digest))
    labels = (config.get("config") or {}).get("Labels") or {}
    used, jobs = uses.of(keys, image.digest)
    return ImageView(
        image=str(image),
        keys=keys,
        size=sum(layer.size for layer in manifest.layers),
        builder=labels.get("ascend.dev/builder", ""),
        base=labels.get("ascend.dev/base", ""),
        requirements=labels.get("ascend.dev/requirements", ""),
        used=used,
        jobs=jobs,
    )


def builds_of(connection: Connection) -> list[dict[str, Any]]:
    """Return the Jobs that build, and those that have built a while ago."""
    with asking("list Jobs"):
        return connection.items(connection.path("jobs", api=JOBS), labelSelector=BUILD_LABEL)[0]


def uses_of(connection: Connection) -> Uses:
    """Return what uses images in all namespaces that may be read: all of the cluster, or else this one."""
    leases, all_leases = _everywhere(connection, "leases", LEASES, IMAGE_LABEL)
    jobs, all_jobs = _everywhere(connection, "jobs", JOBS, "")
    last: dict[str, float] = {}
    noted: dict[str, tuple[str, ...]] = {}
    for lease in leases:
        key = lease["metadata"]["labels"][IMAGE_LABEL]
        last[key] = max(last.get(key, 0.0), moment_of(lease["spec"].get("renewTime")) or 0.0)
        noted[key] = (*noted.get(key, ()), lease["metadata"]["namespace"])
    named: dict[str, tuple[str, ...]] = {}
    for job in jobs:
        spec = job["spec"]["template"]["spec"]
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            name = f"{job['metadata']['namespace']}/{job['metadata']['name']}"
            named[container["image"]] = (*named.get(container["image"], ()), name)
    return Uses(last, named, noted, everywhere=all_leases and all_jobs)


def _everywhere(connection: Connection, kind: str, api: str, selector: str) -> tuple[list[dict[str, Any]], bool]:
    """Return objects of all namespaces, and that they are; of this one alone where more is not allowed."""
    query = {"labelSelector": selector} if selector else {}
    try:
        return connection.items(f"/{api}/{kind}", **query)[0], True
    except ApiError as error:
        if error.status not in _DENIED:
            raise
    with asking(f"list {kind}"):
        return connection.items(connection.path(kind, api=api), **query)[0], False


def _is_named(image: str, keys: Iterable[str], digest: str) -> bool:
    return image.endswith(f"@{digest}") or any(image.endswith(f":{key}") for key in keys)


def find_image(images: Iterable[ImageView], key: str) -> ImageView | None:
    """Return the image of which a key begins with *key*; `UsageError` if that is true of several."""
    found = [each for each in images if any(one.startswith(key) for one in each.keys)]
    if len(found) > 1:
        msg = f"{len(found)} images have keys that begin with {key}: `ascend image list` shows them"
        raise click.UsageError(msg)
    return found[0] if found else None


def no_such_image(key: str) -> AscendError:
    """Return the error for a key that was not found."""
    return ImageNotFoundError(f"there is no built image with the key {key}: `ascend image list` shows those there are")


def with_builds(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that lead to a cluster; hand over the profile, and a connection to where builds run."""

    def connected(name: str | None, *, context: str | None, namespace: str | None, **kwargs: Any) -> None:
        profile = pick_profile(name, context, namespace)
        connection = open_connection(_of_builds(profile))
        try:
            command(profile, connection, **kwargs)
        finally:
            connection.close()

    return place_options(click.pass_obj(update_wrapper(connected, command)))


def complete_images(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the key of an image that was used from here, or is built; nothing if the cluster does not answer."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - for completion only

    def ask(connection: Connection) -> list[dict[str, Any]]:
        leases, _ = connection.items(connection.path("leases", api=LEASES), labelSelector=IMAGE_LABEL)
        return [*leases, *builds_of(connection)]

    labels = [item["metadata"]["labels"] for item in for_completion(ctx, ask, _of_builds)]
    keys = {each.get(IMAGE_LABEL) or each[BUILD_LABEL] for each in labels}
    return [CompletionItem(key) for key in sorted(keys) if key.startswith(incomplete)]


def _of_builds(profile: Profile) -> Profile:
    return replace(profile, namespace=profile.build_namespace or profile.namespace)
