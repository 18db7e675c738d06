"""``ascend image gc`` and ``delete``: removes images, and never one that a Job still names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from ascend._builtin.kubernetes.failures import ApiError
from ascend._builtin.kubernetes.lease import LEASES
from ascend.building.usage import usage_name
from ascend.cli.build_gc import abandoned_builds, delete_builds
from ascend.cli.images import (
    complete_images,
    find_image,
    images_in,
    no_such_image,
    registry_of,
    uses_of,
    with_builds,
)
from ascend.cli.kubernetes import now_of, where
from ascend.cli.state import ago
from ascend.cli.tables import print_table
from ascend.errors import ClusterError, PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ascend._builtin.kubernetes.connection import Connection
    from ascend.building.registry import Registry
    from ascend.cli.images import ImageView, Uses
    from ascend.model import Profile

__all__ = ["Span", "delete", "delete_unused", "gc", "is_unused", "refuse_unseen"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"(\d+)([smhd])")
_COLUMNS = ("key", "requirements", "size", "last used")
_SHORT = 12
_GONE = 404

_yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


class Span(click.ParamType[float]):
    """A stretch of time such as 30d."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        found = _SPAN.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is no stretch of time such as 30d, 12h, 45m or 90s", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


@click.command()
@click.option("--unused", type=Span(), default="30d", show_default=True, metavar="TIME", help="For how long unused.")
@click.option("--unknown", is_flag=True, help="Also those of which nobody has noted when they were used.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--one-namespace", is_flag=True, help="Also where only one may be read: nobody uses them in others.")
@_yes
@with_builds
def gc(
    profile: Profile,
    connection: Connection,
    *,
    unused: float,
    unknown: bool,
    dry_run: bool,
    one_namespace: bool,
    yes: bool,
) -> None:
    """Remove images that were not used for a while, and builds that never began.

    An image that a Job names is kept, whether that has ended or not; so is one that a client has begun to use within
    that time. Its layers go when the registry cleans up.
    """
    registry, place = registry_of(profile)
    uses, now = uses_of(connection), now_of(connection)
    images = list(images_in(registry, place, uses))
    found = [each for each in images if not each.jobs and is_unused(each, now, unused, unknown=unknown)]
    if not uses.everywhere:
        click.echo(
            f"Warning: only {where(connection)} may be read: images that other namespaces use may look unused", err=True
        )
    builds = abandoned_builds(connection, now)
    if not found and not builds:
        click.echo(
            f"Nothing to remove: all of the {len(images)} images in {place.registry}/{place.repository} are kept."
        )
        return
    if found:
        print_table(_COLUMNS, [_row(each, now) for each in found])
    what = _what(len(found), len(images), len(builds))
    if dry_run:
        click.echo(f"Would delete {what}.")
        return
    if found and not one_namespace:
        refuse_unseen(uses, where(connection))
    if not yes and not click.confirm(f"Delete {what}?", err=True):
        click.echo("Kept all")
        click.get_current_context().exit(1)
    delete_unused(found, lambda: uses_of(connection), lambda each, newer: _remove(connection, registry, each, newer))
    delete_builds(connection, builds)


@click.command()
@click.argument("keys", metavar="KEY...", nargs=-1, required=True, shell_complete=complete_images)
@click.option("--force", is_flag=True, help="Also those that Jobs name.")
@with_builds
def delete(profile: Profile, connection: Connection, keys: tuple[str, ...], force: bool) -> None:
    """Remove images, each by the beginning of its key; the next call that needs one builds it again."""
    registry, place = registry_of(profile)
    uses = uses_of(connection)
    images = list(images_in(registry, place, uses))
    problems = []
    for key in dict.fromkeys(keys):
        found = find_image(images, key)
        if found is None:
            problems.append(str(no_such_image(key)))
        elif found.jobs and not force:
            problems.append(f"{key} is named by {', '.join(found.jobs)}: --force removes it all the same")
        else:
            _remove(connection, registry, found, uses)
            click.echo(f"Deleted {found.keys[0][:_SHORT]} ({found.requirements})")
    if problems:
        raise ClusterError("\n".join(problems))


def refuse_unseen(uses: Uses, place: str) -> None:
    """Raise `PermissionDeniedError` if *uses* are not those of all namespaces, but of *place* alone."""
    if not uses.everywhere:
        msg = (
            f"nothing was deleted, since only {place} may be read, and Jobs of other namespaces may use these images: "
            "have somebody run it who may list Jobs and Leases everywhere, or add --one-namespace if nobody uses them "
            "from elsewhere"
        )
        raise PermissionDeniedError(msg)


def delete_unused(
    found: Iterable[ImageView], look: Callable[[], Uses], remove: Callable[[ImageView, Uses], None]
) -> None:
    """Have *found* removed, each unless somebody has begun to use it, as *look* says just before."""
    for each in found:
        # Somebody has thought about it, and others were deleted before: that takes a while.
        newer = look()
        last, jobs = newer.of(each.keys, each.name.digest)
        if jobs or last != each.used:
            click.echo(f"Kept {each.keys[0][:_SHORT]}: somebody has begun to use it in this moment")
        else:
            remove(each, newer)
            click.echo(f"Deleted {each.keys[0][:_SHORT]} ({each.requirements})")


def is_unused(image: ImageView, now: float, unused: float, *, unknown: bool) -> bool:
    """Tell whether nobody has used an image for *unused* seconds; *unknown* is the answer where nobody has noted it."""
    return unknown if image.used is None else now - image.used >= unused


def _remove(connection: Connection, registry: Registry, image: ImageView, uses: Uses) -> None:
    registry.delete(image.name)
    for key in image.keys:
        for namespace in uses.leases.get(key, ()):
            path = f"/{LEASES}/namespaces/{namespace}/leases/{usage_name(key)}"
            try:
                connection.delete(path)
            except ApiError as error:
                if error.status != _GONE:
                    click.echo(f"Warning: the Lease {usage_name(key)} in {namespace} stays: {error}", err=True)


def _what(found: int, images: int, builds: int) -> str:
    """Return what would go, in words."""
    words = [f"{found} of {images} images"] if found else []
    if builds:
        words.append(f"{builds} build{'s' if builds > 1 else ''} that never began")
    return " and ".join(words)


def _row(image: ImageView, now: float) -> tuple[str, ...]:
    used = "unknown" if image.used is None else f"{ago(now - image.used)} ago"
    return (image.keys[0][:_SHORT], image.requirements, f"{image.size / 1e6:.0f} MB", used)
