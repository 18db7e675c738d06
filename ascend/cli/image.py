"""``ascend image``: images that were built in the cluster, and the Jobs that build them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ascend._core.build_context import Dockerfiles
from ascend._core.config.files import project_folder
from ascend._core.config.profile import load_profile
from ascend._core.manifest import base_image_of
from ascend._core.wanted import written
from ascend._core.wire import python_minor
from ascend.building.build_manifest import BUILD_LABEL
from ascend.cli.image_gc import delete, gc
from ascend.cli.images import (
    builds_of,
    complete_images,
    find_image,
    images_in,
    no_such_image,
    registry_of,
    uses_of,
    with_builds,
)
from ascend.cli.kubernetes import json_option, now_of, pods_of
from ascend.cli.state import ago, view_job
from ascend.cli.suggest import SuggestingGroup
from ascend.cli.tables import print_json, print_table
from ascend.errors import ClusterError, ConfigError
from ascend.model import DEFAULT_PLATFORM, LABEL_PREFIX, Environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ascend._builtin.kubernetes.connection import Connection
    from ascend.cli.images import ImageView
    from ascend.model import Profile

__all__ = ["image"]

_COLUMNS = ("key", "state", "builder", "requirements", "size", "used", "jobs")
_SHORT = 12

_key = click.argument("key", metavar="KEY", shell_complete=complete_images)


@click.group(cls=SuggestingGroup)
def image() -> None:
    """Build images of requirements in the cluster, see, and remove them."""


image.add_command(gc)
image.add_command(delete)


@image.command()
@click.argument("requirements", nargs=-1, metavar="[REQUIREMENT]...")
@click.option("--builder", metavar="NAME", help="Who builds.  [default: the profile's image_builder, or layer]")
@click.option("--node-type", metavar="TYPE", help="Build on the base image of this node type.")
@click.pass_obj
def build(name: str | None, requirements: tuple[str, ...], builder: str | None, node_type: str | None) -> None:
    """Build the image of the requirements, or of those that are set, and print its name.

    Where it is there already, nothing is built.
    """
    from ascend._core.plugins.asking import Plugins  # noqa: PLC0415 - not for --help

    profile = load_profile(name, arguments={"requirements": requirements or None, "node_type": node_type})
    plugins = Plugins.load(profile)
    storage = plugins.storage(profile.storage, profile) if profile.storage else None
    chosen = builder or profile.needs.image_builder or "layer"
    made = plugins.image_builder(chosen, profile, storage).ensure(_environment(profile), _say)
    if made.lock or not made.complete:
        msg = f"image_builder {chosen!r} builds no images: name one that does by --builder, such as layer"
        raise ConfigError(msg)
    click.echo(made.reference)


@image.command("list")
@json_option
@with_builds
def list_images(profile: Profile, connection: Connection, as_json: bool) -> None:
    """List the images, the last used first, and the builds that run or have failed."""
    registry, place = registry_of(profile)
    found = sorted(images_in(registry, place, uses_of(connection)), key=lambda each: each.used or 0.0, reverse=True)
    there = {key for each in found for key in each.keys}
    builds = [job for job in builds_of(connection) if job["metadata"]["labels"][BUILD_LABEL] not in there]
    if as_json:
        print_json({"images": [each.to_dict() for each in found], "builds": [_build(job, ()) for job in builds]})
    elif found or builds:
        now = now_of(connection)
        print_table(_COLUMNS, [*(_build_row(job) for job in builds), *(_row(each, now) for each in found)])
    else:
        click.echo(f"No built image is in {place.registry}/{place.repository}.")


@image.command()
@_key
@json_option
@with_builds
def status(profile: Profile, connection: Connection, key: str, as_json: bool) -> None:
    """Show all about an image, or about the build of one: KEY is the beginning of its key."""
    found = find_image(images_in(*registry_of(profile), uses_of(connection)), key)
    rows = found.to_dict() if found else _about_build(connection, key)
    if as_json:
        print_json(rows)
        return
    for title, value in rows.items():
        text = ", ".join(value) if isinstance(value, tuple) else str(value)
        if text not in {"", "None"}:
            click.echo(f"{title + ':':<14} {text}")


@image.command()
@_key
@click.option("-f", "--follow", is_flag=True, help="Go on until the build ends.")
@with_builds
def logs(profile: Profile, connection: Connection, key: str, follow: bool) -> None:  # noqa: ARG001 - as the others
    """Print the log of a build, also of one that has failed; it is kept for 15 minutes after its end."""
    from ascend.cli.follow import follow_job, print_attempt  # noqa: PLC0415 - not for --help

    job = _find_build(connection, key)
    if job is None:
        msg = (
            f"there is no build {key} in namespace {connection.namespace!r}: `ascend image list` shows those there "
            "are; one that has ended goes after 15 minutes"
        )
        raise ClusterError(msg)
    (follow_job if follow else print_attempt)(connection, job, None)


def _environment(profile: Profile) -> Environment:
    read = written(profile.needs.requirements or (), project_folder(None), _no_call)
    base = base_image_of(profile.needs, profile)
    platform = profile.needs.platform or DEFAULT_PLATFORM
    own = Dockerfiles(project_folder(None)).read(profile.needs.dockerfile)
    return Environment(
        read.requirements,
        python_minor(),
        base,
        lock=read.lock,
        platform=platform,
        apt=profile.needs.apt or (),
        dockerfile=own.text,
        context=own.context,
    )


def _say(line: str) -> None:
    click.echo(line, err=True)


def _no_call() -> tuple[str, ...]:
    msg = "requirements='auto' stands for what a call imports, and here is none: name what is to be in the image"
    raise ConfigError(msg)


def _find_build(connection: Connection, key: str) -> dict[str, Any] | None:
    found = [job for job in builds_of(connection) if job["metadata"]["labels"][BUILD_LABEL].startswith(key)]
    return max(found, key=lambda job: str(job["metadata"]["creationTimestamp"]), default=None)


def _about_build(connection: Connection, key: str) -> dict[str, Any]:
    job = _find_build(connection, key)
    if job is None:
        raise no_such_image(key)
    name = job["metadata"]["name"]
    return _build(job, pods_of(connection, job=name).get(name, []))


def _build(job: Mapping[str, Any], pods: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return what there is to say about a build."""
    view = view_job(job, list(pods))
    notes = job["metadata"].get("annotations") or {}
    waiting = [text for name, text in notes.items() if name.startswith(f"{LABEL_PREFIX}/waits-")]
    return {
        "key": job["metadata"]["labels"][BUILD_LABEL],
        "state": {"pending": "waits", "running": "is built", "succeeded": "built"}.get(view.state, view.state),
        "builder": notes.get(f"{LABEL_PREFIX}/builder", ""),
        "requirements": notes.get(f"{LABEL_PREFIX}/requirements", ""),
        "image": notes.get(f"{LABEL_PREFIX}/image", ""),
        "job": view.name,
        "user": view.user,
        "waiting": tuple(waiting),
        "reason": view.reason,
        "message": view.message,
    }


def _build_row(job: Mapping[str, Any]) -> tuple[str, ...]:
    about = _build(job, ())
    return (about["key"][:_SHORT], about["state"], about["builder"], about["requirements"], "", "", about["job"])


def _row(view: ImageView, now: float) -> tuple[str, ...]:
    used = "" if view.used is None else f"{ago(now - view.used)} ago"
    size = f"{view.size / 1e6:.0f} MB"
    return (view.keys[0][:_SHORT], "built", view.builder, view.requirements, size, used, str(len(view.jobs) or ""))
