"""Image builder `layer`: a pod installs the lock and pushes it as one layer on top of the base, without any root."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ascend import errors
from ascend.building.certificates import read_certificates
from ascend.building.jobs import JobBuilder
from ascend.building.names import image_labels, parse_image
from ascend.building.pod_archive import pod_archive
from ascend.building.portable_uv import packed_uv, uv_lock
from ascend.building.recipes import (
    REGISTRY_FOLDER,
    RESTRICTED,
    Failure,
    build_mounts,
    build_volumes,
    node_selector,
    proxy_variables,
)
from ascend.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ascend.building.recipes import Build
    from ascend.interfaces import Storage
    from ascend.model import Environment, Manifest, Profile

__all__ = ["LayerRecipe", "layer_builder"]

_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from ascend._core.pod_layer import main; main()"
_ARCHIVE, _LOCK, _UV, _UV_LOCK, _CERTIFICATES = "builder.zip", "requirements.txt", "uv", "uv.txt", "certificates.pem"
# What `ascend._core.pod_install` calls them.
_WORDS = {_LOCK: "LOCK", _UV: "UV", _UV_LOCK: "UV_LOCK", _CERTIFICATES: "CERTIFICATES"}


def layer_builder(profile: Profile, storage: Storage | None) -> JobBuilder:
    """Return the builder; with a *storage*, uv travels by it, else the pod fetches it with pip."""
    return JobBuilder(LayerRecipe(profile, by_storage=storage is not None), profile, storage)


class LayerRecipe:
    """How `layer` builds; see `ascend._core.pod_layer` for what happens in the pod."""

    name = "layer"
    version = "1"
    builds_source = False

    def __init__(self, profile: Profile, *, by_storage: bool) -> None:
        self._profile = profile
        self._by_storage = by_storage

    def refuses(self, environment: Environment) -> str | None:
        if environment.dockerfile is not None:
            return "it reads no Dockerfile; take image_builder 'buildkit' or 'kaniko'"
        if environment.apt:
            return "it installs no apt packages, which takes root; take image_builder 'buildkit' or 'kaniko'"
        if not environment.requirements and not environment.lock:
            return "there is nothing to install"
        return None

    def files(self, environment: Environment) -> Mapping[str, bytes]:
        files = {_ARCHIVE: pod_archive(), _LOCK: environment.lock.encode()}
        if self._by_storage:
            files[_UV] = packed_uv(self._profile, environment.platform, _say_nothing)
        else:
            files[_UV_LOCK] = uv_lock(self._profile, environment.python, environment.platform, _say_nothing).encode()
        if self._profile.certificates is not None:
            files[_CERTIFICATES] = read_certificates(self._profile.certificates)
        return files

    def pod(self, build: Build) -> Manifest:
        variables: list[dict[str, Any]] = [
            {"name": name, "value": value.replace("$", "$$")} for name, value in self._variables(build).items()
        ]
        if build.profile.index_secret is not None:
            key = {"secretKeyRef": {"name": build.profile.index_secret, "key": "netrc"}}
            variables.append({"name": "ASCEND_NETRC", "valueFrom": key})
        container = {
            "name": "main",
            "image": build.base,
            "command": ["python", "-c", _BOOT, build.files[_ARCHIVE]],
            "workingDir": "/tmp",  # noqa: S108 - here and below: the pod's own
            "env": variables,
            "securityContext": dict(RESTRICTED),
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *build_mounts(build)],  # noqa: S108
        }
        volumes = [{"name": "tmp", "emptyDir": {}}, *build_volumes(build)]
        return {
            "containers": [container],
            "volumes": volumes,
            "nodeSelector": node_selector(build.environment.platform),
        }

    def failure(self, lines: Sequence[str], receipt: bytes, dockerfile: str) -> Failure:  # noqa: ARG002 - the receipt says it all
        try:
            said = json.loads(receipt)
            step, message, kind = said["step"], said["message"], getattr(errors, said["kind"], None)
        except (ValueError, KeyError, TypeError):
            # It was killed before it could say anything.
            return Failure()
        cause = kind(message) if isinstance(kind, type) and issubclass(kind, RegistryError) else None
        return Failure(step, message, cause)

    def _variables(self, build: Build) -> dict[str, str]:
        base, place = parse_image(build.base), build.place
        registries = {base.registry, build.destination.registry}
        labels = image_labels(build.environment, builder=self.name)
        found = {
            **proxy_variables(build.profile),
            "ASCEND_LAYER_BASE": build.base,
            "ASCEND_LAYER_IMAGE": str(build.destination),
            "ASCEND_LAYER_PLAIN": " ".join(sorted(each for each in registries if place.speaks_plainly(each))),
            "ASCEND_LAYER_PLATFORM": build.environment.platform,
            "ASCEND_LAYER_LABELS": json.dumps(labels, sort_keys=True),
            "ASCEND_RECEIPT": "/dev/termination-log",
            "ASCEND_SOURCE_DIR": "/tmp/.ascend",  # noqa: S108
            "HOME": "/tmp",  # noqa: S108
            "DOCKER_CONFIG": REGISTRY_FOLDER,
        }
        for name, word in _WORDS.items():
            if name in build.files:
                where = build.files[name]
                found[f"ASCEND_{word}_URL"] = where if "://" in where else PurePosixPath(where).as_uri()
                found[f"ASCEND_{word}_DIGEST"] = build.digests[name]
        return found


def _say_nothing(_: str) -> None:
    """Take what is said about uv, which nobody has asked for."""
