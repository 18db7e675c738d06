"""The seams as protocols: what a storage, an image builder, a cluster and a serializer promise.

Each sentence of a docstring here is a promise; `ascend.testing` holds a test for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ascend.model import ClusterTraits, Environment, Image, JobOutput, JobStatus, Manifest, PlacedFile

__all__ = ["Buffer", "Cluster", "ImageBuilder", "Serializer", "Storage"]

Buffer: TypeAlias = "bytes | bytearray | memoryview"
"""Contiguous bytes; a `memoryview` must be one-dimensional, of format ``B``."""


@runtime_checkable
class Storage(Protocol):
    """Bytes under keys. Keys are relative, use ``/`` and never begin or end with it."""

    @property
    def url(self) -> str:
        """Where it is, without credentials, for messages."""
        ...

    def put(self, key: str, buffers: Sequence[Buffer]) -> None:
        """Store the buffers, one behind the other, under *key*; what was there is replaced, all or nothing.

        Large buffers are not copied. `StorageError` if it fails.
        """
        ...

    def get(self, key: str) -> memoryview:
        """Return what is under *key* as writable memory; `KeyNotFoundError` if there is nothing."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys below *prefix*, in no order; ``""`` is everything."""
        ...

    def delete(self, prefix: str) -> None:
        """Remove the key *prefix* and every key below it. That nothing is there is no error."""
        ...

    def sign(self, key: str, method: Literal["GET", "PUT"], *, lifetime: float) -> str:
        """Return a URL by which a pod without credentials reads or writes *key* for *lifetime* seconds.

        The runner knows ``file``, ``http`` and ``https``. Any other scheme needs an entry point of that name in
        the group ``ascend.transports``, installed in the pod.
        """
        ...


@runtime_checkable
class ImageBuilder(Protocol):
    """Turns an environment into an image."""

    @property
    def name(self) -> str:
        """What users write as ``image_builder``."""
        ...

    def ensure(self, environment: Environment, report: Callable[[str], None]) -> Image:
        """Return an image that has the environment, or one in which the runner installs what it lacks.

        Called from many threads, for the same environment too: it is built once. *report* takes lines for
        the user who waits. `EnvironmentBuildError` if it fails; nothing half-built is ever returned.
        """
        ...

    def close(self) -> None:
        """End the waiting of all who are in `ensure`, as far as what they wait for can be left; may be called twice."""
        ...


@runtime_checkable
class Cluster(Protocol):
    """Where Jobs run."""

    @property
    def name(self) -> str:
        """What users write as ``cluster``."""
        ...

    @property
    def traits(self) -> ClusterTraits:
        """What the engine must know before it creates Jobs; constant once `open` has returned."""
        ...

    def open(self, run_id: str) -> None:
        """Prepare for the Jobs of a run; may be called again after it raised."""
        ...

    def place(self, name: str, content: bytes) -> PlacedFile:
        """Make a file called *name* that all pods of the run find; it goes with the last run that uses it.

        Another content makes another file, also under the same name. What comes with a volume has a folder of its own.
        `ClusterError` if it has more bytes than the trait *placed_file*.
        """
        ...

    def create_job(self, manifest: Manifest) -> None:
        """Create the Job and return at once. `ClusterError` if it is refused; then no event comes for it."""
        ...

    def watch(self) -> Iterator[JobStatus | JobOutput]:
        """Yield what happens to the Jobs of the run, until `close` ends it.

        A Job's output comes before its last status. Every Job that was created gets exactly one status that is
        ``final`` and has ``succeeded`` or ``failed``, also if it was deleted (reason ``Deleted``).
        """
        ...

    def delete_job(self, job_name: str) -> None:
        """Stop the Job and all its processes; returns without waiting. One that is gone is no error."""
        ...

    def close(self) -> None:
        """Stop what still runs, remove what `open` made, end `watch`. May be called twice."""
        ...


@runtime_checkable
class Serializer(Protocol):
    """Objects to bytes and back."""

    @property
    def name(self) -> str:
        """What users write as ``serializer``; the runner finds it under the same name."""
        ...

    def dumps(self, value: Any, buffer_callback: Callable[[Any], object] | None) -> bytes:
        """Return *value* as bytes; large buffers go to *buffer_callback* (PEP 574) instead of into them.

        `None` keeps everything in the bytes.
        """
        ...

    def loads(self, data: Buffer, buffers: Sequence[Buffer]) -> Any:
        """Return the value that `dumps` was given."""
        ...
