"""What a pod needs to install a lock before it loads its call: the lock, uv, and the way to the package index."""

from __future__ import annotations

import threading
from hashlib import sha256
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ascend._core.bundle import lock_key, tool_key
from ascend._core.manifest import Installation
from ascend._core.wire import python_minor
from ascend.building.certificates import read_certificates
from ascend.errors import ConfigError, EnvironmentBuildError
from ascend.model import Secret, Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from ascend.interfaces import Cluster, Storage
    from ascend.model import PlacedFile, Profile, Task

__all__ = ["CACHE_FOLDER", "Installations"]

CACHE_FOLDER = "/ascend/packages"
_LINK_SECONDS = 7 * 24 * 3600.0


class Installations:
    """Brings locks and uv to where the pods of one run find them, each of them once."""

    def __init__(self, cluster: Cluster, profile: Profile, note: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._profile = profile
        self._note = note
        self._guard = threading.Lock()
        self._placed: dict[str, PlacedFile] = {}
        self._stored: set[str] = set()
        self._uv_locks: dict[str, str] = {}
        # With their digests: to hash 18 MB again for every task would take longer than to create its Job.
        self._uvs: dict[str, tuple[bytes, str] | None] = {}

    def of(self, lock: str, task: Task, platform: str, storage: Storage | None) -> Installation:
        """Return what the pod of *task* is given to install *lock*; nothing if that is empty."""
        if not lock:
            return Installation()
        variables, files = self._send("LOCK", "requirements.txt", lock.encode(), task, storage)
        secrets, volumes = {}, {}
        if storage is None:
            # It fits into nothing that a namespace keeps: pip fetches it where the image has none.
            more, placed = self._send("UV_LOCK", "uv.txt", self._uv_lock(platform).encode(), task, storage)
        else:
            more, placed = self._store_uv(platform, task, storage), ()
        variables |= more
        files += placed
        if self._profile.certificates is not None:
            authorities = read_certificates(self._profile.certificates)
            more, placed = self._send("CERTIFICATES", "certificates.pem", authorities, task, None)
            variables |= more
            files += placed
        if self._profile.index_secret is not None:
            secrets["ASCEND_NETRC"] = Secret(self._profile.index_secret, "netrc")
        if self._profile.package_cache is not None:
            volumes[CACHE_FOLDER] = Volume(claim=self._profile.package_cache)
            variables["ASCEND_PACKAGE_CACHE"] = CACHE_FOLDER
        return Installation(variables, secrets, files, volumes)

    def _send(
        self, what: str, name: str, content: bytes, task: Task, storage: Storage | None
    ) -> tuple[dict[str, str], tuple[PlacedFile, ...]]:
        """Return the variables that lead to *content*, and the file if the cluster brings it."""
        digest = sha256(content).hexdigest()
        with self._guard:
            if len(content) <= self._cluster.traits.placed_file:
                if digest not in self._placed:
                    self._placed[digest] = self._cluster.place(name, content)
                file = self._placed[digest]
                url = PurePosixPath(file.path).as_uri()
                return {f"ASCEND_{what}_URL": url, f"ASCEND_{what}_DIGEST": digest}, (file,)
        if storage is None:
            msg = (
                f"{name} has {len(content):,} bytes, too many for this cluster, and no storage is set: "
                "set storage, as in ASCEND_STORAGE=s3://bucket/prefix"
            )
            raise ConfigError(msg)
        url = self._store(lock_key(task, digest), content, storage)
        return {f"ASCEND_{what}_URL": url, f"ASCEND_{what}_DIGEST": digest}, ()

    def _store(self, key: str, content: bytes, storage: Storage) -> str:
        with self._guard:
            if key not in self._stored:
                if key not in storage.list(key.rpartition("/")[0]):
                    storage.put(key, [content])
                self._stored.add(key)
        return storage.sign(key, "GET", lifetime=_LINK_SECONDS)

    def _store_uv(self, platform: str, task: Task, storage: Storage) -> dict[str, str]:
        with self._guard:
            if platform not in self._uvs:
                made = self._packed_uv(platform)
                self._uvs[platform] = None if made is None else (made, sha256(made).hexdigest())
            known = self._uvs[platform]
        if known is None:
            return {}
        packed, digest = known
        return {"ASCEND_UV_URL": self._store(tool_key(task, digest), packed, storage), "ASCEND_UV_DIGEST": digest}

    def _packed_uv(self, platform: str) -> bytes | None:
        from ascend.building.portable_uv import packed_uv  # noqa: PLC0415 - only who installs something needs it

        try:
            return packed_uv(self._profile, platform, self._note)
        except EnvironmentBuildError as exc:
            # Where the image has one, it is not needed; where not, the task's error says what is missing.
            self._note(f"no uv travels with the tasks: {str(exc).splitlines()[0]}")
            return None

    def _uv_lock(self, platform: str) -> str:
        from ascend.building.portable_uv import uv_lock  # noqa: PLC0415 - as above

        with self._guard:
            if platform not in self._uv_locks:
                self._uv_locks[platform] = uv_lock(self._profile, python_minor(), platform, self._note)
            return self._uv_locks[platform]
