"""``ascend doctor``: checks step by step that tasks can run, and says how to repair what keeps them from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ascend.cli.examination import examine
from ascend.cli.kubernetes import json_option, open_connection, pick_profile, place_options
from ascend.cli.role import Subject, role_yaml
from ascend.cli.tables import print_json

if TYPE_CHECKING:
    from ascend.cli.findings import Finding

__all__ = ["doctor"]

_MARKS = {
    "ok": ("✓", "green"),
    "warning": ("!", "yellow"),
    "failed": ("✗", "red"),
    "skipped": ("-", "bright_black"),
    "unknown": ("?", "cyan"),
}
_KINDS = {"user": "User", "group": "Group", "serviceaccount": "ServiceAccount"}
_WIDTH = 15


@click.command()
@click.option("--role", is_flag=True, help="Print the Role that tasks need, for kubectl apply -f -, and check nothing.")
@click.option(
    "--to",
    "subjects",
    metavar="KIND:NAME",
    multiple=True,
    callback=lambda ctx, _, texts: tuple(_subject(text, ctx) for text in texts),
    help="With --role: bind it to user:NAME, group:NAME or serviceaccount:[NAMESPACE:]NAME.",
)
@json_option
@place_options
@click.pass_context
def doctor(
    ctx: click.Context,
    *,
    role: bool,
    subjects: tuple[Subject, ...],
    as_json: bool,
    context: str | None,
    namespace: str | None,
) -> None:
    """Check step by step that tasks can run on Kubernetes, and say how to repair what is wrong.

    Nothing is left behind. The status is 1 if a check failed.
    """
    if subjects and not role:
        msg = "--to says who gets the Role: give --role too"
        raise click.UsageError(msg, ctx)
    profile = pick_profile(ctx.obj, context, namespace)
    if role:
        click.echo(role_yaml(profile.namespace or open_connection(profile).namespace, subjects), nl=False)
        return
    found = []
    for finding in examine(profile):
        found.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        print_json([finding.to_dict() for finding in found])
    ctx.exit(1 if any(finding.state == "failed" for finding in found) else 0)


def _subject(text: str, ctx: click.Context) -> Subject:
    kind, _, name = text.partition(":")
    if kind not in _KINDS or not name:
        msg = f"--to {text}: write user:NAME, group:NAME or serviceaccount:[NAMESPACE:]NAME"
        raise click.UsageError(msg, ctx)
    namespace, _, own = name.rpartition(":") if kind == "serviceaccount" else ("", "", name)
    return Subject(_KINDS[kind], own, namespace)


def _print(finding: Finding) -> None:
    mark, color = _MARKS[finding.state]
    text = " ".join(finding.text.split())
    click.echo(f"{click.style(mark, fg=color, bold=True)} {finding.check:<{_WIDTH}}{text}")
    if finding.remedy:
        click.echo(f"{'':<{_WIDTH + 2}}To do: {finding.remedy}")
