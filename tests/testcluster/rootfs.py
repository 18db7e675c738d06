"""The root of a base image for a Python of this machine: the interpreter, the libraries that it loads, and a shell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.testcluster.paths import ClusterError

if TYPE_CHECKING:
    from collections.abc import Collection

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
USER = 10001
_LEFT_OUT = (
    "__pycache__",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "lib2to3",
    "site-packages",
    "dist-packages",
)
_BINARIES = ("*.a", "*.pyc", "config-*")
_WHEELS_NEED = (
    "libstdc++.so.6",
    "libgcc_s.so.1",
    "libm.so.6",
    "libdl.so.2",
    "librt.so.1",
    "libpthread.so.0",
    "libutil.so.1",
)
"""Libraries that binary wheels take from the system, beside those that Python loads."""
_QUESTION = """
import json, sys, sysconfig
paths = {key: sysconfig.get_path(key) for key in ("stdlib", "purelib")}
print(json.dumps({"executable": sys.executable, "prefix": sys.base_prefix, "version": sys.version, **paths}))
"""


def describe(python: str) -> dict[str, str]:
    """Return which Python *python* is, and where it has what."""
    return dict(json.loads(_output([python, "-c", _QUESTION])))


def make_root(python: str, version: str, root: Path) -> None:
    """Write to *root* all that a pod needs to run *python*."""
    _copy_libraries(root, _copy_interpreter(python, version, root))
    _add_shell(root)
    _add_surroundings(root)


def add_python(python: str, version: str, root: Path, present: set[str]) -> None:
    """Write to *root* what an image of this machine's Debian lacks to run *python*: not the libraries *present*."""
    _copy_libraries(root, _copy_interpreter(python, version, root), below="usr", present=present)
    _copy_certificates(root)


def _copy_interpreter(python: str, version: str, root: Path) -> list[Path]:
    facts = describe(python)
    prefix = Path(facts["prefix"])
    place = prefix if prefix == Path("/usr") else Path("/usr/local")
    stdlib = root / place.relative_to("/") / Path(facts["stdlib"]).relative_to(prefix)
    shutil.copytree(facts["stdlib"], stdlib, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT_OUT, *_BINARIES))
    programs = root / place.relative_to("/") / "bin"
    programs.mkdir(parents=True)
    shutil.copy2(Path(facts["executable"]).resolve(), programs / f"python{version}")
    for name in ("python3", "python"):
        (programs / name).symlink_to(f"python{version}")
    return [programs / f"python{version}", *stdlib.glob("lib-dynload/*.so")]


def packages_of(python: str, root: Path) -> Path:
    """Return the folder under *root* where the image's Python looks for packages."""
    facts = describe(python)
    prefix, packages = Path(facts["prefix"]), Path(facts["purelib"])
    usual = packages if prefix == Path("/usr") else Path("/usr/local") / packages.relative_to(prefix)
    return root / usual.relative_to("/")


def _copy_libraries(root: Path, programs: list[Path], *, below: str = "", present: Collection[str] = ()) -> None:
    """Copy what *programs* load, but not what is *present*; *below* is where the root of the image has its ``lib``."""
    known = dict(re.findall(r"^\s*(\S+) .* => (\S+)$", _output(["/sbin/ldconfig", "-p"]), re.MULTILINE))
    found = {known[name] for name in _WHEELS_NEED if name in known}
    for each in [*programs, *map(Path, sorted(found))]:
        found.update(re.findall(r"(?:=> )?(/\S+) \(0x", _output(["ldd", str(each)])))
    usual = next((Path(path).parent for path in found if Path(path).name == "libc.so.6"), None)
    if not usual:
        raise ClusterError(f"{programs[0]} is not linked with a C library that ldd shows; use another Python")
    for path in found:
        if Path(path).name in present:
            continue
        # What lies beside the interpreter is found beside the C library.
        is_loader = Path(path).name.startswith("ld-")
        target = root / below / (Path(path) if is_loader else usual / Path(path).name).relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(path).resolve(), target)


def _add_shell(root: Path) -> None:
    busybox = shutil.which("busybox")
    if not busybox:
        raise ClusterError("busybox is missing; install the Debian package busybox-static")
    target = root / "bin" / "busybox"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(busybox).resolve(), target)
    for tool in set(_output([busybox, "--list"]).split()) - {"busybox"}:
        (root / "bin" / tool).symlink_to("busybox")


def _add_surroundings(root: Path) -> None:
    for folder in ("dev", "etc", "home/user", "proc", "root", "run", "sys", "usr/bin", "var/tmp"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "tmp").mkdir(mode=0o1777)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\n"
        f"user:x:{USER}:{USER}::/home/user:/bin/sh\n"
        "nobody:x:65534:65534::/tmp:/bin/false\n"
    )
    (root / "etc/group").write_text(f"root:x:0:\nuser:x:{USER}:\nnogroup:x:65534:\n")
    (root / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
    _copy_certificates(root)


def _copy_certificates(root: Path) -> None:
    if CERTIFICATES.exists():
        target = root / CERTIFICATES.relative_to("/")
        target.parent.mkdir(parents=True)
        shutil.copy(CERTIFICATES, target)


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout
