"""``ascend completion``: the script that completes commands in a shell."""

from __future__ import annotations

import os
from pathlib import PurePath

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), required=False)
@click.pass_context
def completion(ctx: click.Context, shell: str | None) -> None:
    """Print the completion script for SHELL, or for the shell of $SHELL.

    For bash: eval "$(ascend completion bash)"
    """
    name = shell or PurePath(os.environ.get("SHELL", "")).name
    script = get_completion_class(name)
    if script is None:
        msg = "the shell is not known from $SHELL: write bash, zsh or fish behind the command"
        raise click.UsageError(msg, ctx)
    click.echo(script(ctx.find_root().command, {}, "ascend", "_ASCEND_COMPLETE").source())
