"""The way out: takes one task from its call to its Job."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ascend._core.bundle import job_prefix, pack_call, source_key
from ascend._core.manifest import Delivery, default_image, image_of, job_manifest
from ascend._core.manifest_patch import patched
from ascend._core.runner_archive import runner_archive
from ascend._core.source.handmade import HandmadeModules
from ascend._core.source.tracker import SourceTracker
from ascend._core.wire import python_minor
from ascend.errors import ConfigError
from ascend.model import Environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from ascend._core.entry import Entry
    from ascend._core.plugins.asking import Plugins
    from ascend.interfaces import Cluster, ImageBuilder, Serializer, Storage
    from ascend.model import Manifest, Profile, Task

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
        self._builders: dict[str, ImageBuilder] = {}
        self._sent_sources: set[str] = set()
        self._runner: str | None = None
        self._guard = threading.Lock()

    def open(self) -> bool:
        """Prepare the cluster for the first task of the run; true if that was not done before."""
        with self._guard:
            if self._runner is not None:
                return False
            self._runner = self.cluster.open(self._run_id, runner_archive())
            return True

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
            image=image,
            delivery=self._deliver(entry),
            node_type=self._plugins.node_type(task.needs.node_type, self._profile) if task.needs.node_type else None,
        )
        self._plugins.modify_job(manifest, task, self._profile)
        manifest = patched(manifest, task.needs.job_patch or {})
        self._create(entry, manifest, about_to_create)

    def clean_up(self, entry: Entry) -> None:
        """Remove what storage holds for a task that has ended."""
        if entry.stored and (storage := self.storage) is not None:
            storage.delete(job_prefix(entry.task))

    def fetch_outcome(self, entry: Entry) -> memoryview:
        """Return the outcome that the runner put into storage."""
        entry.stored = True
        storage = self._needed_storage(entry.task)
        return storage.get(f"{job_prefix(entry.task)}/outcome")

    def _begin(self, entry: Entry, phase: str) -> None:
        entry.future.mark(phase)
        self._report(entry.task, phase)

    def _create(self, entry: Entry, manifest: Manifest, about_to_create: Callable[[Entry], None]) -> None:
        self._begin(entry, "start")
        about_to_create(entry)
        self.cluster.create_job(manifest)

    def _image(self, entry: Entry) -> str:
        needs = entry.task.needs
        image = image_of(needs.base_image) if needs.base_image else default_image()
        if not needs.requirements:
            return image
        self._begin(entry, "environment")
        name = needs.image_builder or self.cluster.traits.image_builder
        with self._guard:
            builder = self._builders.get(name)
            if builder is None:
                builder = self._builders[name] = self._plugins.image_builder(name, self._profile)
        return builder.ensure(Environment(needs.requirements, python_minor(), image), self._note)

    def _deliver(self, entry: Entry) -> Delivery:
        """Put what must travel where the pod can get at it; return how it does."""
        call, entry.call = entry.call, None
        if call is None or self._runner is None:
            msg = f"task {entry.task.id} was dispatched twice"
            raise RuntimeError(msg)
        self._handmade.register()
        packed = pack_call(call, self.serializer, self.cluster.traits.inline_call)
        del call
        variables = {"ASCEND_CALL_DIGEST": packed.digest, **self._ship_source(entry.task)}
        prefix = job_prefix(entry.task)
        if packed.inline is not None:
            variables["ASCEND_CALL"] = packed.inline
        else:
            storage = self._needed_storage(entry.task)
            entry.stored = True
            storage.put(f"{prefix}/call", packed.parts)
            variables["ASCEND_CALL_URL"] = storage.sign(f"{prefix}/call", "GET", lifetime=_LINK_SECONDS)
        if self.storage is not None:
            storage = self.storage
            variables["ASCEND_OUTCOME_URL"] = storage.sign(f"{prefix}/outcome", "PUT", lifetime=_LINK_SECONDS)
        return Delivery(self._runner, variables)

    def _ship_source(self, task: Task) -> dict[str, str]:
        source = self.source.current()
        if not source.digest:
            return {}
        storage = self._needed_storage(task)
        key = source_key(task, source.digest)
        with self._guard:
            sent = key in self._sent_sources
        if not sent:
            storage.put(key, [source.archive()])
            with self._guard:
                self._sent_sources.add(key)
        url = storage.sign(key, "GET", lifetime=_LINK_SECONDS)
        return {"ASCEND_SOURCE_URL": url, "ASCEND_SOURCE_DIGEST": source.digest}

    def _needed_storage(self, task: Task) -> Storage:
        if (storage := self.storage) is None:
            msg = (
                f"the call of {task.function} is too large to travel inside its Job, or needs source files of yours, "
                "and no storage is set: set storage, as in ASCEND_STORAGE=s3://bucket/prefix"
            )
            raise ConfigError(msg)
        return storage
