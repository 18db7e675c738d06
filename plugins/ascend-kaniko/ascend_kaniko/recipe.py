"""How Kaniko builds an environment: one container that runs its executor as root, without privileges.

The executor unpacks the base image over its own root folder, and runs each step there. So a step sees what is mounted
into the container: the last version of the project that began it, which knows no secrets, is given them so.
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

from ascend.building.instructions import (
    CERTIFICATES,
    NETRC,
    SECRETS_FOLDER,
    InstallSettings,
    context_of,
    dockerfile_of,
)
from ascend.building.names import image_labels
from ascend.building.plugin_settings import plugin_settings
from ascend.building.pod_parts import (
    add_fetched,
    add_passwords,
    node_selector,
    path_of,
    plain_registries,
    secret_files,
    secret_paths,
)
from ascend.building.recipes import (
    DOCKERFILE,
    FILES_FOLDER,
    REGISTRY_FOLDER,
    Failure,
    build_mounts,
    build_volumes,
)
from ascend.building.steps import steps_of
from ascend_kaniko.log import failure_of
from ascend_kaniko.settings import KanikoSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ascend.building.recipes import Build
    from ascend.model import Environment, Manifest, Profile

_CONTEXT = "context.tar.gz"
_CACHE_HOURS = 14 * 24


class KanikoRecipe:
    """How `kaniko` builds; the settings are those of the table of the plugin in *profile*."""

    name = "kaniko"
    builds_source = True

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._settings = plugin_settings(profile, self.name, KanikoSettings)
        self.version = f"1-{self._settings.executor}-{self._settings.installer}"

    def refuses(self, environment: Environment) -> str | None:
        heredoc = environment.dockerfile is not None and any(step.heredocs for step in steps_of(environment.dockerfile))
        if heredoc and self._settings.executor == "upstream":
            return "its last upstream version reads no here-documents; take executor 'maintained', or 'buildkit'"
        return None

    def files(self, environment: Environment) -> Mapping[str, bytes]:
        install = InstallSettings(self._settings.installer, tuple(secret_paths(self._profile)))
        return {
            DOCKERFILE: dockerfile_of(environment, base=environment.base_image, settings=install).encode(),
            _CONTEXT: gzip.compress(context_of(environment), mtime=0),
            **secret_files(self._profile),
        }

    def pod(self, build: Build) -> Manifest:
        container = {
            "name": "main",
            "image": self._settings.reference,
            "command": ["/kaniko/executor", *self._words(build)],
            "env": [{"name": name, "value": value} for name, value in self._variables(build).items()],
            # It changes the owners of files as images have them; that takes root, and no more than a container has.
            "securityContext": {
                "runAsUser": 0,
                "runAsNonRoot": False,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumeMounts": build_mounts(build),
        }
        pod = {
            "containers": [container],
            "volumes": build_volumes(build),
            "nodeSelector": node_selector(build.environment.platform),
        }
        add_passwords(build.profile, pod)
        add_fetched(build, pod)
        if self._settings.executor == "upstream":
            container["volumeMounts"] += self._secret_mounts(build)
        return pod

    def failure(self, lines: Sequence[str], receipt: bytes, dockerfile: str) -> Failure:  # noqa: ARG002 - the log says all
        return failure_of(lines, dockerfile)

    def _words(self, build: Build) -> Iterator[str]:
        yield f"--context=tar://{path_of(build, _CONTEXT)}"
        yield f"--dockerfile={FILES_FOLDER}/{DOCKERFILE}"
        yield f"--destination={build.destination}"
        yield f"--custom-platform={build.environment.platform}"
        for name, value in image_labels(build.environment, builder=self.name).items():
            yield f"--label={name}={value}"
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

    def _variables(self, build: Build) -> dict[str, str]:
        """Return what the executor itself reads; the steps of a Dockerfile see none of it."""
        variables = {"DOCKER_CONFIG": REGISTRY_FOLDER}
        if build.profile.certificates is not None:
            # Beside those in the folder that its image names.
            variables["SSL_CERT_FILE"] = f"{FILES_FOLDER}/{CERTIFICATES}"
        if self._settings.executor == "maintained":
            variables["FF_KANIKO_RUN_MOUNT_SECRET"] = "true"  # noqa: S105 - a switch
        return variables

    def _secret_mounts(self, build: Build) -> Iterator[dict[str, Any]]:
        """Yield mounts of the secrets where a step finds them, though this executor does not bring them there."""
        volumes = {NETRC: "passwords", CERTIFICATES: "files"}
        for name in secret_paths(build.profile):
            path = f"{SECRETS_FOLDER}/{name}"
            yield {"name": volumes[name], "mountPath": path, "subPath": name, "readOnly": True}
