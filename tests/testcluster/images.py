"""The images of the cluster: a base for each Python of this machine, and what is made on request."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.testcluster import builders, debian, layers, oci, rootfs
from tests.testcluster.build import PAUSE
from tests.testcluster.paths import HERE, ROOT, ClusterError, digest_of
from tests.testcluster.report import report

if TYPE_CHECKING:
    from types import ModuleType

MADE = ("science", "debian", *builders.PUSH)
SCIENCE = ("scikit-learn",)
_SETTINGS = {
    "Env": [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG=C.UTF-8",
        f"SSL_CERT_FILE={rootfs.CERTIFICATES}",
    ],
    "Cmd": ["python3"],
}


def pythons() -> dict[str, str]:
    """Return the Pythons of this machine, as the project's environments find them."""
    environments = _environments()
    found = ((version, environments.find_python(version)) for version in environments.VERSIONS)
    return {version: python for version, python in found if python}


def prepare() -> None:
    """Make the layers that every cluster needs."""
    _pause()
    for version, python in pythons().items():
        _base(version, python)


def push_all(registry: str) -> None:
    """Bring the images that every cluster has into *registry*."""
    if not oci.has(registry, "pause", "1"):
        oci.Image((_pause(),), {"Entrypoint": ["/pause"]}).push(registry, "pause", "1")
    for version, python in pythons().items():
        push(registry, "python", version, python)


def push_made(registry: str, name: str, version: str) -> str:
    """Bring one of the images that are `MADE` on request into *registry*, and return its reference."""
    if name in builders.PUSH:
        return builders.PUSH[name](registry)
    python = pythons().get(version)
    if not python:
        raise ClusterError(f"there is no Python {version} here to make the image {name} from; install it")
    return push(registry, name, version, python)


def push(registry: str, name: str, version: str, python: str) -> str:
    """Bring the image *name* for *version* into *registry*, and return its reference."""
    tag = f"{version}-slim" if name == "python" else version
    if not oci.has(registry, name, tag):
        oci.Image(tuple(_layers(name, version, python)), _SETTINGS).push(registry, name, tag)
    return f"{registry}/{name}:{tag}"


def _layers(name: str, version: str, python: str) -> list[oci.Layer]:
    if name == "debian":
        return [debian.base(), debian.python(python, version), _packages(python, ("pip",))]
    base = _base(version, python)
    return [base, _packages(python, SCIENCE)] if name == "science" else [base]


def _base(version: str, python: str) -> oci.Layer:
    facts = rootfs.describe(python)
    bundle = rootfs.CERTIFICATES.read_bytes() if rootfs.CERTIFICATES.exists() else b""
    key = digest_of(json.dumps(facts), HERE / "rootfs.py", Path(facts["executable"]).resolve(), bundle)

    def make(root: Path) -> None:
        report(f"making the base image of Python {version}")
        rootfs.make_root(python, version, root)
        packages = rootfs.packages_of(python, root)
        _install(python, packages, ("pip",))
        # It starts pip by a path of this machine; python -m pip does not.
        shutil.rmtree(packages / "bin")

    return layers.of_folder(key, make)


def _packages(python: str, requirements: tuple[str, ...]) -> oci.Layer:
    def make(root: Path) -> None:
        report(f"installing {' '.join(requirements)} for {python}")
        # Every pod would compile a thousand modules, and layers know no times by which bytecode could be dated.
        _install(python, rootfs.packages_of(python, root), (*requirements, "--compile-bytecode"))

    return layers.of_folder(digest_of(python, *requirements, HERE / "images.py"), make)


def _pause() -> oci.Layer:
    program = PAUSE.path()

    def make(root: Path) -> None:
        shutil.copy2(program, root / "pause")

    return layers.of_folder(digest_of(program), make)


def _install(python: str, target: Path, requirements: tuple[str, ...]) -> None:
    command = [_environments().find_uv(), "pip", "install", "--quiet", "--python", python, "--target", str(target)]
    command += ["--constraint", str(ROOT / ".ci" / "constraints.txt"), *requirements]
    environ = {**os.environ, "PYC_INVALIDATION_MODE": "CHECKED_HASH"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"installing {' '.join(requirements)} failed: {done.stderr.strip()}")


def _environments() -> ModuleType:
    """Return the program that makes the project's environments: it knows the Pythons of this machine."""
    spec = importlib.util.spec_from_file_location("environments", ROOT / ".ci" / "environments.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
