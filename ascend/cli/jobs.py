"""``ascend jobs``: the Jobs of ascend in a namespace, whoever has submitted them, and from wherever."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from ascend._builtin.kubernetes.diagnosis import failed_create
from ascend._builtin.kubernetes.features import JOBS
from ascend.cli.follow import follow_job, print_attempt
from ascend.cli.kept import print_kept, print_kept_of
from ascend.cli.kubernetes import (
    asking,
    complete_jobs,
    complete_runs,
    find_job,
    find_run,
    jobs_of,
    json_option,
    no_such,
    now_of,
    pods_of,
    the_job,
    where,
    with_connection,
)
from ascend.cli.state import STATES, JobView, RunView, ago, view_job, view_run
from ascend.cli.suggest import SuggestingGroup
from ascend.cli.tables import print_json, print_table
from ascend.cli.why import Why, explain_job
from ascend.errors import ClusterError, PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from ascend._builtin.kubernetes.connection import Connection
    from ascend._builtin.kubernetes.diagnosis import Diagnosis

__all__ = ["jobs", "views_of"]

_COLUMNS = ("job", "function", "user", "state", "attempt", "age", "ran", "node", "reason")

_job = click.argument("name", metavar="JOB", shell_complete=complete_jobs)
_jobs = click.argument("names", metavar="JOB...", nargs=-1, required=True, shell_complete=complete_jobs)


@click.group(cls=SuggestingGroup)
def jobs() -> None:
    """Watch and manage the Jobs of tasks on Kubernetes."""


@jobs.command("list")
@click.option("--run", metavar="ID", shell_complete=complete_runs, help="Only those of this run.")
@click.option("--user", metavar="NAME", help="Only those of this user.  [default: of all]")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@json_option
@with_connection
def list_jobs(connection: Connection, run: str | None, user: str | None, state: str | None, as_json: bool) -> None:
    """List the Jobs, the newest first."""
    views = [view for view in views_of(connection, run) if user in {None, view.user} and state in {None, view.state}]
    views.sort(key=lambda view: view.queued, reverse=True)
    if as_json:
        print_json([view.to_dict() for view in views])
    elif views:
        print_table(_COLUMNS, job_rows(views, now_of(connection)))
    else:
        click.echo(f"No such Job of ascend is in {where(connection)}.")


@jobs.command()
@_job
@json_option
@with_connection
def status(connection: Connection, name: str, as_json: bool) -> None:
    """Show all about a Job, and why it waits or failed."""
    view, why = _explained(connection, name)
    lease = find_run(connection, view.run) if view.run else None
    run = view_run(lease) if lease is not None else None
    now = now_of(connection)
    if as_json:
        alive = run.is_alive(now) if run else False
        print_json({**view.to_dict(), "client": run.client if run else None, "client_alive": alive, **why.to_dict()})
        return
    for title, text in status_rows(view, run, now):
        click.echo(f"{title + ':':<10} {text}")
    _print_why(why)


@jobs.command()
@_job
@json_option
@with_connection
def why(connection: Connection, name: str, as_json: bool) -> None:
    """Say what a Job waits for, or why it failed, and what to do."""
    _, found = _explained(connection, name)
    if as_json:
        print_json(found.to_dict())
    else:
        _print_why(found)


@jobs.command()
@_job
@click.option("-f", "--follow", is_flag=True, help="Go on until the container ends.")
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="The attempt.  [default: the newest]")
@click.option("--user", metavar="NAME", help="Whose it was, if it is gone.  [default: the profile's]")
@click.option("--project", metavar="NAME", help="Of which project, if it is gone.  [default: the profile's]")
@with_connection
def logs(connection: Connection, name: str, follow: bool, attempt: int | None, **whose: str | None) -> None:
    """Print what a Job has written until now.

    Standard output and standard error come in the order in which they were written. Of a task that has failed they
    are also there when its Job or its pod is gone, if it had a storage that is set here too.
    """
    profile = click.get_current_context().obj
    job = find_job(connection, name)
    if job is None:
        print_kept(connection, profile, name, **whose)
        return
    is_bare = attempt is None and view_job(job, []).has_ended and not pods_of(connection, job=name)
    if is_bare and print_kept_of(profile, job):
        return
    if follow:
        follow_job(connection, job, attempt)
    else:
        print_attempt(connection, job, attempt)


@jobs.command()
@_jobs
@with_connection
def cancel(connection: Connection, names: tuple[str, ...]) -> None:
    """Stop Jobs that wait or run.

    For the clients that wait for them they are lost. Jobs that have ended are left as they are.
    """

    def stop(view: JobView) -> str | None:
        if view.has_ended:
            click.echo(f"{view.name} has ended already: it {view.state}")
        else:
            _delete(connection, view.name)
            click.echo(f"Cancelled {view.name} ({view.function}), which was {view.state}")
        return None

    _each(connection, names, stop)


@jobs.command()
@_jobs
@click.option("--force", is_flag=True, help="Also those that have not ended.")
@with_connection
def delete(connection: Connection, names: tuple[str, ...], force: bool) -> None:
    """Remove Jobs that have ended, with their pods and logs."""

    def remove(view: JobView) -> str | None:
        if not view.has_ended and not force:
            return f"{view.name} is {view.state}: `ascend jobs cancel` stops it, --force removes it all the same"
        _delete(connection, view.name)
        click.echo(f"Deleted {view.name} ({view.function}), which {_was(view)}")
        return None

    _each(connection, names, remove)


def views_of(connection: Connection, run: str | None = None) -> list[JobView]:
    """Return all Jobs, or those of a run."""
    found = jobs_of(connection, run)
    pods = pods_of(connection, run) if found else {}
    bare = {job["metadata"]["name"] for job in found if job["metadata"]["name"] not in pods}
    refusals = _refusals(connection, bare)
    return [view_job(job, pods.get(name, []), refusals.get(name)) for job in found if (name := job["metadata"]["name"])]


def job_rows(views: Iterable[JobView], now: float) -> list[tuple[str, ...]]:
    """Return what the table shows of each Job."""
    return [
        (
            view.name,
            view.function,
            view.user,
            view.state,
            str(view.attempt),
            ago(now - view.queued),
            ago(view.duration(now)),
            view.node,
            view.reason,
        )
        for view in views
    ]


def status_rows(view: JobView, run: RunView | None, now: float) -> list[tuple[str, str]]:
    """Return all about a Job, as titles and texts."""
    exit_code = "" if view.exit_code is None else f"exit code {view.exit_code}"
    how = ", ".join(dict.fromkeys(filter(None, (view.state, view.reason, view.signal, exit_code))))
    client = "gone: the run has been deleted"
    if run is not None:
        beat = f"last heard of {ago(now - (run.renewed or run.begun))} ago"
        client = f"{run.client}, {'alive' if run.is_alive(now) else 'no longer there'}, {beat}"
    resources = ", ".join(f"{key} {value}" for key, value in view.resources.items())
    rows = [
        ("job", view.name),
        ("function", view.function),
        ("user", view.user),
        ("project", view.project),
        ("state", how),
        ("attempt", str(view.attempt)),
        ("queued", _moment(view.queued, now)),
        ("started", _moment(view.started, now)),
        ("ended", _moment(view.ended, now)),
        ("ran", ago(view.duration(now))),
        ("node", view.node),
        ("image", view.image),
        ("resources", resources or "what the namespace gives"),
        ("run", view.run),
        ("client", client),
    ]
    return [(title, text) for title, text in rows if text]


def _explained(connection: Connection, name: str) -> tuple[JobView, Why]:
    job = the_job(connection, name)
    pods = pods_of(connection, job=name).get(name, [])
    names = (name, *(pod["metadata"]["name"] for pod in pods))
    events = [each for one in names for each in _events(connection, fieldSelector=f"involvedObject.name={one}")]
    refusal = failed_create(each for each in events if each["involvedObject"]["name"] == name)
    view = view_job(job, pods, refusal)
    return view, explain_job(view, events, now_of(connection))


def _print_why(why: Why) -> None:
    click.echo("\n".join(["", *why.lines()]).lstrip("\n"))


def _each(connection: Connection, names: tuple[str, ...], act: Callable[[JobView], str | None]) -> None:
    """Do something with each Job; `ClusterError` at the end for what was not found or refused."""
    missing, problems = [], []
    for name in dict.fromkeys(names):
        job = find_job(connection, name)
        if job is None:
            missing.append(name)
            continue
        problem = act(view_job(job, pods_of(connection, job=name).get(name, [])))
        problems += [problem] if problem else []
    if missing:
        problems.append(str(no_such(connection, "Job", missing)))
    if problems:
        raise ClusterError("\n".join(problems))


def _delete(connection: Connection, name: str) -> None:
    with asking(f"delete the Job {name}"):
        connection.delete(connection.path("jobs", name, api=JOBS))


def _was(view: JobView) -> str:
    return view.state if view.has_ended else f"was {view.state}"


def _refusals(connection: Connection, names: set[str]) -> Mapping[str, Diagnosis]:
    """Return why Jobs without pods have none, as far as events say it."""
    if not names:
        return {}
    found: dict[str, list[dict[str, Any]]] = {}
    for event in _events(connection, fieldSelector="involvedObject.kind=Job,reason=FailedCreate"):
        found.setdefault(event["involvedObject"].get("name", ""), []).append(event)
    diagnoses = {name: failed_create(found[name]) for name in names if name in found}
    return {name: diagnosis for name, diagnosis in diagnoses.items() if diagnosis is not None}


def _events(connection: Connection, **query: object) -> list[dict[str, Any]]:
    try:
        with asking("list events"):
            return connection.items(connection.path("events"), **query)[0]
    except PermissionDeniedError as error:
        # The rest is worth telling without them.
        click.echo(f"Warning: {error}", err=True)
        return []


def _moment(at: float | None, now: float) -> str:
    if at is None:
        return ""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC, {ago(now - at)} ago"
