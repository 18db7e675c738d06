"""Parts that the recipes of all builders of Dockerfiles share: their files, and all of their pods but the container."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any, Literal

from ascend.building.certificates import read_certificates
from ascend.building.dockerfiles import from_images
from ascend.building.instructions import CERTIFICATES, NETRC, InstallSettings, context_of, dockerfile_of
from ascend.building.names import parse_image
from ascend.building.recipes import DOCKERFILE, FILES_FOLDER, RESTRICTED, build_mounts, build_volumes, node_selector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ascend.building.recipes import Build
    from ascend.model import Environment, Manifest, Profile

__all__ = ["CONTEXT", "PASSWORDS", "dockerfile_files", "dockerfile_pod", "path_of", "plain_registries", "secret_paths"]

CONTEXT = "context.tar.gz"
"""The name of the file with the build context: a tar, packed by gzip."""

PASSWORDS = "passwords"
"""The name of the volume with the Secret that ``index_secret`` names; that with the files is ``files``."""

_PASSWORDS_FOLDER = "/ascend/passwords"
_FETCHED_FOLDER = "/ascend/fetched"
_FETCH = """\
import hashlib, sys, urllib.request
for path, url, digest in zip(*[iter(sys.argv[1:])] * 3):
    with urllib.request.urlopen(url, timeout=60) as answer, open(path, "wb") as file:
        found = hashlib.sha256()
        while block := answer.read(1 << 20):
            found.update(block)
            file.write(block)
    if found.hexdigest() != digest:
        sys.exit(f"{path} is not the file that was stored: its digest differs")
"""


def dockerfile_files(environment: Environment, profile: Profile, installer: Literal["pip", "uv"]) -> dict[str, bytes]:
    """Return the files of a recipe: the Dockerfile, its context, and the authorities that ``certificates`` names."""
    settings = InstallSettings(installer, tuple(secret_paths(profile)))
    files = {
        DOCKERFILE: dockerfile_of(environment, base=environment.base_image, settings=settings).encode(),
        CONTEXT: gzip.compress(context_of(environment), mtime=0),
    }
    if profile.certificates is not None:
        files[CERTIFICATES] = read_certificates(profile.certificates)
    return files


def dockerfile_pod(build: Build, container: dict[str, Any], volumes: list[dict[str, Any]]) -> Manifest:
    """Return the pod of *container*, with what it mounts added to it; *volumes* are those of its own.

    A file that was too large for the Secret of the build is fetched first, by the Python of the base image.
    """
    mounts = build_mounts(build)
    volumes = [*volumes, *build_volumes(build)]
    if build.profile.index_secret is not None:
        source = {"secretName": build.profile.index_secret, "defaultMode": 0o444}
        volumes.append({"name": PASSWORDS, "secret": source})
        mounts.append({"name": PASSWORDS, "mountPath": _PASSWORDS_FOLDER, "readOnly": True})
    pod: Manifest = {"nodeSelector": node_selector(build.environment.platform), "volumes": volumes}
    if fetched := {name: url for name, url in build.files.items() if "://" in url}:
        pod["initContainers"] = [_fetching(build, fetched)]
        volumes.append({"name": "fetched", "emptyDir": {}})
        mounts.append({"name": "fetched", "mountPath": _FETCHED_FOLDER, "readOnly": True})
    return {**pod, "containers": [{**container, "volumeMounts": [*container.get("volumeMounts", ()), *mounts]}]}


def path_of(build: Build, name: str) -> str:
    """Return where the container of a `dockerfile_pod` finds the file *name*."""
    where = build.files[name]
    return f"{_FETCHED_FOLDER}/{name}" if "://" in where else where


def secret_paths(profile: Profile) -> dict[str, str]:
    """Return what steps may read, by the ids of `InstallSettings`, each with its path in a `dockerfile_pod`."""
    paths = {} if profile.index_secret is None else {NETRC: f"{_PASSWORDS_FOLDER}/{NETRC}"}
    return paths if profile.certificates is None else {**paths, CERTIFICATES: f"{FILES_FOLDER}/{CERTIFICATES}"}


def plain_registries(build: Build) -> list[str]:
    """Return those registries that are spoken to without TLS, of the image of *build* and of those it starts from."""
    starts = from_images(build.environment.dockerfile) if build.environment.dockerfile else [build.base]
    registries = {build.destination.registry, *(parse_image(each).registry for each in starts if "$" not in each)}
    return sorted(each for each in registries if build.place.speaks_plainly(each))


def _fetching(build: Build, files: Mapping[str, str]) -> dict[str, Any]:
    words = [word for name, url in files.items() for word in (path_of(build, name), url, build.digests[name])]
    return {
        "name": "fetch",
        "image": build.base,
        "command": ["python", "-c", _FETCH, *words],
        "securityContext": dict(RESTRICTED),
        "volumeMounts": [{"name": "fetched", "mountPath": _FETCHED_FOLDER}],
    }
