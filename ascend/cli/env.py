"""``ascend env``: makes the lock of requirements, and shows what an environment comes to."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ascend._core.config.files import project_folder
from ascend._core.config.profile import load_profile
from ascend._core.manifest import base_image_of
from ascend._core.wanted import written
from ascend._core.wire import python_minor
from ascend.cli.suggest import SuggestingGroup
from ascend.cli.tables import print_json, print_table
from ascend.errors import ConfigError
from ascend.model import DEFAULT_PLATFORM, Environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from ascend.model import Profile

__all__ = ["env"]

_PLACES = {
    "uv": "in each pod, when it starts",
    "virtualenv": "in an environment of this machine",
    "prebuilt": "nowhere: the image must have it",
}
_DEFAULT_BUILDERS = {"kubernetes": "uv", "local": "virtualenv"}


class _Asked(NamedTuple):
    """What the command line asks for; what is empty there is the profile's."""

    profile: Profile
    requirements: tuple[str, ...]
    python: str
    platform: str
    fresh: bool


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for decorator in (
        click.argument("requirements", nargs=-1, metavar="[REQUIREMENT]..."),
        click.option("--python", metavar="VERSION", help="The minor version, instead of this Python's."),
        click.option("--platform", metavar="NAME", help="linux/amd64 or linux/arm64, instead of the profile's."),
        click.option("--fresh", is_flag=True, help="Resolve anew, also what was resolved within a day."),
    ):
        command = decorator(command)
    return command


@click.group(cls=SuggestingGroup)
def env() -> None:
    """Make the lock of requirements, and show what an environment comes to."""


@env.command()
@_options
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it into this file.")
@click.pass_obj
def lock(profile: str | None, /, output: Path | None, **given: Any) -> None:
    """Print the lock of the requirements, or of those that are set: every distribution, with hashes."""
    text = _locked(_asked(profile, **given)).lock
    if output is None:
        click.echo(text, nl=False)
        return
    # Where pods look is a setting, and no part of the file.
    pinned = [line for line in text.splitlines(keepends=True) if not line.startswith("--")]
    output.write_text("".join(pinned).lstrip("\n"), encoding="utf-8")
    click.echo(f"Wrote {output}; requirements = {output.name!r} uses it")


@env.command()
@_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(profile: str | None, /, as_json: bool, **given: Any) -> None:
    """Show what the requirements, or those that are set, come to, and where they would be installed."""
    from ascend.building.locks import pins  # noqa: PLC0415 - as below

    asked = _asked(profile, **given)
    made = _locked(asked)
    cluster = asked.profile.cluster
    builder = asked.profile.needs.image_builder or _DEFAULT_BUILDERS.get(cluster, f"the default of {cluster}")
    facts = {
        "base_image": made.base_image,
        "python": made.python,
        "platform": made.platform,
        "image_builder": builder,
        "installed": _PLACES.get(builder, "in an image") if made.requirements else "nothing is",
        "lock": sha256(made.lock.encode()).hexdigest()[:20],
    }
    found = pins(made.lock)
    if as_json:
        print_json({**facts, "requirements": list(made.requirements), "packages": found})
        return
    print_table(("environment", ""), list(facts.items()))
    print_table(("package", "version"), sorted(found.items()))


def _asked(
    profile: str | None, *, requirements: tuple[str, ...], python: str | None, platform: str | None, fresh: bool
) -> _Asked:
    settings = load_profile(profile, arguments={"requirements": requirements or None, "platform": platform})
    wanted = settings.needs.requirements or ()
    if not wanted:
        msg = "nothing is asked for: name requirements, or set requirements in a file that `ascend config show` lists"
        raise ConfigError(msg)
    return _Asked(settings, wanted, python or python_minor(), settings.needs.platform or DEFAULT_PLATFORM, fresh)


def _locked(asked: _Asked) -> Environment:
    from dataclasses import replace  # noqa: PLC0415 - here and below: not for --help

    from ascend.building.locks import locked, resolve  # noqa: PLC0415

    read = written(asked.requirements, project_folder(None), _no_call)
    image = base_image_of(asked.profile.needs, asked.profile)
    environment = Environment(read.requirements, asked.python, image, lock=read.lock, platform=asked.platform)
    if not asked.fresh or read.lock:
        return locked(environment, asked.profile, _say)
    made = resolve(
        environment.requirements,
        python=asked.python,
        platform=asked.platform,
        report=_say,
        index_urls=asked.profile.index_urls,
        certificates=asked.profile.certificates,
        fresh=True,
    )
    return replace(environment, lock=made)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _no_call() -> tuple[str, ...]:
    msg = "requirements='auto' stands for what a call imports, and here is none: `ascend explain` tells it for a call"
    raise ConfigError(msg)
