"""The nouns: small frozen values that plugins and the engine hand to each other."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ascend._timeline import Phase, Timeline

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DEFAULT_PLATFORM",
    "JOINED",
    "LABEL_PREFIX",
    "ClusterTraits",
    "Environment",
    "Image",
    "JobOutput",
    "JobStatus",
    "Manifest",
    "Needs",
    "NodeType",
    "Phase",
    "PlacedFile",
    "Profile",
    "Secret",
    "Task",
    "TaskEvent",
    "Timeline",
    "Volume",
]

JOINED = frozenset({"env", "labels", "secrets", "volumes"})
"""The needs that are joined key by key where two layers have them; of all others the higher layer's are taken."""

DEFAULT_PLATFORM = "linux/amd64"
"""What pods run on unless somebody says otherwise."""

LABEL_PREFIX = "ascend.dev"
"""The prefix of every label and annotation that ascend writes."""

Manifest: TypeAlias = "dict[str, Any]"
"""A Kubernetes object as a plain dict, as ``kubectl get -o json`` shows it."""


@dataclass(frozen=True, slots=True)
class Secret:
    """One key of a Kubernetes Secret, by reference: its content never passes through the client."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Volume:
    """What is mounted into a task: the PersistentVolumeClaim *claim*, or an empty folder in *memory* of that size.

    What is written to the second counts as memory of the task.
    """

    claim: str | None = None
    memory: str | None = None
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Needs:
    """What one task needs. `None` means: not said here, so the next layer below decides."""

    cpu: str | None = None
    memory: str | None = None
    gpus: int | None = None
    node_type: str | None = None
    timeout: float | None = None
    queue_timeout: float | None = None
    requirements: tuple[str, ...] | None = None
    apt: tuple[str, ...] | None = None
    dockerfile: str | None = None
    base_image: str | None = None
    platform: str | None = None
    image_builder: str | None = None
    env: Mapping[str, str] | None = None
    secrets: Mapping[str, Secret] | None = None
    volumes: Mapping[str, Volume] | None = None
    service_account: str | None = None
    priority: str | None = None
    labels: Mapping[str, str] | None = None
    queue: str | None = None
    job_patch: Mapping[str, Any] | None = None
    retries: int | None = None
    stream_logs: bool | None = None
    project: str | None = None

    def over(self, below: Needs) -> Needs:
        """Return these needs, with whatever they leave open taken from *below*.

        The tables of `JOINED` are joined key by key; everything else is taken whole.
        """
        merged: dict[str, Any] = {}
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(below, each.name)
            if each.name in JOINED and mine is not None and theirs is not None:
                merged[each.name] = {**theirs, **mine}
            else:
                merged[each.name] = theirs if mine is None else mine
        return Needs(**merged)


@dataclass(frozen=True, slots=True)
class Profile:
    """Where and how tasks run: what the configuration came to.

    *plugin_config* holds the tables of plugins, by the plugin's name.
    *plugins* are plugins given as ``module`` or ``module:attribute``.
    """

    cluster: str = "kubernetes"
    storage: str | None = None
    user: str = "unknown"
    project: str = "default"
    context: str | None = None
    namespace: str | None = None
    max_parallel: int | None = None
    progress: bool | None = None
    serializer: str = "cloudpickle"
    needs: Needs = field(default_factory=Needs)
    plugins: tuple[str, ...] = ()
    plugin_config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    name: str = "default"
    index_urls: tuple[str, ...] = ()
    index_secret: str | None = None
    certificates: str | None = None
    package_cache: str | None = None
    registry: str | None = None
    registry_secret: str | None = None
    allowed_registries: tuple[str, ...] | None = None
    base_images: Mapping[str, str] = field(default_factory=dict)
    build_namespace: str | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """What the function must find installed: *requirements* (PEP 508), for *python* ("3.12"), on *base_image*.

    *lock* is what the requirements come to on *platform*, as a ``requirements.txt`` with hashes; where the user gave
    no lock file it is empty, until a builder that needs one fills it in by `ascend.building.locks.locked`.
    *apt* are packages of the image's Debian or Ubuntu. *dockerfile* is the text of one that the user wrote, and
    *context* the files beside it as an uncompressed tar.
    """

    requirements: tuple[str, ...]
    python: str
    base_image: str
    lock: str = ""
    platform: str = DEFAULT_PLATFORM
    apt: tuple[str, ...] = ()
    dockerfile: str | None = None
    context: bytes | None = field(default=None, repr=False)

    @property
    def takes_root(self) -> str:
        """The setting that only a builder of Dockerfiles can serve, ``apt`` or ``dockerfile``; empty without one."""
        if self.apt:
            return "apt"
        return "dockerfile" if self.dockerfile is not None else ""


@dataclass(frozen=True, slots=True)
class Image:
    """Where an environment can be had: the image *reference*, by digest wherever it was built.

    *lock* is what the runner installs when the pod starts, before it loads the call; empty if the image has
    everything. *complete* is false if nobody made sure: then the runner looks for the requirements in the image.
    """

    reference: str
    lock: str = ""
    complete: bool = True


@dataclass(frozen=True, slots=True)
class NodeType:
    """What a name such as ``nc8as_t4_v3`` stands for: node labels, extra resources and tolerations."""

    labels: Mapping[str, str]
    resources: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """One submitted call: its identity and needs, without the call itself."""

    id: str
    run_id: str
    job_name: str
    function: str
    user: str
    project: str
    needs: Needs


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """A file that the pods of a run find at *path*.

    *volume* is the Kubernetes volume source that brings its folder there, such as ``{"secret": {…}}``; `None` where
    it lies there without one.
    """

    path: str
    volume: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ClusterTraits:
    """What the engine must know of a cluster before it creates Jobs there.

    *parallel* is how many tasks run at once unless the user says otherwise; `None` leaves it to the cluster's queue.
    *queues* says whether a Job may wait for capacity after it was created; where not, a task counts as
    running from its dispatch. *inline_call* is the size in bytes up to which a packed call fits into the Job,
    *placed_file* the one up to which `Cluster.place` takes a file. *storage_url* is where larger calls and outcomes
    go when the user names no storage; `None` is nowhere, and then *output_outcome* is the size up to which an
    outcome, packed as text, may come back between the lines of the Job's output.
    *image_builder* is the builder used when the user names none.
    """

    parallel: int | None
    queues: bool
    inline_call: int
    storage_url: str | None
    image_builder: str
    placed_file: int = 1 << 20
    output_outcome: int = 0


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What became of one attempt of a Job.

    A *pending* one waits, and *message* says for what; it comes again whenever that changes.
    *exit_code* and *signal* are `None` while it runs; *signal* is a name such as ``SIGKILL``.
    *reason* is Kubernetes' word for the end (``OOMKilled``, ``DeadlineExceeded``, ``Deleted``, ``Unschedulable``,
    ``ErrImagePull``, …), or empty, and *message* its sentence about it.
    *receipt* is the termination message. *at* is Unix time. *final* is false if another attempt follows.
    """

    job_name: str
    phase: Literal["pending", "running", "succeeded", "failed"]
    attempt: int = 1
    at: float = 0.0
    exit_code: int | None = None
    signal: str | None = None
    reason: str = ""
    receipt: bytes = b""
    final: bool = True
    message: str = ""


@dataclass(frozen=True, slots=True)
class JobOutput:
    """Whole lines that a Job wrote, standard output and standard error in the order they came."""

    job_name: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """Something happened to a task at a Unix time.

    *phase* is a name of the timeline, which began, or ``succeeded``, ``failed`` or ``cancelled``; then *timeline* is
    complete, and until then `None`.
    """

    task: Task
    phase: str
    at: float
    timeline: Timeline | None = None
