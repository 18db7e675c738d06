"""Builds the Go programs, once for each content."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.testcluster.packages import go
from tests.testcluster.paths import HERE, ClusterError, cache, digest_of
from tests.testcluster.report import report

if TYPE_CHECKING:
    from pathlib import Path

KUBERNETES = "1.35.4"
KANIKO = "v1.24.0"
BUILDKIT = "v0.25.1"
_VERSION = "k8s.io/component-base/version"
_MAJOR, _MINOR = KUBERNETES.split(".")[:2]
_BUILDKIT_VERSION = f"-X github.com/moby/buildkit/version.Version={BUILDKIT}"
_EVERY = 20.0
"""How many seconds a build may be silent."""


@dataclass(frozen=True)
class Program:
    """A program that is built from a Go module of this folder."""

    name: str
    module: Path
    package: str
    minutes: int
    link: str = ""

    def path(self) -> Path:
        """Return the program, built if there is none of this content."""
        flags = ["-trimpath", "-buildvcs=false", f"-ldflags=-s -w {self.link}".rstrip()]
        inputs = sorted(path for path in self.module.glob("**/*.go") if path.is_file())
        inputs += [self.module / "go.mod", self.module / "go.sum"]
        version = subprocess.run([go(), "version"], cwd=self.module, capture_output=True, text=True, check=False)
        if version.returncode:
            raise ClusterError(f"this Go cannot build {self.name}: {version.stderr.strip()}")
        built = cache() / "bin" / digest_of(self.name, self.package, *flags, version.stdout, *inputs) / self.name
        if not built.exists():
            self._build(built, flags)
        return built

    def _build(self, target: Path, flags: list[str]) -> None:
        report(f"building {self.name}: up to {self.minutes} minutes on two cores, once")
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_suffix(".new")
        # Niced, because tests may run beside it.
        command = ["nice", go(), "build", "-v", *flags, "-o", str(draft), self.package]
        environ = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
        process = subprocess.Popen(
            command, cwd=self.module, env=environ, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True)
        reader.start()
        begin = time.monotonic()
        try:
            while process.returncode is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_EVERY)
                    break
                report(f"building {self.name}: {time.monotonic() - begin:.0f} s, {_progress(lines)}")
        finally:
            # Whoever stops this stops the compilers too.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        reader.join()
        if process.returncode:
            raise ClusterError(f"building {self.name} failed: {' '.join(line.strip() for line in lines[-5:])}")
        draft.replace(target)
        report(f"building {self.name}: done in {time.monotonic() - begin:.0f} s")


def _progress(lines: list[str]) -> str:
    fetched = sum(line.startswith("go: downloading") for line in lines)
    return f"{len(lines) - fetched} packages compiled" if len(lines) > fetched else f"{fetched} modules fetched"


CLUSTER = Program(
    "testcluster",
    HERE,
    ".",
    10,
    f"-X {_VERSION}.gitVersion=v{KUBERNETES} -X {_VERSION}.gitMajor={_MAJOR} -X {_VERSION}.gitMinor={_MINOR}",
)
PAUSE = Program("pause", HERE, "./pause", 1)
MINIO = Program("minio", HERE / "minio", "github.com/minio/minio", 7)
KWOK = Program("kwok", HERE / "kwok", "sigs.k8s.io/kwok/cmd/kwok", 3)
KANIKO_EXECUTOR = Program(
    "executor",
    HERE / "kaniko",
    "github.com/GoogleContainerTools/kaniko/cmd/executor",
    6,
    f"-X github.com/GoogleContainerTools/kaniko/pkg/version.version={KANIKO}",
)
BUILDKITD = Program("buildkitd", HERE / "buildkit", "github.com/moby/buildkit/cmd/buildkitd", 4, _BUILDKIT_VERSION)
BUILDCTL = Program("buildctl", HERE / "buildkit", "github.com/moby/buildkit/cmd/buildctl", 3, _BUILDKIT_VERSION)
