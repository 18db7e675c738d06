"""Installs a lock where a task runs, before its call is loaded: by uv, with every hash checked.

Standard library only. The packages lie beside the project's source, in a folder named after their lock: a pod has it
for itself, and the tasks of a run on the cluster ``local`` share it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager, suppress

from ascend._core import guard, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["install", "install_into"]

_NO_UV = (
    "there is no uv on PATH of the image, none travelled with the task, and the image has no pip to fetch it: "
    "set storage, as in ASCEND_STORAGE=s3://bucket/prefix, or take a base_image that has uv"
)


def install(settings: dict[str, str], transport_of: Any) -> None:
    """Install the lock that *settings* lead to, and have this process and its children find what it brings.

    `guard.Failure` with the installer's words if that fails.
    """
    try:
        _make(settings, transport_of)
    except wire.FormatError as exc:
        raise _failure(str(exc)) from exc
    except OSError as exc:
        raise guard.Failure("storage", wire.EXIT_STORAGE, f"what is to be installed could not be got: {exc}") from exc


def _failure(message: str) -> guard.Failure:
    return guard.Failure("install", wire.EXIT_ENVIRONMENT, message)


def _make(settings: dict[str, str], transport_of: Any) -> None:
    folder = settings["ASCEND_SOURCE_DIR"]
    target = os.path.join(folder, f"packages-{settings['ASCEND_LOCK_DIGEST'][:20]}")
    if not os.path.isdir(target):
        draft = f"{target}.{os.getpid()}"
        os.makedirs(draft)
        install_into(settings, transport_of, draft, os.path.join(draft, "packages"))
        try:
            os.rename(os.path.join(draft, "packages"), target)
        except OSError:
            # Another task of the run was faster; its copy is the same.
            if not os.path.isdir(target):
                raise
    _use(target)


def install_into(settings: dict[str, str], transport_of: Any, draft: str, target: str) -> None:
    """Install the lock that *settings* lead to into the folder *target*; *draft* is a folder for all else."""
    environ = _environ(settings, transport_of, draft)
    content = _fetch(settings, "LOCK", transport_of)
    lock = _write(os.path.join(draft, "requirements.txt"), content)
    cache = environ["UV_CACHE_DIR"]
    # Files of one file system are linked, not copied.
    same = os.stat(cache).st_dev == os.stat(draft).st_dev
    program = _uv(settings, transport_of, draft, environ)
    command = [program, "pip", "install", "--quiet", "--python", sys.executable, "--target", target]
    command += ["--require-hashes", "--no-deps", "--only-binary=:all:"]
    if b"--extra-index-url " in content:
        # The hashes tell which file it must be, whichever index has it.
        command.append("--index-strategy=unsafe-best-match")
    with _first_of_all(settings):
        _run([*command, f"--link-mode={'hardlink' if same else 'copy'}", "-r", lock], environ)
    os.makedirs(target, exist_ok=True)
    if "NETRC" in environ:
        os.unlink(environ["NETRC"])


@contextmanager
def _first_of_all(settings: dict[str, str]) -> Iterator[None]:
    """Let one of many pods that start together fill their package cache, and the others find it filled."""
    folder = settings.get("ASCEND_PACKAGE_CACHE")
    filled = os.path.join(folder or "", f"ascend-{settings['ASCEND_LOCK_DIGEST']}.filled")
    if folder is None or os.path.exists(filled):
        yield
        return
    import fcntl  # noqa: PLC0415 - here and below: only who installs something pays for it

    lock = os.open(f"{filled}.lock", os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        # A file system without locks lets all go at once, which uv's own cache stands.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(filled):
            yield
            os.close(os.open(filled, os.O_WRONLY | os.O_CREAT, 0o666))
            return
    finally:
        # Closed is released; the kernel closes it for a pod that is killed.
        os.close(lock)
    yield


def _fetch(settings: dict[str, str], what: str, transport_of: Any) -> bytearray:
    import hashlib  # noqa: PLC0415 - as above

    url = settings[f"ASCEND_{what}_URL"]
    data: bytearray = transport_of(url).read(url)
    if hashlib.sha256(data).hexdigest() != settings[f"ASCEND_{what}_DIGEST"]:
        msg = f"{what.lower()} is not the one that was announced: its digest differs"
        raise wire.FormatError(msg)
    return data


def _write(path: str, content: bytes | bytearray, mode: int = 0o600) -> str:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, mode), "wb") as file:
        file.write(content)
    return path


def _environ(settings: dict[str, str], transport_of: Any, draft: str) -> dict[str, str]:
    """Return the environment of the installers: where they cache, whom they trust, and as whom they ask."""
    cache = settings.get("ASCEND_PACKAGE_CACHE") or os.path.join(settings["ASCEND_SOURCE_DIR"], "uv-cache")
    os.makedirs(cache, exist_ok=True)
    environ = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    environ |= {"NO_COLOR": "1", "UV_NO_PROGRESS": "1", "UV_CACHE_DIR": cache, "UV_PYTHON_DOWNLOADS": "never"}
    if "ASCEND_CERTIFICATES_URL" in settings:
        trusted = _write(os.path.join(draft, "certificates.pem"), _fetch(settings, "CERTIFICATES", transport_of))
        environ |= {"SSL_CERT_FILE": trusted, "PIP_CERT": trusted}
    elif "SSL_CERT_FILE" not in environ and _image_trusts_somebody():
        # Its older name, for the uv of an image.
        environ |= {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}
    if "ASCEND_NETRC" in settings:
        environ["NETRC"] = _write(os.path.join(draft, "netrc"), settings["ASCEND_NETRC"].encode())
    return environ


def _image_trusts_somebody() -> bool:
    """Tell whether the image has certificates of authorities; uv brings its own for one that has none."""
    import ssl  # noqa: PLC0415 - as above

    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile or (paths.capath and os.listdir(paths.capath)))


def _uv(settings: dict[str, str], transport_of: Any, draft: str, environ: dict[str, str]) -> str:
    import importlib.util  # noqa: PLC0415 - as above
    import shutil  # noqa: PLC0415
    import zlib  # noqa: PLC0415

    if found := shutil.which("uv"):
        return found
    if "ASCEND_UV_URL" in settings:
        return _write(os.path.join(draft, "uv"), zlib.decompress(_fetch(settings, "UV", transport_of)), 0o700)
    if "ASCEND_UV_LOCK_URL" not in settings or importlib.util.find_spec("pip") is None:
        raise _failure(_NO_UV)
    lock = _write(os.path.join(draft, "uv.txt"), _fetch(settings, "UV_LOCK", transport_of))
    folder = os.path.join(draft, "pip")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    command += ["--no-compile", "--no-deps", "--only-binary=:all:", "--require-hashes", "--target", folder, "-r", lock]
    _run(command, environ)
    return os.path.join(folder, "bin", "uv")


def _run(command: list[str], environ: dict[str, str]) -> None:
    done = subprocess.run(command, env=environ, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        words = done.stderr.strip() or done.stdout.strip() or "it said nothing"
        name = "pip" if "pip" in command[:3] and command[0] == sys.executable else "uv"
        raise _failure(f"{name} exited with {done.returncode}:\n{words}")


def _use(target: str) -> None:
    """Put *target* behind the standard library and before the image's own packages, with what its .pth files name."""
    import importlib  # noqa: PLC0415 - as above
    import site  # noqa: PLC0415

    known = len(sys.path)
    site.addsitedir(target)
    new = sys.path[known:]
    del sys.path[known:]
    names = ("site-packages", "dist-packages")
    place = next((number for number, path in enumerate(sys.path) if path.endswith(names)), known)
    sys.path[place:place] = new
    for name, folder in (("PYTHONPATH", target), ("PATH", os.path.join(target, "bin"))):
        others = os.environ.get(name)
        os.environ[name] = f"{folder}{os.pathsep}{others}" if others else folder
    importlib.invalidate_caches()
