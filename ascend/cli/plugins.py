"""``ascend plugins``: what is installed, what it answers, and what failed."""

from __future__ import annotations

import warnings
from dataclasses import asdict

import click

from ascend._core.config.profile import load_profile
from ascend._core.plugins.asking import Plugins
from ascend.cli.tables import print_json, print_table

__all__ = ["plugins"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with tracebacks.")
@click.pass_obj
def plugins(profile: str | None, as_json: bool) -> None:
    """List the plugins in the order of registration: the last is asked first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the table says the same
        infos = Plugins.load(load_profile(profile)).describe()
    if as_json:
        print_json([asdict(info) for info in infos])
        return
    rows = [
        (info.name, info.distribution or "", info.version or "", info.error or ", ".join(info.hooks) or "no hook")
        for info in infos
    ]
    print_table(("plugin", "distribution", "version", "hooks"), rows)
