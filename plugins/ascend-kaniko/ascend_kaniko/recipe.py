"""How Kaniko builds an environment: one container that runs its executor as root, without privileges.

The executor unpacks the base image over its own root folder, and runs each step there. So a step sees what is mounted
into the container: the last version of the project that began it, which knows no secrets, is given them so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ascend.building.instructions import CERTIFICATES, NETRC, SECRETS_FOLDER
from ascend.building.names import image_labels
from ascend.building.plugin_settings import plugin_settings
from ascend.building.pod_parts import (
    CONTEXT,
    PASSWORDS,
    dockerfile_files,
    dockerfile_pod,
    path_of,
    plain_registries,
    secret_paths,
)
from ascend.building.recipes import DOCKERFILE, FILES_FOLDER, REGISTRY_FOLDER, Failure, proxy_variables
from ascend.building.steps import steps_of
from ascend_kaniko.log import failure_of
from ascend_kaniko.settings import KanikoSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ascend.building.recipes import Build, Recipe
    from ascend.model import Environment, Manifest, Profile

_CACHE_HOURS = 14 * 24
_COMPRESSION = 1  # packed and unpacked once or twice, in the same network: a tenth more bytes, a third of the time


def kaniko_recipe(profile: Profile) -> Recipe:
    """Return how `kaniko` builds by the table of the plugin in *profile*; `ConfigError` for what is wrong there."""
    return _KanikoRecipe(profile)


class _KanikoRecipe:
    name = "kaniko"
    builds_source = True

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._settings = plugin_settings(profile, self.name, KanikoSettings)
        self.version = f"1-{self._settings.executor}-{self._settings.installer}"

    def refuses(self, environment: Environment) -> str | None:
        steps = steps_of(environment.dockerfile or "")
        if self._settings.executor == "upstream" and any(step.heredocs for step in steps):
            return "its last upstream version reads no here-documents; take executor 'maintained', or 'buildkit'"
        return None

    def files(self, environment: Environment) -> Mapping[str, bytes]:
        return dockerfile_files(environment, self._profile, self._settings.installer)

    def pod(self, build: Build) -> Manifest:
        variables = {**proxy_variables(build.profile), "DOCKER_CONFIG": REGISTRY_FOLDER}
        if CERTIFICATES in build.files:
            # Beside those in the folder that its image names.
            variables["SSL_CERT_FILE"] = build.files[CERTIFICATES]
        mounts: list[dict[str, Any]] = []
        if self._settings.executor == "maintained":
            variables["FF_KANIKO_RUN_MOUNT_SECRET"] = "true"  # noqa: S105 - a switch
        else:
            mounts += _secret_mounts(build)
        container = {
            "name": "main",
            "image": self._settings.reference,
            "command": ["/kaniko/executor", *(word.replace("$", "$$") for word in self._words(build))],
            # The executor reads these; the steps of a Dockerfile see none of them.
            "env": [{"name": name, "value": value.replace("$", "$$")} for name, value in variables.items()],
            # It gives files the owners that they have in images: that takes root, with what every container may do.
            "securityContext": {
                "runAsUser": 0,
                "runAsNonRoot": False,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumeMounts": mounts,
        }
        return dockerfile_pod(build, container, [])

    def failure(self, lines: Sequence[str], receipt: bytes, dockerfile: str) -> Failure:  # noqa: ARG002 - the log has all
        return failure_of(lines, dockerfile)

    def _words(self, build: Build) -> Iterator[str]:
        yield f"--context=tar://{path_of(build, CONTEXT)}"
        yield f"--dockerfile={FILES_FOLDER}/{DOCKERFILE}"
        yield f"--destination={build.destination}"
        yield f"--custom-platform={build.environment.platform}"
        yield f"--compression-level={_COMPRESSION}"
        for name, value in image_labels(build.environment, builder=self.name).items():
            yield f"--label={name}={value}"
        for name, value in proxy_variables(build.profile).items():
            # Of these every step knows without a word in the Dockerfile, and the image keeps none of them.
            yield f"--build-arg={name}={value}"
        for registry in plain_registries(build):
            yield f"--insecure-registry={registry}"
        if self._settings.cache:
            yield "--cache=true"
            yield f"--cache-repo={build.place.registry}/{build.place.repository_of('cache')}"
            yield f"--cache-ttl={_CACHE_HOURS}h"
        if self._settings.executor == "maintained":
            for name, path in secret_paths(build.profile).items():
                yield f"--secret=id={name},src={path}"
        else:
            # The maintained one does so unless it is told otherwise.
            yield "--skip-unused-stages"


def _secret_mounts(build: Build) -> Iterator[dict[str, Any]]:
    """Yield mounts of the secrets where a step looks for them, for an executor that does not bring them there."""
    volumes = {NETRC: PASSWORDS, CERTIFICATES: "files"}
    for name in secret_paths(build.profile):
        yield {"name": volumes[name], "mountPath": f"{SECRETS_FOLDER}/{name}", "subPath": name, "readOnly": True}
