"""How BuildKit builds an environment: one container with the daemon, and its client that tells it what to build."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

from ascend.building.instructions import InstallSettings, context_of, dockerfile_of
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
from ascend_buildkit.log import failure_of
from ascend_buildkit.settings import BuildkitSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ascend.building.recipes import Build
    from ascend.model import Environment, Manifest, Profile

_CONTEXT = "context.tar.gz"
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


class BuildkitRecipe:
    """How `buildkit` builds; the settings are those of the table of the plugin in *profile*."""

    name = "buildkit"
    builds_source = True

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._settings = plugin_settings(profile, self.name, BuildkitSettings)
        self.version = f"1-{self._settings.installer}"

    def refuses(self, environment: Environment) -> str | None:  # noqa: ARG002 - it can make all of them
        return None

    def files(self, environment: Environment) -> Mapping[str, bytes]:
        install = InstallSettings(self._settings.installer, tuple(secret_paths(self._profile)))
        return {
            DOCKERFILE: dockerfile_of(environment, base=environment.base_image, settings=install).encode(),
            _CONTEXT: gzip.compress(context_of(environment), mtime=0),
            **secret_files(self._profile),
        }

    def pod(self, build: Build) -> Manifest:
        daemon, state, security = _MODES[self._settings.mode]
        variables = {
            "CONTEXT": path_of(build, _CONTEXT),
            "DAEMON": daemon,
            "DAEMON_SETTINGS": _daemon_settings(build),
            "DOCKER_CONFIG": REGISTRY_FOLDER,
        }
        container = {
            "name": "main",
            "image": self._settings.reference,
            "command": ["sh", "-c", _SCRIPT, "build", *self._words(build)],
            "env": [{"name": name, "value": value.replace("$", "$$")} for name, value in variables.items()],
            "securityContext": dict(security),
            "volumeMounts": [{"name": "state", "mountPath": state}, *build_mounts(build)],
        }
        pod = {
            "containers": [container],
            "volumes": [{"name": "state", "emptyDir": {}}, *build_volumes(build)],
            "nodeSelector": node_selector(build.environment.platform),
        }
        add_passwords(build.profile, pod)
        add_fetched(build, pod)
        return pod

    def failure(self, lines: Sequence[str], receipt: bytes, dockerfile: str) -> Failure:  # noqa: ARG002 - the log says all
        return failure_of(lines, dockerfile)

    def _words(self, build: Build) -> Iterator[str]:
        yield from ("--frontend", "dockerfile.v0", "--progress", "plain", "--local", f"dockerfile={FILES_FOLDER}")
        yield from ("--opt", f"platform={build.environment.platform}")
        for name, value in image_labels(build.environment, builder=self.name).items():
            yield from ("--opt", f"label:{name}={value}")
        for name, path in secret_paths(build.profile).items():
            yield from ("--secret", f"id={name},src={path}")
        if self._settings.cache:
            cache = f"type=registry,ref={build.place.registry}/{build.place.repository_of('cache')}:buildkit"
            yield from ("--import-cache", cache)
            # An image is worth more than the layers that it was made from.
            yield from ("--export-cache", f"{cache},mode=max,image-manifest=true,ignore-error=true")
        yield from ("--output", f"type=image,name={build.destination},push=true,oci-mediatypes=true")


def _daemon_settings(build: Build) -> str:
    """Return the daemon's ``buildkitd.toml``; what quotes mean there, they mean in JSON too."""
    return "".join(f"[registry.{json.dumps(each)}]\nhttp = true\n" for each in plain_registries(build))
