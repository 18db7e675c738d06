"""Parts of pods that more than one recipe needs: where it runs, its larger files, and what its steps may read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ascend.building.dockerfiles import from_images
from ascend.building.instructions import CERTIFICATES, NETRC
from ascend.building.names import parse_image
from ascend.building.recipes import FILES_FOLDER, RESTRICTED
from ascend.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ascend.building.recipes import Build
    from ascend.model import Manifest, Profile

__all__ = [
    "PASSWORDS_FOLDER",
    "add_fetched",
    "add_passwords",
    "node_selector",
    "path_of",
    "plain_registries",
    "secret_files",
    "secret_paths",
]

PASSWORDS_FOLDER = "/ascend/passwords"
"""Where a container that went through `add_passwords` finds the keys of the Secret that ``index_secret`` names."""

_FETCHED_FOLDER = "/ascend/fetched"
_FETCH = """\
import shutil, sys, urllib.request
for path, url in zip(sys.argv[1::2], sys.argv[2::2]):
    with urllib.request.urlopen(url, timeout=60) as answer, open(path, "wb") as file:
        shutil.copyfileobj(answer, file)
"""


def node_selector(platform: str) -> dict[str, str]:
    """Return the labels of nodes of *platform*, as in ``linux/amd64``."""
    system, _, architecture = platform.partition("/")
    return {"kubernetes.io/os": system, "kubernetes.io/arch": architecture}


def plain_registries(build: Build) -> list[str]:
    """Return those registries of *build* that are spoken to without TLS: for its image, and for those it starts from."""
    starts = from_images(build.environment.dockerfile) if build.environment.dockerfile else [build.base]
    registries = {build.destination.registry, *(parse_image(each).registry for each in starts if "$" not in each)}
    return sorted(each for each in registries if build.place.speaks_plainly(each))


def path_of(build: Build, name: str) -> str:
    """Return where the containers of a pod that went through `add_fetched` find the file *name*."""
    where = build.files[name]
    return f"{_FETCHED_FOLDER}/{name}" if "://" in where else where


def add_fetched(build: Build, pod: Manifest) -> None:
    """Have *pod* first fetch the files of *build* that were too large for its Secret, by the Python of the base image."""
    fetched = {name: url for name, url in build.files.items() if "://" in url}
    if not fetched:
        return
    mount = {"name": "fetched", "mountPath": _FETCHED_FOLDER}
    words = [word for name, url in fetched.items() for word in (path_of(build, name), url)]
    container: dict[str, Any] = {
        "name": "fetch",
        "image": build.base,
        "command": ["python", "-c", _FETCH, *words],
        "securityContext": dict(RESTRICTED),
        "volumeMounts": [mount],
    }
    pod.setdefault("initContainers", []).append(container)
    pod["volumes"].append({"name": "fetched", "emptyDir": {}})
    for each in pod["containers"]:
        each["volumeMounts"].append({**mount, "readOnly": True})


def secret_files(profile: Profile) -> Mapping[str, bytes]:
    """Return what steps may read and the client has: the authorities that ``certificates`` names, if it does."""
    if profile.certificates is None:
        return {}
    try:
        return {CERTIFICATES: Path(profile.certificates).read_bytes()}
    except OSError as exc:
        raise ConfigError(f"certificates = {profile.certificates!r} cannot be read: {exc.strerror}") from exc


def secret_paths(profile: Profile) -> dict[str, str]:
    """Return the secrets of the steps by their ids, each with its path in a pod that went through `add_passwords`."""
    paths = {} if profile.index_secret is None else {NETRC: f"{PASSWORDS_FOLDER}/{NETRC}"}
    return paths if profile.certificates is None else {**paths, CERTIFICATES: f"{FILES_FOLDER}/{CERTIFICATES}"}


def add_passwords(profile: Profile, pod: Manifest) -> None:
    """Mount the Secret with the passwords of package indexes into all containers of *pod*, if the profile names one."""
    if profile.index_secret is None:
        return
    pod["volumes"].append({"name": "passwords", "secret": {"secretName": profile.index_secret, "defaultMode": 0o444}})
    for each in pod["containers"]:
        each["volumeMounts"].append({"name": "passwords", "mountPath": PASSWORDS_FOLDER, "readOnly": True})
