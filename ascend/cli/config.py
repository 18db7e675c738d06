"""``ascend config``: shows the settings with their origins, and begins a file of them."""

from __future__ import annotations

import json
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ascend._core.config.files import PROJECT_FILE, project_folder, user_file
from ascend._core.config.profile import resolve
from ascend._core.config.settings import NEEDS, PLACES, Setting
from ascend.cli.suggest import SuggestingGroup
from ascend.cli.tables import print_json, print_table
from ascend.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["config"]


@click.group(cls=SuggestingGroup)
def config() -> None:
    """Show the settings and where they come from, or begin a file of them."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(profile: str | None, as_json: bool) -> None:
    """Show every setting, its value and where that comes from."""
    values = resolve(profile).values
    if as_json:
        print_json({key: {"value": _plain(each.value), "origin": each.origin} for key, each in values.items()})
        return
    print_table(("setting", "value", "origin"), [(key, _text(each.value), each.origin) for key, each in values.items()])


@config.command()
@click.option("--user", is_flag=True, help="Write your own file, for all projects.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(user: bool, force: bool) -> None:
    """Write a file in which every setting is explained and none is set."""
    path = user_file() if user else (project_folder(None) or Path.cwd()) / PROJECT_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write("\n".join(_lines()))
    except FileExistsError:
        msg = f"{path} is there already; --force replaces it"
        raise ConfigError(msg) from None
    click.echo(f"Wrote {path}")


def _lines() -> Iterator[str]:
    yield "# Settings of ascend. Take the # away from what you set; `ascend config show` tells what holds."
    yield "# Before this file come environment variables such as ASCEND_CLUSTER, and the arguments of AscendExecutor."
    yield "\n# Where and how tasks run."
    yield from _settings(PLACES)
    yield "\n# What a task needs, where neither the executor nor the function says it."
    yield from _settings(NEEDS)
    yield '\n# Settings for some occasions, chosen with ASCEND_PROFILE=gpu or AscendExecutor("gpu").'
    yield "# [profiles.gpu]\n# gpus = 1\n"


def _settings(settings: Mapping[str, Setting]) -> Iterator[str]:
    for name, setting in settings.items():
        yield f"\n# {setting.about[:1].upper()}{setting.about[1:]}; default: {setting.default}."
        yield f"# {name} = {setting.example}"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(_plain(value), ensure_ascii=False, default=str)
