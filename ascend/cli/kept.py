"""What is kept of a task when its pod is gone: the output of one that failed, in the storage of its profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ascend._core.bundle import log_key
from ascend._core.config.profile import load_profile
from ascend._core.plugins.asking import Plugins
from ascend.cli.kubernetes import no_such
from ascend.cli.state import view_job
from ascend.errors import ClusterError, KeyNotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ascend._builtin.kubernetes.connection import Connection
    from ascend.model import Profile

__all__ = ["print_kept", "print_kept_of"]


def print_kept(
    connection: Connection, profile_name: str | None, name: str, *, user: str | None, project: str | None
) -> None:
    """Print what is kept of a Job that is gone, which was one of *user* and *project*; by default the profile's."""
    profile = load_profile(profile_name, arguments={"user": user, "project": project})
    text = _kept(profile, name)
    if text is None:
        raise ClusterError(f"{no_such(connection, 'Job', [name])}{_nothing(profile)}")
    click.echo(text)


def print_kept_of(profile_name: str | None, job: Mapping[str, Any]) -> bool:
    """Print what is kept of a Job whose pods are gone, whoever has submitted it; false if nothing is."""
    view = view_job(job, [])
    profile = load_profile(profile_name, arguments={"user": view.user, "project": view.project})
    text = _kept(profile, view.name)
    if text is not None:
        click.echo(text)
    return text is not None


def _kept(profile: Profile, job_name: str) -> str | None:
    if profile.storage is None:
        return None
    storage = Plugins.load(profile).storage(profile.storage, profile)
    try:
        key = log_key(profile.project, profile.user, job_name)
        return bytes(storage.get(key)).decode(errors="replace")
    except KeyNotFoundError:
        return None


def _nothing(profile: Profile) -> str:
    if profile.storage is None:
        return "; what a failed task wrote is kept in its storage, and none is set here: set storage (ASCEND_STORAGE)"
    return (
        f"; nothing of it is kept in {profile.storage} for user {profile.user!r} and project {profile.project!r}: "
        "--user and --project say whose it was"
    )
