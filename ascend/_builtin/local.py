"""Cluster ``local``: each Job is a process here, from the same manifest and by the same runner as in a pod.

::

    create_job ── starts the process ──> a thread a Job: reads its output, waits for its end ──> queue ──> watch

What a node would do is done here: the process group is killed when its leader ends, a restart follows the Job's
``backoffLimitPerIndex``, the timeout and the memory limit are kept. When the client dies, the
runner sees the end of its standard input, removes the run's folder and kills its own group.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from contextlib import contextmanager
from hashlib import sha256
from queue import Queue
from time import time
from typing import TYPE_CHECKING, Any

from ascend._builtin.local_folder import new_folder
from ascend._builtin.local_process import End, bytes_of, follow, kill_escaped, kill_group, start
from ascend.errors import ClusterError
from ascend.model import ClusterTraits, JobOutput, JobStatus, PlacedFile

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from ascend.model import Manifest

__all__ = ["LocalCluster"]

_INLINE_CALL = 64 * 1024
_PLACED_FILE = 1 << 30
_QUEUED_EVENTS = 1000
_CLOSE_SECONDS = 10.0
_STUCK_SECONDS = 10.0
_INSTALL_SECONDS = 1800.0


class LocalCluster:
    """Runs Jobs as processes of this machine."""

    name = "local"

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._lock: Any = None
        self._run_id = ""
        self._jobs: dict[str, _Job] = {}
        self._guard = threading.Lock()
        self._events: Queue[JobStatus | JobOutput | None] = Queue(_QUEUED_EVENTS)
        self._closed = False

    @property
    def traits(self) -> ClusterTraits:
        return ClusterTraits(
            parallel=_cores(),
            queues=False,
            inline_call=_INLINE_CALL,
            storage_url=(self._folder / "storage").as_uri() if self._folder else None,
            image_builder="virtualenv",
            placed_file=_PLACED_FILE,
        )

    def open(self, run_id: str) -> None:
        self._run_id = run_id
        with _folder_errors():
            self._folder, self._lock = new_folder(run_id)
            for name in ("storage", "source", "jobs", "placed"):
                (self._folder / name).mkdir()

    def place(self, name: str, content: bytes) -> PlacedFile:
        if self._folder is None:
            msg = "the local cluster is not open"
            raise ClusterError(msg)
        if len(content) > (most := self.traits.placed_file):
            msg = f"{name} has {len(content):,} bytes, and the local cluster takes {most:,} at most"
            raise ClusterError(msg)
        path = self._folder / "placed" / sha256(content).hexdigest() / name
        with _folder_errors():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        return PlacedFile(str(path))

    def create_job(self, manifest: Manifest) -> None:
        if self._folder is None or self._closed:
            msg = "the local cluster is closed"
            raise ClusterError(msg)
        job = _Job(manifest, self._folder, self._events, self._forget)
        job.start()
        with self._guard:
            self._jobs[job.name] = job
        try:
            job.thread.start()
        except RuntimeError:
            # Python 3.12.0 and 3.12.1 refuse new threads as soon as the main thread has ended.
            job.follow()

    def watch(self) -> Iterator[JobStatus | JobOutput]:
        while (event := self._events.get()) is not None:
            yield event

    def delete_job(self, job_name: str) -> None:
        with self._guard:
            job = self._jobs.get(job_name)
        if job is not None:
            job.delete()

    def close(self) -> None:
        with self._guard:
            if self._closed:
                return
            self._closed = True
            jobs = list(self._jobs.values())
        for job in jobs:
            job.delete()
        for job in jobs:
            if job.thread.ident is not None:
                job.thread.join(_CLOSE_SECONDS)
        self._events.put(None)
        if self._folder is not None:
            kill_escaped(f"ASCEND_TASK_ID={self._run_id}-")
            shutil.rmtree(self._folder, ignore_errors=True)
            self._lock.release()

    def _forget(self, job_name: str) -> None:
        with self._guard:
            self._jobs.pop(job_name, None)


class _Job:
    """One Job: its processes one after the other, and the thread that follows them."""

    def __init__(self, manifest: Manifest, folder: Path, events: Queue[Any], forget: Any) -> None:
        self.name: str = manifest["metadata"]["name"]
        self.thread = threading.Thread(target=self.follow, name=f"ascend-{self.name}", daemon=True)
        self._spec: dict[str, Any] = manifest["spec"]
        self._pod: dict[str, Any] = self._spec["template"]["spec"]
        self._container: dict[str, Any] = self._pod["containers"][0]
        self._folder = folder
        self._events = events
        self._forget = forget
        self._guard = threading.Lock()
        self._deleted = False
        self._attempt = 1
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process of the present attempt; `ClusterError` if that is impossible."""
        home = self._home()
        self._refuse_volumes()
        try:
            (home / "work").mkdir(parents=True)
            (home / "tmp").mkdir()
            process = start(self._command(), home / "work", self._environ(home))
        except OSError as exc:
            msg = f"Job {self.name} cannot be started here: {exc}"
            raise ClusterError(msg) from exc
        with self._guard:
            self._process = process
            if self._deleted:
                kill_group(process)
        self._events.put(JobStatus(self.name, "running", self._attempt, time()))

    def delete(self) -> None:
        with self._guard:
            self._deleted = True
            if self._process is not None and self._process.returncode is None:
                kill_group(self._process)

    def follow(self) -> None:
        """See the Job to its end, through all its attempts."""
        try:
            status = self._last_status()
        except BaseException as exc:  # noqa: BLE001 - whatever goes wrong here, the Job must get its last status
            if self._process is not None:
                # Leaving it closes its pipes and waits for its end.
                with self._process:
                    kill_group(self._process)
            status = JobStatus(self.name, "failed", self._attempt, time(), reason=f"{type(exc).__name__}: {exc}")
        self._forget(self.name)
        self._events.put(status)

    def _last_status(self) -> JobStatus:
        while True:
            status = self._status(self._wait())
            shutil.rmtree(self._home(), ignore_errors=True)
            if status.final:
                return status
            self._events.put(status)
            self._attempt += 1
            self.start()

    def _wait(self) -> End:
        if self._process is None:
            msg = f"Job {self.name} was not started"
            raise ClusterError(msg)
        limit = self._container.get("resources", {}).get("limits", {}).get("memory")
        return follow(
            self._process,
            lambda lines: self._events.put(JobOutput(self.name, lines)),
            deadline=self._deadline(),
            memory=None if limit is None else bytes_of(limit),
        )

    def _deadline(self) -> float | None:
        """Return when to stop a process whose runner cannot keep the timeout itself, in seconds from its start.

        The pod's own deadline leaves minutes for images and requirements; here all that is done already.
        """
        given = {variable["name"]: variable.get("value") for variable in self._container["env"]}
        timeout = given.get("ASCEND_TASK_TIMEOUT")
        if timeout is None:
            return None
        return float(timeout) + (_INSTALL_SECONDS if "ASCEND_LOCK_URL" in given else _STUCK_SECONDS)

    def _status(self, end: End) -> JobStatus:
        with self._guard:
            reason = "Deleted" if self._deleted else end.reason
        receipt = self._home() / "receipt"
        content = receipt.read_bytes() if receipt.exists() else b""
        done = end.exit_code == 0
        again = (
            not done
            and reason != "Deleted"
            and end.exit_code not in self._final_codes()
            and self._attempt <= self._spec["backoffLimitPerIndex"]
        )
        return JobStatus(
            self.name,
            "succeeded" if done else "failed",
            self._attempt,
            time(),
            exit_code=end.exit_code,
            signal=end.signal,
            reason=reason,
            receipt=content,
            final=not again,
        )

    def _final_codes(self) -> list[int]:
        rules = self._spec["podFailurePolicy"]["rules"]
        return [code for rule in rules if "onExitCodes" in rule for code in rule["onExitCodes"]["values"]]

    def _home(self) -> Path:
        return self._folder / "jobs" / f"{self.name}-{self._attempt}"

    def _command(self) -> list[str]:
        _, *arguments = self._container["command"]
        # On this cluster an image is an environment folder's interpreter; any other name stands for the one at hand.
        image: str = self._container["image"]
        return [image.removeprefix("env:") if image.startswith("env:") else sys.executable, *arguments]

    def _refuse_volumes(self) -> None:
        for path in (mount["mountPath"] for mount in self._container.get("volumeMounts", [])):
            # What the pod has in our own folders is made here too, or is not needed.
            if not f"{path}/".startswith(("/ascend/", "/tmp/")):  # noqa: S108 - the pod's own
                msg = f"{path} is a volume of Kubernetes, which the local cluster has not: use a folder of this machine"
                raise ClusterError(msg)

    def _environ(self, home: Path) -> dict[str, str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("ASCEND_")}
        if self._container["image"].startswith("env:"):
            for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
                environ.pop(name, None)
        for variable in self._container["env"]:
            if "value" not in variable:
                msg = f"{variable['name']} is a Secret of Kubernetes, which the local cluster has not: use env instead"
                raise ClusterError(msg)
            environ[variable["name"]] = variable["value"].replace("$$", "$")
        return environ | {
            "ASCEND_RECEIPT": str(home / "receipt"),
            "ASCEND_SOURCE_DIR": str(self._folder / "source"),
            "ASCEND_CLIENT_DIR": str(self._folder),
            "ASCEND_LIFELINE": "stdin",
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(home / "tmp")),
        }


@contextmanager
def _folder_errors() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        msg = f"the local cluster cannot make its folder: {exc}; name another place in TMPDIR"
        raise ClusterError(msg) from exc


def _cores() -> int:
    # Not on macOS and Windows.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
