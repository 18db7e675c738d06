"""``ascend runs``: the runs of a namespace, one for each executor that has submitted something there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ascend._builtin.kubernetes.failures import ApiError
from ascend._builtin.kubernetes.lease import LEASES
from ascend.cli.follow import RunFollower
from ascend.cli.jobs import views_of
from ascend.cli.kubernetes import (
    asking,
    complete_runs,
    find_run,
    json_option,
    no_such,
    now_of,
    runs_of,
    where,
    with_connection,
)
from ascend.cli.state import RunView, ago, view_run
from ascend.cli.suggest import SuggestingGroup
from ascend.cli.tables import print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ascend._builtin.kubernetes.connection import Connection

__all__ = ["runs"]

_COLUMNS = ("run", "user", "project", "client", "heartbeat", "client is", "jobs")
_CONFLICT = 409

_yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@click.group(cls=SuggestingGroup)
def runs() -> None:
    """Watch and remove the runs of executors on Kubernetes."""


@runs.command("list")
@json_option
@with_connection
def list_runs(connection: Connection, as_json: bool) -> None:
    """List the runs, the newest first, and whether their clients live."""
    leases = runs_of(connection)
    jobs = views_of(connection) if leases else []
    views = sorted((view_run(lease, jobs) for lease in leases), key=lambda view: view.begun, reverse=True)
    now = now_of(connection)
    if as_json:
        print_json([view.to_dict(now) for view in views])
    elif views:
        print_table(_COLUMNS, run_rows(views, now))
    else:
        click.echo(f"No run of ascend is in {where(connection)}.")


@runs.command()
@click.argument("run_id", metavar="RUN", shell_complete=complete_runs)
@with_connection
def attach(connection: Connection, run_id: str) -> None:
    """Follow a run: what its Jobs write, when they start and how they end.

    It returns when all of them have ended; the status is 1 if one failed. Ctrl-C leaves the run as it is.
    """
    lease = find_run(connection, run_id)
    if lease is None:
        raise no_such(connection, "run", [run_id])
    view = view_run(lease)
    click.echo(f"Run {run_id} of {view.user}, client {view.client}.", err=True)
    follower = RunFollower(connection, run_id)
    follower.follow()
    ends = list(follower.ends.values())
    if not ends:
        click.echo(f"Run {run_id} has no Jobs.", err=True)
        return
    click.echo(
        f"{len(ends)} Jobs have ended: {_counts({end: ends.count(end) for end in sorted(set(ends))})}.", err=True
    )
    click.get_current_context().exit(1 if "failed" in ends else 0)


@runs.command()
@click.argument("run_ids", metavar="RUN...", nargs=-1, required=True, shell_complete=complete_runs)
@_yes
@with_connection
def delete(connection: Connection, run_ids: tuple[str, ...], yes: bool) -> None:
    """Remove runs with their Jobs, pods, logs and Secrets; asks before it stops one whose client lives."""
    now = now_of(connection)
    missing, kept = [], 0
    for run_id in dict.fromkeys(run_ids):
        lease = find_run(connection, run_id)
        if lease is None:
            missing.append(run_id)
            continue
        view = view_run(lease, views_of(connection, run_id))
        if view.is_alive(now) and not yes and not click.confirm(f"{_alive(view, now)} Stop and delete it?", err=True):
            kept += 1
            click.echo(f"Kept {run_id}")
            continue
        _delete(connection, lease)
        click.echo(f"Deleted {run_id} of {view.user}{_with_jobs(view)}")
    if missing:
        raise no_such(connection, "run", missing)
    click.get_current_context().exit(1 if kept else 0)


@runs.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@_yes
@with_connection
def gc(connection: Connection, dry_run: bool, yes: bool) -> None:
    """Remove the runs whose clients have gone without removing them, as after a crash.

    Such a client has not renewed the Lease of its run for its duration, five minutes, and one minute more.
    """
    now = now_of(connection)
    leases = {view_run(lease).id: lease for lease in runs_of(connection)}
    found = [view for lease in leases.values() if (view := view_run(lease)).is_abandoned(now)]
    if not found:
        click.echo(f"Nothing to remove: none of the {len(leases)} runs in {where(connection)} is abandoned.")
        return
    jobs = views_of(connection)
    views = [view_run(leases[view.id], jobs) for view in found]
    print_table(_COLUMNS, run_rows(views, now))
    if dry_run:
        click.echo(f"Would delete {len(views)} of {len(leases)} runs.")
        return
    if not yes and not click.confirm(f"Delete these {len(views)} of {len(leases)} runs?", err=True):
        click.echo("Kept all")
        click.get_current_context().exit(1)
    for view in views:
        if _delete(connection, leases[view.id], unchanged=True):
            click.echo(f"Deleted {view.id} of {view.user}{_with_jobs(view)}")
        else:
            click.echo(f"Kept {view.id}: its client has renewed it in this moment")


def run_rows(views: Iterable[RunView], now: float) -> list[tuple[str, ...]]:
    """Return what the table shows of each run."""
    return [
        (
            view.id,
            view.user,
            view.project,
            view.client,
            "never" if view.renewed is None else f"{ago(now - view.renewed)} ago",
            "alive" if view.is_alive(now) else "gone" if view.is_abandoned(now) else "late",
            _counts(view.jobs),
        )
        for view in views
    ]


def _delete(connection: Connection, lease: Mapping[str, Any], *, unchanged: bool = False) -> bool:
    """Delete a Lease and with it all that it owns; with *unchanged* only if nobody has renewed it since, else false."""
    meta = lease["metadata"]
    only = {"uid": meta["uid"], **({"resourceVersion": meta["resourceVersion"]} if unchanged else {})}
    path = connection.path("leases", meta["name"], api=LEASES)
    with asking(f"delete the Lease {meta['name']}"):
        try:
            connection.exchange("DELETE", path, {"propagationPolicy": "Background", "preconditions": only})
        except ApiError as error:
            if error.status == _CONFLICT:
                return False
            # Its client was faster.
            if error.reason != "NotFound":
                raise
    return True


def _alive(view: RunView, now: float) -> str:
    beat = ago(now - (view.renewed or view.begun))
    return f"The client of run {view.id}, {view.client}, lives: its heartbeat is {beat} old{_with_jobs(view)}."


def _with_jobs(view: RunView) -> str:
    return f", with Jobs: {_counts(view.jobs)}" if view.jobs else ", which has no Jobs"


def _counts(jobs: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in jobs.items()) or "none"
