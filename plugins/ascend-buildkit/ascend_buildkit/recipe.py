"""How BuildKit builds an environment: one container with the daemon, and its client that tells it what to build."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ascend.building.instructions import CERTIFICATES
from ascend.building.names import image_labels
from ascend.building.plugin_settings import plugin_settings
from ascend.building.pod_parts import (
    CONTEXT,
    dockerfile_files,
    dockerfile_pod,
    path_of,
    plain_registries,
    secret_paths,
)
from ascend.building.recipes import FILES_FOLDER, REGISTRY_FOLDER, Failure, proxy_variables
from ascend_buildkit.log import failure_of
from ascend_buildkit.settings import BuildkitSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ascend.building.recipes import Build, Recipe
    from ascend.model import Environment, Manifest, Profile

_COMPRESSION = 1
_USER = 1000  # of the image for this mode: its maps of users are for this one
_MODES: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    # How the daemon is started, where it keeps its state, and what Kubernetes must allow.
    "privileged": ("buildkitd", "/var/lib/buildkit", {"privileged": True, "runAsUser": 0, "runAsNonRoot": False}),
    "rootless": (
        # Kubernetes hides parts of /proc, so that no other one can be mounted for each step.
        "rootlesskit buildkitd --oci-worker-no-process-sandbox",
        "/home/user/.local/share/buildkit",
        {
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "Unconfined"},
            "appArmorProfile": {"type": "Unconfined"},
        },
    ),
}
_SCRIPT = """\
set -eu
here=$(mktemp -d)
mkdir "$here/context"
tar -xzf "$CONTEXT" -C "$here/context"
printf '%s' "$DAEMON_SETTINGS" >"$here/buildkitd.toml"
export BUILDKIT_HOST="unix://$here/buildkitd.sock"
$DAEMON --config "$here/buildkitd.toml" --addr "$BUILDKIT_HOST" >"$here/log" 2>&1 &
daemon=$!
until buildctl debug workers >/dev/null 2>&1; do
  kill -0 "$daemon" 2>/dev/null || { echo 'the daemon of BuildKit does not start:' >&2; cat "$here/log" >&2; exit 70; }
  sleep 0.1
done
status=0
buildctl build --local "context=$here/context" "$@" || status=$?
kill "$daemon" 2>/dev/null || { echo 'the daemon of BuildKit has ended:' >&2; tail -n 20 "$here/log" >&2; }
wait "$daemon" || :
exit "$status"
"""


def buildkit_recipe(profile: Profile) -> Recipe:
    """Return how `buildkit` builds by the table of the plugin in *profile*; `ConfigError` for what is wrong there."""
    return _BuildkitRecipe(profile)


class _BuildkitRecipe:
    name = "buildkit"
    builds_source = True

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._settings = plugin_settings(profile, self.name, BuildkitSettings)
        self.version = f"1-{self._settings.installer}"

    def refuses(self, environment: Environment) -> str | None:  # noqa: ARG002 - it can make all of them
        return None

    def files(self, environment: Environment) -> Mapping[str, bytes]:
        return dockerfile_files(environment, self._profile, self._settings.installer)

    def pod(self, build: Build) -> Manifest:
        daemon, state, security = _MODES[self._settings.mode]
        variables = {
            **proxy_variables(build.profile),
            "CONTEXT": path_of(build, CONTEXT),
            "DAEMON": daemon,
            "DAEMON_SETTINGS": _daemon_settings(build),
            "DOCKER_CONFIG": REGISTRY_FOLDER,
        }
        if CERTIFICATES in build.files:
            variables["SSL_CERT_FILE"] = build.files[CERTIFICATES]
        container = {
            "name": "main",
            "image": self._settings.reference,
            "command": ["sh", "-c", *(word.replace("$", "$$") for word in (_SCRIPT, "build", *self._words(build)))],
            "env": [{"name": name, "value": value.replace("$", "$$")} for name, value in variables.items()],
            "securityContext": dict(security),
            "volumeMounts": [{"name": "state", "mountPath": state}],
        }
        return dockerfile_pod(build, container, [{"name": "state", "emptyDir": {}}])

    def failure(self, lines: Sequence[str], receipt: bytes, dockerfile: str) -> Failure:  # noqa: ARG002 - as above
        return failure_of(lines, dockerfile)

    def _words(self, build: Build) -> Iterator[str]:
        yield from ("--frontend", "dockerfile.v0", "--progress", "plain", "--local", f"dockerfile={FILES_FOLDER}")
        yield from ("--opt", f"platform={build.environment.platform}")
        for name, value in image_labels(build.environment, builder=self.name).items():
            yield from ("--opt", f"label:{name}={value}")
        for name, value in proxy_variables(build.profile).items():
            # Of these every step knows without a word in the Dockerfile, and the image keeps none of them.
            yield from ("--opt", f"build-arg:{name}={value}")
        for name, path in secret_paths(build.profile).items():
            yield from ("--secret", f"id={name},src={path}")
        if self._settings.cache:
            cache = f"type=registry,ref={build.place.registry}/{build.place.repository_of('cache')}:buildkit"
            yield from ("--import-cache", cache)
            # An image is worth more than the layers that it was made from.
            yield from ("--export-cache", f"{cache},mode=max,image-manifest=true,ignore-error=true")
        packed = f"compression=gzip,compression-level={_COMPRESSION}"
        yield from ("--output", f"type=image,name={build.destination},push=true,oci-mediatypes=true,{packed}")


def _daemon_settings(build: Build) -> str:
    """Return the daemon's ``buildkitd.toml``; what quotes mean there, they mean in JSON too."""
    return "".join(f"[registry.{json.dumps(each)}]\nhttp = true\n" for each in plain_registries(build))
