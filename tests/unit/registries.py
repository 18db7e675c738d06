"""Registries on this machine: Debian's, as in the test cluster, set up in whatever way a test wants."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from base64 import b64encode

import pytest

PASSWORD = "secret"
# By bcrypt, the only kind that the registry reads.
_HASH = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"


def free_port(address):
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def registry(folder, *, address="127.0.0.1", **changes):
    """Run a registry that keeps its content in *folder*; yield its name. *changes* go over its settings."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.fail("docker-registry is not installed: apt-get install docker-registry")
    name = f"{address}:{free_port(address)}"
    storage = {"filesystem": {"rootdirectory": str(folder / "content")}, "delete": {"enabled": True}}
    settings = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {**storage, **changes.pop("storage", {})},
        "http": {"addr": name},
        **changes,
    }
    path = folder / "registry.json"
    path.write_text(json.dumps(settings))
    with (folder / "registry.log").open("w") as log:
        process = subprocess.Popen([program, "serve", str(path)], stdout=log, stderr=log)
    try:
        _wait(name, process, folder / "registry.log")
        yield name
    finally:
        process.terminate()
        process.wait()


def htpasswd(folder, *users):
    """Return the settings of a registry that knows *users*, all with `PASSWORD`."""
    path = folder / "htpasswd"
    path.write_text("".join(f"{user}:{_HASH}\n" for user in users))
    return {"auth": {"htpasswd": {"realm": "tests", "path": str(path)}}}


def docker_config(folder, registry_name, username, password=PASSWORD):
    """Write what `docker login` would; return the path."""
    folder.mkdir(parents=True, exist_ok=True)
    auth = b64encode(f"{username}:{password}".encode()).decode()
    path = folder / "config.json"
    path.write_text(json.dumps({"auths": {registry_name: {"auth": auth}}}))
    return path


def _wait(name, process, log):
    host, _, port = name.partition(":")
    end = time.monotonic() + 30
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, "the registry does not come up"
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(0.02)
