"""The images of the programs that build images in a cluster: Kaniko's executor, and BuildKit."""

from __future__ import annotations

import shutil
import struct
from typing import TYPE_CHECKING, Any

from tests.testcluster import debian, layers, oci, rootfs
from tests.testcluster.build import BUILDCTL, BUILDKIT, BUILDKITD, KANIKO, KANIKO_EXECUTOR
from tests.testcluster.paths import HERE, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _capability(number: int) -> bytes:
    """Return what the kernel keeps with a file that has one capability, effective and permitted."""
    return struct.pack("<IIIII", 0x02000001, 1 << number, 0, 0, 0)


_USER = 1000
"""Who runs BuildKit without root, as in its own image."""
_MAY_MAP = {"usr/bin/newuidmap": _capability(7), "usr/bin/newgidmap": _capability(6)}
"""Debian has them run as root, which is not enough in a container; as in BuildKit's own image, they keep their user."""


def push_kaniko(registry: str) -> str:
    """Bring Kaniko into *registry*, as its own image is laid out; return the reference."""
    settings = {
        "Entrypoint": ["/kaniko/executor"],
        "Env": [
            "HOME=/root",
            "USER=root",
            "PATH=/usr/local/bin:/kaniko",
            "SSL_CERT_DIR=/kaniko/ssl/certs",
            "DOCKER_CONFIG=/kaniko/.docker/",
        ],
        "WorkingDir": "/workspace",
    }
    return _push(registry, "kaniko", KANIKO, settings, lambda: (_kaniko(),))


def push_buildkit(registry: str) -> str:
    """Bring BuildKit into *registry*, for root and, as the user 1000, without; return the reference."""
    settings = {
        "Env": [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/home/user",
            "USER=user",
            f"XDG_RUNTIME_DIR=/run/user/{_USER}",
        ],
        "User": f"{_USER}:{_USER}",
    }
    return _push(registry, "buildkit", BUILDKIT, settings, _buildkit)


def _push(
    registry: str, name: str, version: str, settings: dict[str, Any], make: Callable[[], tuple[oci.Layer, ...]]
) -> str:
    if not oci.has(registry, name, version):
        oci.Image(make(), settings).push(registry, name, version)
    return f"{registry}/{name}:{version}"


def _kaniko() -> oci.Layer:
    executor = KANIKO_EXECUTOR.path()

    def make(root: Path) -> None:
        (root / "kaniko" / "ssl" / "certs").mkdir(parents=True)
        (root / "kaniko").chmod(0o777)
        shutil.copy2(executor, root / "kaniko" / "executor")
        if rootfs.CERTIFICATES.exists():
            shutil.copy(rootfs.CERTIFICATES, root / "kaniko" / "ssl" / "certs")
        (root / "etc").mkdir()
        (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/sbin/nologin\n")
        (root / "etc" / "nsswitch.conf").write_text("hosts: files dns\n")

    return layers.of_folder(digest_of(executor, HERE / "builders.py"), make)


def _buildkit() -> tuple[oci.Layer, ...]:
    programs = [BUILDKITD.path(), BUILDCTL.path()]

    def make(root: Path) -> None:
        folder = root / "usr" / "local" / "bin"
        folder.mkdir(parents=True)
        for program in programs:
            shutil.copy2(program, folder)
        (root / "etc").mkdir()
        for name in ("subuid", "subgid"):
            (root / "etc" / name).write_text("user:100000:65536\n")
        user = f"user:x:{_USER}:{_USER}::/home/user:/bin/sh\n"
        (root / "etc" / "passwd").write_text(f"root:x:0:0:root:/root:/bin/sh\n{user}")
        (root / "etc" / "group").write_text(f"root:x:0:\nuser:x:{_USER}:\n")
        for path in (f"run/user/{_USER}", "home/user/.local"):
            (root / path).mkdir(parents=True)
            (root / path).chmod(0o777)  # the owner of all files in a layer is root

    key = digest_of(*programs, HERE / "builders.py")
    tools = debian.packages("runc", "rootlesskit", "uidmap", "libsubid4", capabilities=_MAY_MAP)
    return debian.base(), tools, layers.of_folder(key, make)


PUSH = {"kaniko": push_kaniko, "buildkit": push_buildkit}
"""What makes each image, by its name."""
