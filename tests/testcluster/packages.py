"""What the machine must have: Debian packages, installed where that is possible, and Go."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.testcluster.paths import HERE, ClusterError
from tests.testcluster.report import report

PROGRAMS = {
    "busybox": "busybox-static",
    "containerd": "containerd",
    "docker-registry": "docker-registry",
    "ip": "iproute2",
    "iptables": "iptables",
    "runc": "runc",
    "unshare": "util-linux",
}
"""Each program with the Debian package that brings it."""
NETWORK_PLUGINS = ("/usr/lib/cni", "/opt/cni/bin")


def ensure_packages() -> None:
    """Install what is missing, as root or with sudo."""
    if sys.platform != "linux":
        raise ClusterError(
            "the test cluster needs Linux; elsewhere, name the context of another in ASCEND_TEST_CONTEXT"
        )
    missing = {package for program, package in PROGRAMS.items() if not shutil.which(program)}
    if not network_plugins():
        missing.add("containernetworking-plugins")
    _install(missing)


def ensure_program(program: str, package: str) -> None:
    """Install *package* if there is no *program*, for what only some tests need."""
    if not shutil.which(program):
        _install({package})


def _install(missing: set[str]) -> None:
    if not missing:
        return
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *sorted(missing)]
    if not shutil.which("apt-get"):
        raise ClusterError(
            f"install by hand what the Debian packages {' '.join(sorted(missing))} bring: no apt-get here"
        )
    report(f"installing {' '.join(sorted(missing))}")
    update_lists()
    _as_root(install)


def update_lists() -> None:
    """Have apt see what its mirrors have now."""
    _as_root(["apt-get", "update", "--quiet"])


def _as_root(command: list[str]) -> None:
    if os.geteuid() and not may_sudo():
        raise ClusterError(f"sudo asks for a password; run: sudo {' '.join(command)}")
    sudo = ["sudo", "-n"] if os.geteuid() else []
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run([*sudo, *command], env=quiet, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{' '.join(command)} failed: {done.stderr.strip()}")


def network_plugins() -> str | None:
    """Return the folder that has the plugins for pods' networks."""
    return next((folder for folder in NETWORK_PLUGINS if Path(folder, "bridge").exists()), None)


def may_sudo() -> bool:
    """Tell whether sudo works here without a password."""
    return (
        bool(shutil.which("sudo"))
        and not subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode
    )


def go() -> str:
    """Return the Go that builds the programs; it fetches a newer one by itself, so any since 1.21 will do."""
    wanted = re.search(r"^go (\S+)", (HERE / "go.mod").read_text(), re.MULTILINE)
    assert wanted
    found = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin:/usr/lib/go/bin")
    if not found:
        raise ClusterError(
            f"Go is missing, and the test cluster is built with it; install Go {wanted[1]} or newer from go.dev/dl"
        )
    return found
