"""Makes calls that need packages, each way to an environment in turn, and prints what it measured: a program.

As a program with nothing but ascend and its plugins installed. It is told in JSON how much to measure.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

from ascend import AscendExecutor
from ascend.errors import AscendError

# Behind all else: this folder has a module called array.
sys.path.append(str(Path(__file__).parent))

from kubernetes_client import BareJobs  # type: ignore[import-not-found]

_PIP = "pip in the pod"
_CACHED = "uv, package cache"
_PAUSE = 1.0


def versions(names: list[str]) -> dict[str, str]:
    """Import what was installed, and say what it is."""
    import importlib
    from importlib.metadata import version

    for name in names:
        importlib.import_module({"scikit-learn": "sklearn"}.get(name, name))
    return {name: version(name) for name in names}


def with_pip(names: list[str]) -> dict[str, str]:
    """Do in a task what users do who have no environment: install, then import."""
    import subprocess
    import sys

    folder = "/tmp/packages"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", folder]
    subprocess.run([*command, *names], check=True)
    sys.path.insert(0, folder)
    return versions(names)


def builders() -> list[str]:
    """Return the ways that are installed here."""
    plugins = {entry.name for entry in entry_points(group="ascend")}
    return ["uv", _CACHED, "layer", *(name for name in ("kaniko", "buildkit") if name in plugins)]


class Ways:
    """The ways to an environment, and what each took: its first call, later ones, and the first of the next client."""

    def __init__(self, again: int) -> None:
        self.found: dict[str, Any] = {"first": {}, "environment": {}, "later": {}, "next": {}, "bare": [], "failed": {}}
        self._again = again
        self._bare = BareJobs()
        self._bare.run(1)
        self._tools = _tools()

    def try_out(self, way: str, name: str, packages: list[str]) -> None:
        time.sleep(random.uniform(0, _PAUSE))
        try:
            with tempfile.TemporaryDirectory() as cache:
                # This and a place in the registry: nothing has been resolved, stored or built before.
                os.environ["ASCEND_CACHE_DIR"] = cache
                shutil.copytree(self._tools, Path(cache, "uv"))
                self._try_out(way, f"{name}/{way}", packages)
        except AscendError as exc:
            self.found["failed"][f"{name}/{way}"] = str(exc).splitlines()[0]

    def _try_out(self, way: str, key: str, packages: list[str]) -> None:
        options: dict[str, Any] = {"cluster": "kubernetes", "progress": False}
        if way == _PIP:
            with AscendExecutor(**options) as executor:
                self._note("first", key, _call(executor, with_pip, packages))
            return
        registry = f"{os.environ['BENCH_REGISTRY']}/{random.randrange(16**8):08x}"
        builder = "uv" if way == _CACHED else way
        options |= {"image_builder": builder, "registry": registry, "requirements": packages}
        if way == _CACHED:
            options["package_cache"] = os.environ["BENCH_CLAIM"]
        if namespace := os.environ.get(f"BENCH_NAMESPACE_{way.upper()}"):
            options["build_namespace"] = namespace
        with AscendExecutor(**options) as executor:
            future = _made(executor, versions, packages)
            self._note("first", key, future.seconds)
            self._note("environment", key, future.environment)
            for _ in range(self._again):
                time.sleep(random.uniform(0, _PAUSE))
                self.found["bare"].append(self._bare.run(1))
                time.sleep(random.uniform(0, _PAUSE))
                self._note("later", key, _call(executor, versions, []))
        with AscendExecutor(**options) as executor:
            self._note("next", key, _call(executor, versions, packages))

    def _note(self, what: str, key: str, seconds: float) -> None:
        self.found[what].setdefault(key, []).append(seconds)
        print(f"{key}, {what}: {seconds:.2f} s", file=sys.stderr, flush=True)


def _tools() -> Path:
    """Return the folder with the uv that travels, which a machine fetches once for all environments."""
    os.environ["ASCEND_CACHE_DIR"] = tempfile.mkdtemp()
    with AscendExecutor(cluster="kubernetes", progress=False, image_builder="uv", requirements=["idna"]) as executor:
        _call(executor, versions, ["idna"])
    return Path(os.environ["ASCEND_CACHE_DIR"], "uv")


def measure(rounds: int, again: int, environments: dict[str, list[str]]) -> dict[str, Any]:
    """Let all ways take turns in each round, another one first each time."""
    ways = Ways(again)
    names = [_PIP, *builders()]
    for number in range(rounds):
        for name, packages in environments.items():
            at = number % len(names)
            for way in names[at:] + names[:at]:
                ways.try_out(way, name, packages)
    return ways.found


class Made(NamedTuple):
    """What a call took: all of it, and until its environment was resolved, and built where that is done before."""

    seconds: float
    environment: float


def _made(executor: AscendExecutor, function: Any, packages: list[str]) -> Made:
    start = time.perf_counter()
    future = executor.submit(function, packages)
    value = future.result()
    seconds = time.perf_counter() - start
    if sorted(value) != sorted(packages):
        sys.exit(f"a call returned {value!r}")
    phases = {phase.name: phase.seconds for phase in future.timeline.phases}
    return Made(seconds, phases.get("environment", 0.0))


def _call(executor: AscendExecutor, function: Any, packages: list[str]) -> float:
    return _made(executor, function, packages).seconds


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
