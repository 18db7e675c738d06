"""The Debian of this machine as an image with apt, a Python of this machine on it, and files of single packages."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.testcluster import layers, rootfs
from tests.testcluster.packages import ensure_program, update_lists
from tests.testcluster.paths import HERE, ClusterError, digest_of
from tests.testcluster.report import report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.testcluster.oci import Layer

_SOURCES = Path("/etc/apt")
_OPTIONS = re.compile(r"^Acquire::(?:Check-Valid-Until|Check-Date|https?::Proxy)\b.*", re.MULTILINE)
"""What of this machine's settings decides whether its mirrors can be read; images need the same."""
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*")


def release() -> str:
    """Return the name of this machine's release of Debian."""
    text = Path("/etc/os-release").read_text()
    found = re.search(r"^VERSION_CODENAME=(\w+)$", text, re.MULTILINE)
    if not found or not re.search(r"^ID=debian$", text, re.MULTILINE):
        raise ClusterError("images with apt are made from the Debian of this machine, and it has none")
    return found[1]


def base() -> Layer:
    """Return a small Debian with apt, which reads the mirrors that this machine reads."""
    name = release()
    sources = sorted(
        path
        for path in (_SOURCES / "sources.list", *_SOURCES.glob("sources.list.d/*"))
        if path.suffix in {".list", ".sources"} and path.is_file()
    )
    options = _OPTIONS.findall(_output(["apt-config", "dump"]))
    command = ["nice", "mmdebstrap", "--quiet", "--variant=apt", "--include=ca-certificates"]
    command += [f"--aptopt={option}" for option in options]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]

    def make(archive: Path) -> None:
        report(f"making a Debian {name} with apt: a minute on two cores, once")
        ensure_program("mmdebstrap", "mmdebstrap")
        _output([*command, name, str(archive), *map(str, sources)])

    return layers.of_archive(digest_of(name, *command, *sources), make)


def python(program: str, version: str) -> Layer:
    """Return a layer for `base` with the Python *program*."""
    with tarfile.open(base().path) as archive:
        present = {Path(name).name for name in archive.getnames()}
    certificates = rootfs.CERTIFICATES.read_bytes() if rootfs.CERTIFICATES.exists() else b""
    key = digest_of(program, Path(program).resolve(), HERE / "rootfs.py", certificates, *sorted(present))
    return layers.of_folder(key, lambda root: rootfs.add_python(program, version, root, present))


def packages(*names: str, capabilities: Mapping[str, bytes]) -> Layer:
    """Return a layer for `base` with the files of the packages *names*, and of no other that they need.

    A file that *capabilities* names does not change its user when it is run.
    """
    release()
    if _output(["apt-cache", "policy", *names]).count("Candidate: ") < len(names):
        update_lists()
    versions = re.findall(r"Candidate: (\S+)", _output(["apt-cache", "policy", *names]))

    def make(root: Path) -> None:
        report(f"unpacking {' '.join(names)}")
        with tempfile.TemporaryDirectory() as folder:
            # Who downloads as root gives up its rights first, and then may not write there.
            Path(folder).chmod(0o777)
            _output(["apt-get", "download", "--quiet", *names], folder)
            for package in sorted(Path(folder).glob("*.deb")):
                _output(["dpkg-deb", "--extract", str(package), str(root)])
        for name in capabilities:
            (root / name).chmod(0o755)
        for pattern in _LEFT_OUT:
            shutil.rmtree(root / pattern.strip("/*"), ignore_errors=True)

    key = digest_of(*names, *versions, *capabilities, *capabilities.values(), *_LEFT_OUT)
    return layers.of_folder(key, make, capabilities)


def _output(command: list[str], folder: str | None = None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout
