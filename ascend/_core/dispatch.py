"""The way out: takes one task from its call to its Job."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ascend._core.build_context import Dockerfiles
from ascend._core.bundle import job_prefix, log_key, pack_call, pickle_call, source_key
from ascend._core.installation import Installations
from ascend._core.manifest import Delivery, base_image_of, job_manifest
from ascend._core.manifest_patch import patched
from ascend._core.once import Once
from ascend._core.requirement_files import AUTO
from ascend._core.runner_archive import runner_archive
from ascend._core.source.handmade import HandmadeModules
from ascend._core.source.tracker import SourceTracker
from ascend._core.wanted import imported, written
from ascend._core.wire import python_minor
from ascend.errors import ConfigError
from ascend.model import DEFAULT_PLATFORM, Environment, Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ascend._core.entry import Entry
    from ascend._core.plugins.asking import Plugins
    from ascend._core.requirement_files import Written
    from ascend._core.source.tracker import Source
    from ascend.interfaces import Cluster, ImageBuilder, Serializer, Storage
    from ascend.model import Manifest, PlacedFile, Profile, Task

__all__ = ["Dispatcher"]

_LINK_SECONDS = 7 * 24 * 3600.0


class Dispatcher:
    """Knows everything that tasks of one run have in common, and creates their Jobs."""

    def __init__(
        self,
        run_id: str,
        profile: Profile,
        plugins: Plugins,
        *,
        report: Callable[[Task, str], None],
        note: Callable[[str], None],
        folder: Path | None = None,
    ) -> None:
        self.cluster: Cluster = plugins.cluster(profile.cluster, profile)
        self.serializer: Serializer = plugins.serializer(profile.serializer)
        self.source = SourceTracker()
        self._handmade = HandmadeModules()
        self._run_id = run_id
        self._profile = profile
        self._plugins = plugins
        self._report = report
        self._note = note
        self._storage = plugins.storage(profile.storage, profile) if profile.storage else None
        self._installations = Installations(self.cluster, profile, note)
        self._folder = folder
        self._dockerfiles = Dockerfiles(folder)
        self._written: dict[tuple[str, ...], Written] = {}
        self._said: frozenset[str] = frozenset()
        self._builders: dict[str, ImageBuilder] = {}
        self._sent_sources: set[str] = set()
        self._placed_sources: dict[str, Once[PlacedFile]] = {}
        self._opened = False
        self._runner: PlacedFile | None = None
        self._opening: Once[PlacedFile] = Once()
        # Held for moments only: the main thread takes it when it stops everything.
        self._guard = threading.Lock()

    def open(self, entry: Entry) -> bool:
        """Prepare the cluster for the first task of the run; true if that was not done before."""
        self._runner, fresh = self._opening.get(self._open, since=entry.since)
        return fresh

    def _open(self) -> PlacedFile:
        if not self._opened:
            self.cluster.open(self._run_id)
            self._opened = True
        return self.cluster.place("runner.zip", runner_archive())

    @property
    def storage(self) -> Storage | None:
        """Where large calls and outcomes go: what the user names, else what the cluster offers."""
        with self._guard:
            if self._storage is None and (url := self.cluster.traits.storage_url) is not None:
                self._storage = self._plugins.storage(url, self._profile)
            return self._storage

    def dispatch(self, entry: Entry, about_to_create: Callable[[Entry], None]) -> None:
        """Take the task of *entry* the whole way; *about_to_create* is told before events can come."""
        task = entry.task
        image = self._image(entry)
        self._begin(entry, "pack")
        manifest = job_manifest(
            task,
            image=image.reference,
            delivery=self._deliver(entry, image),
            node_type=self._plugins.node_type(task.needs.node_type, self._profile) if task.needs.node_type else None,
        )
        self._plugins.modify_job(manifest, task, self._profile)
        manifest = patched(manifest, task.needs.job_patch or {})
        self._create(entry, manifest, about_to_create)

    def stop_waiting(self) -> None:
        """Let nobody wait for an image any more."""
        with self._guard:
            builders = list(self._builders.values())
        for builder in builders:
            builder.close()

    def clean_up(self, entry: Entry, *, failed: bool) -> None:
        """Remove what storage holds for a task that has ended; what one that failed has written is kept there."""
        storage = self.storage
        if storage is None:
            return
        task = entry.task
        # One that died may have died while it stored its outcome.
        if entry.stored or (failed and entry.created):
            storage.delete(job_prefix(task))
        # The cluster's own storage goes with the run, as the lines in memory do.
        if failed and entry.created and self._profile.storage is not None and (lines := entry.output.tail(None)):
            storage.put(log_key(task.project, task.user, task.job_name), ["\n".join(lines).encode()])

    def fetch_outcome(self, entry: Entry) -> memoryview:
        """Return the outcome that the runner put into storage."""
        entry.stored = True
        storage = self._needed_storage(f"the answer of {entry.task.function} lies in a storage")
        return storage.get(f"{job_prefix(entry.task)}/outcome")

    def _begin(self, entry: Entry, phase: str) -> None:
        entry.future.mark(phase)
        self._report(entry.task, phase)

    def _create(self, entry: Entry, manifest: Manifest, about_to_create: Callable[[Entry], None]) -> None:
        self._begin(entry, "start")
        about_to_create(entry)
        self.cluster.create_job(manifest)

    def _image(self, entry: Entry) -> Image:
        needs = entry.task.needs
        image = base_image_of(needs, self._profile)
        if not (needs.requirements or needs.apt or needs.dockerfile):
            return Image(image)
        self._begin(entry, "environment")
        name = needs.image_builder or self.cluster.traits.image_builder
        with self._guard:
            builder = self._builders.get(name)
            if builder is None:
                builder = self._builders[name] = self._plugins.image_builder(name, self._profile, self._storage)
        return builder.ensure(self._environment(entry, needs.requirements or (), image), self._note)

    def _environment(self, entry: Entry, requirements: tuple[str, ...], image: str) -> Environment:
        with self._guard:
            known = self._written.get(requirements)
        if known is None:
            known = written(requirements, self._folder, lambda: self._imported(entry))
            if AUTO not in requirements:
                with self._guard:
                    # Whoever was first: all tasks have the same.
                    known = self._written.setdefault(requirements, known)
        entry.requirements = known.requirements
        needs = entry.task.needs
        own = self._dockerfiles.read(needs.dockerfile)
        return Environment(
            known.requirements,
            python_minor(),
            image,
            lock=known.lock,
            platform=needs.platform or DEFAULT_PLATFORM,
            apt=needs.apt or (),
            dockerfile=own.text,
            context=own.context,
        )

    def _imported(self, entry: Entry) -> tuple[str, ...]:
        if entry.call is None:
            return ()
        payload, _ = pickle_call(entry.call, self.serializer)
        found = imported(entry.call.function, payload, self.source.current())
        line = f"{entry.task.function}: requirements='auto' stands for {', '.join(found) or 'nothing'}"
        with self._guard:
            known, self._said = line in self._said, self._said | {line}
        if not known:
            self._note(line)
        return found

    def _deliver(self, entry: Entry, image: Image) -> Delivery:
        """Put what must travel where the pod can get at it; return how it does."""
        call, entry.call = entry.call, None
        if call is None or self._runner is None:
            msg = f"task {entry.task.id} was dispatched twice"
            raise RuntimeError(msg)
        self._handmade.register()
        packed = pack_call(call, self.serializer, self.cluster.traits.inline_call)
        del call
        source, files = self._ship_source(entry)
        variables = {**_looked_for(image, entry), "ASCEND_CALL_DIGEST": packed.digest, **source}
        prefix = job_prefix(entry.task)
        if packed.inline is not None:
            variables["ASCEND_CALL"] = packed.inline
        else:
            storage = self._needed_storage(f"the call of {entry.task.function} is too large to travel inside its Job")
            storage.put(f"{prefix}/call", packed.parts)
            entry.stored = True
            variables["ASCEND_CALL_URL"] = storage.sign(f"{prefix}/call", "GET", lifetime=_LINK_SECONDS)
        if self.storage is not None:
            storage = self.storage
            variables["ASCEND_OUTCOME_URL"] = storage.sign(f"{prefix}/outcome", "PUT", lifetime=_LINK_SECONDS)
        elif self.cluster.traits.output_outcome:
            variables["ASCEND_OUTCOME_LIMIT"] = str(self.cluster.traits.output_outcome)
        platform = entry.task.needs.platform or DEFAULT_PLATFORM
        installation = self._installations.of(image.lock, entry.task, platform, self.storage)
        return Delivery(self._runner, variables, files, installation)

    def _ship_source(self, entry: Entry) -> tuple[dict[str, str], tuple[PlacedFile, ...]]:
        """Return the variables that lead to the project's source, and the file if the cluster brings it."""
        source = self.source.current()
        if not source.digest:
            return {}, ()
        digest = {"ASCEND_SOURCE_DIGEST": source.digest}
        # A pod reads a file sooner than it has compiled what it takes to fetch something.
        file = self._place_source(source, entry)
        if file is not None:
            return {"ASCEND_SOURCE_URL": PurePosixPath(file.path).as_uri(), **digest}, (file,)
        storage = self._needed_storage(f"the project's source has {len(source.archive()):,} bytes, too many to place")
        return {"ASCEND_SOURCE_URL": self._store_source(entry.task, source, storage), **digest}, ()

    def _place_source(self, source: Source, entry: Entry) -> PlacedFile | None:
        """Return the file with the source; `None` if it is too large for the cluster."""
        archive = source.archive()
        if len(archive) > self.cluster.traits.placed_file:
            return None
        with self._guard:
            placing = self._placed_sources.setdefault(source.digest, Once())
        return placing.get(partial(self.cluster.place, "source", archive), since=entry.since)[0]

    def _store_source(self, task: Task, source: Source, storage: Storage) -> str:
        key = source_key(task, source.digest)
        with self._guard:
            sent = key in self._sent_sources
        if not sent:
            storage.put(key, [source.archive()])
            with self._guard:
                self._sent_sources.add(key)
        return storage.sign(key, "GET", lifetime=_LINK_SECONDS)

    def _needed_storage(self, reason: str) -> Storage:
        if (storage := self.storage) is None:
            raise _no_storage(reason)
        return storage


def _looked_for(image: Image, entry: Entry) -> dict[str, str]:
    """Return the variable that has the runner look for what nobody has installed."""
    return {} if image.complete else {"ASCEND_REQUIREMENTS": "\n".join(entry.requirements)}


def _no_storage(reason: str) -> ConfigError:
    return ConfigError(f"{reason}, and no storage is set: set storage, as in ASCEND_STORAGE=s3://bucket/prefix")
