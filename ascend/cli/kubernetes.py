"""What the commands for Kubernetes share: options that lead to a cluster, the objects of ascend there, completion."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from functools import update_wrapper
from time import time
from typing import TYPE_CHECKING, Any

import click

from ascend._builtin.kubernetes.connection import PATIENCE
from ascend._builtin.kubernetes.failures import ApiError, refused
from ascend._builtin.kubernetes.features import JOBS
from ascend._builtin.kubernetes.kubeconfig import connect
from ascend._builtin.kubernetes.lease import LEASES, lease_name
from ascend._builtin.kubernetes.options import options_of
from ascend._core.config.profile import load_profile
from ascend.cli.state import server_time
from ascend.errors import AscendError, ClusterError
from ascend.model import LABEL_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from click.shell_completion import CompletionItem

    from ascend._builtin.kubernetes.connection import Connection
    from ascend.model import Profile

__all__ = [
    "OURS",
    "asking",
    "complete_jobs",
    "complete_runs",
    "find_job",
    "find_run",
    "for_completion",
    "in_time",
    "is_ours",
    "jobs_of",
    "json_option",
    "no_such",
    "now_of",
    "open_connection",
    "pick_profile",
    "place_options",
    "pods_of",
    "runs_of",
    "the_job",
    "where",
    "with_connection",
]

_MANAGED_BY, _RUN = "app.kubernetes.io/managed-by", f"{LABEL_PREFIX}/run"

OURS = f"{_MANAGED_BY}=ascend,{_RUN}"
"""What selects all objects of runs; what else calls itself ascend is none of our business."""

_PATIENCE = 5.0
_COMPLETION_SECONDS = 3.0
_NOT_FOUND = 404


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json`` to a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--context`` and ``--namespace`` to a command."""
    context = click.option("--context", metavar="NAME", help="The context of the kubeconfig.  [default: the profile's]")
    namespace = click.option("-n", "--namespace", metavar="NAME", help="The namespace.  [default: the profile's]")
    return context(namespace(command))


def with_connection(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--context`` and ``--namespace`` to *command*, and hand it the connection that they lead to."""

    def connected(profile: str | None, *, context: str | None, namespace: str | None, **kwargs: Any) -> None:
        connection = open_connection(pick_profile(profile, context, namespace))
        try:
            command(connection, **kwargs)
        finally:
            connection.close()

    return place_options(click.pass_obj(update_wrapper(connected, command)))


def pick_profile(name: str | None, context: str | None, namespace: str | None) -> Profile:
    """Return the profile, with what options say."""
    return load_profile(name, arguments={"context": context, "namespace": namespace})


def open_connection(profile: Profile, patience: float = _PATIENCE) -> Connection:
    """Return a connection to where *profile* leads; who types a command does not wait as long as a run does."""
    return connect(profile.context, profile.namespace, options_of(profile).kubeconfig, min(patience, PATIENCE))


@contextmanager
def asking(action: str) -> Iterator[None]:
    """Raise what a refusal means for who wanted to do *action*, such as ``list Jobs``."""
    try:
        yield
    except ApiError as error:
        raise refused(error, action) from error


def where(connection: Connection) -> str:
    """Return the namespace and the context in words, for messages."""
    context = connection.place.context
    return f"namespace {connection.namespace!r}" + (f" of context {context!r}" if context else "")


def jobs_of(connection: Connection, run: str | None = None) -> list[dict[str, Any]]:
    """Return the Jobs of ascend in the namespace, or those of a run."""
    with asking("list Jobs"):
        return connection.items(connection.path("jobs", api=JOBS), labelSelector=_selector(run))[0]


def pods_of(connection: Connection, run: str | None = None, job: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """Return the pods of all Jobs, of those of a run, or of one, in lists by the name of their Job."""
    selector = _selector(run) if job is None else f"batch.kubernetes.io/job-name={job}"
    with asking("list pods"):
        pods, _ = connection.items(connection.path("pods"), labelSelector=selector)
    found: dict[str, list[dict[str, Any]]] = {}
    for pod in pods:
        name = (pod["metadata"].get("labels") or {}).get("batch.kubernetes.io/job-name", "")
        found.setdefault(name, []).append(pod)
    return found


def runs_of(connection: Connection) -> list[dict[str, Any]]:
    """Return the Leases of all runs."""
    with asking("list Leases"):
        return connection.items(connection.path("leases", api=LEASES), labelSelector=OURS)[0]


def now_of(connection: Connection) -> float:
    """Return the Unix time by the API server's clock: heartbeats must not be judged by a clock that is wrong here."""
    with asking("read the version"):
        _, headers = connection.exchange("GET", "/version")
    return server_time(headers) or time()


def find_job(connection: Connection, name: str) -> dict[str, Any] | None:
    """Return a Job of ascend; `None` if there is none of that name."""
    job = _find(connection, connection.path("jobs", name, api=JOBS), f"read the Job {name}")
    return job if job is not None and is_ours(job) else None


def find_run(connection: Connection, run_id: str) -> dict[str, Any] | None:
    """Return the Lease of a run; `None` if there is none."""
    path = connection.path("leases", lease_name(run_id), api=LEASES)
    lease = _find(connection, path, f"read the Lease {lease_name(run_id)}")
    return lease if lease is not None and is_ours(lease) else None


def the_job(connection: Connection, name: str) -> dict[str, Any]:
    """Return a Job of ascend; `ClusterError` if there is none of that name."""
    job = find_job(connection, name)
    if job is None:
        raise no_such(connection, "Job", [name])
    return job


def no_such(connection: Connection, kind: str, names: Sequence[str]) -> ClusterError:
    """Return the error for *names* that were not found."""
    listed = ", ".join(names)
    hint = "`ascend jobs list` shows those there are; who has ended goes after 15 minutes, or with its run"
    if kind == "run":
        hint = "`ascend runs list` shows those there are; one goes with its executor"
    return ClusterError(f"there is no {kind} {listed} of ascend in {where(connection)}: {hint}")


def is_ours(item: Mapping[str, Any]) -> bool:
    """Tell whether an object is one of a run."""
    labels = item["metadata"].get("labels") or {}
    return labels.get(_MANAGED_BY) == "ascend" and _RUN in labels


def complete_jobs(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a Job; nothing if the cluster does not answer at once."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - for completion only

    functions = f"{LABEL_PREFIX}/function"
    items = for_completion(ctx, jobs_of)
    return [
        CompletionItem(name, help=(item["metadata"].get("annotations") or {}).get(functions))
        for item in items
        if (name := item["metadata"]["name"]).startswith(incomplete)
    ]


def complete_runs(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the id of a run, likewise."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - as above

    items = for_completion(ctx, runs_of)
    return [
        CompletionItem(run, help=(item["spec"].get("holderIdentity")))
        for item in items
        if (run := item["metadata"]["labels"][_RUN]).startswith(incomplete)
    ]


def in_time(call: Callable[[], object], seconds: float) -> bool:
    """Make a call in a thread of its own; false if it has not come back after *seconds*, and is left to itself."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def for_completion(
    ctx: click.Context,
    ask: Callable[[Connection], list[dict[str, Any]]],
    place: Callable[[Profile], Profile] = lambda profile: profile,
) -> Sequence[dict[str, Any]]:
    """Return what *ask* finds where the options lead, by way of *place*; nothing if that takes long or fails."""
    found: list[dict[str, Any]] = []

    def fetch() -> None:
        # A shell that completes shows no errors.
        with suppress(AscendError):
            options = ctx.find_root().params.get("profile"), ctx.params.get("context"), ctx.params.get("namespace")
            found.extend(ask(open_connection(place(pick_profile(*options)), patience=0)))

    return found if in_time(fetch, _COMPLETION_SECONDS) else ()


def _find(connection: Connection, path: str, action: str) -> dict[str, Any] | None:
    with asking(action):
        try:
            return connection.get(path)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise


def _selector(run: str | None) -> str:
    return OURS if run is None else f"{OURS},{_RUN}={run}"
