"""``ascend explain``: what would travel for a call, and what would be missing where it runs."""

from __future__ import annotations

import ast
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ascend._core.bundle import Call, pickle_call
from ascend._core.config.profile import load_profile
from ascend._core.plugins.asking import Plugins
from ascend._core.preflight.report import explain_call
from ascend._core.source.tracker import SourceTracker
from ascend.cli.tables import print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ascend._core.preflight.report import CallReport
    from ascend.model import Needs, Profile

__all__ = ["explain"]


@click.command()
@click.argument("function", metavar="MODULE:FUNCTION")
@click.option(
    "--arg", "literals", multiple=True, metavar="LITERAL", help="An argument, as in --arg 3 --arg \"{'a': 1}\"."
)
@click.option("--requirement", "requirements", multiple=True, metavar="REQ", help="Instead of the requirements set.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def explain(
    ctx: click.Context, function: str, literals: tuple[str, ...], requirements: tuple[str, ...], as_json: bool
) -> None:
    """Say what would travel for a call of FUNCTION, and what is missing; the function is not called.

    The module is imported from the current folder. The status is 1 if the call would fail.
    """
    fn = _load(function)
    args = tuple(_value(literal) for literal in literals)
    report = _report(fn, args, requirements, load_profile(ctx.obj))
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report)
    ctx.exit(1 if report.problems else 0)


def _load(name: str) -> Callable[..., object]:
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        msg = f"{name!r} is not of the form module:function, as in package.module:train"
        raise click.BadParameter(msg)
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        value: Any = import_module(module)
        for part in attribute.split("."):
            value = getattr(value, part)
    except Exception as error:
        # A user's module may raise anything while it is imported.
        msg = f"{name} cannot be imported from {folder}: {type(error).__name__}: {error}"
        raise click.ClickException(msg) from error
    if not callable(value):
        msg = f"{name} is a {type(value).__name__} and cannot be called"
        raise click.BadParameter(msg)
    fn: Callable[..., object] = value
    return fn


def _value(literal: str) -> object:
    try:
        return ast.literal_eval(literal)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        msg = f"{literal!r} is no Python literal; a string needs quotes of its own, as in --arg \"'text'\""
        raise click.BadParameter(msg) from error


def _report(
    fn: Callable[..., object], args: tuple[object, ...], requirements: tuple[str, ...], profile: Profile
) -> CallReport:
    serializer = Plugins.load(profile).serializer(profile.serializer)

    def dumps(
        fn: Callable[..., object], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[bytes, list[memoryview]]:
        return pickle_call(Call(fn, args, kwargs), serializer)

    own: Needs | None = getattr(fn, "__ascend_needs__", None)
    needs = profile.needs if own is None else own.over(profile.needs)
    if requirements:
        needs = replace(needs, requirements=requirements)
    return explain_call(fn, args, {}, needs=needs, source=SourceTracker().current(), dumps=dumps)


def _print(report: CallReport) -> None:
    click.echo(f"{report.function} travels {report.travels}, for Python {report.python}.")
    click.echo(f"The call has {report.call_size:,} bytes, and {report.buffers_size:,} bytes of buffers.")
    if report.modules:
        rows = [(each.name, str(each.files), f"{each.size:,}", each.why) for each in report.modules]
        print_table(("source", "files", "bytes", "why"), rows)
    skipped = [(file.path, file.why) for file in report.skipped if not file.path.endswith("__pycache__/")]
    if skipped:
        print_table(("stays here", "why"), skipped)
    if report.distributions:
        found = [
            (each.name, each.version, each.imported_by, "no" if each.missing else "yes")
            for each in report.distributions
        ]
        print_table(("imports", "version", "by", "in requirements"), found)
    for note in report.notes:
        click.echo(f"Note: {note}")
    if report.proved:
        click.echo("Proved: it was unpickled in a clean process.")
    for problem in report.problems:
        click.echo(f"Problem: {problem}")
