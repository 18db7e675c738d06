"""The root of the commands: each is imported when it is first needed, and plugins add theirs."""

from __future__ import annotations

from importlib import import_module

import click

from ascend import __version__
from ascend.cli.suggest import SuggestingGroup
from ascend.errors import AscendError

__all__ = ["LazyGroup", "root"]

# The short help is here too: so `ascend --help` imports no command.
_COMMANDS = {
    "admin": ("ascend.cli.admin", "Prepare a cluster for those who use ascend on it."),
    "completion": ("ascend.cli.completion", "Print the script that completes commands in your shell."),
    "config": ("ascend.cli.config", "Show the settings and where they come from, or begin a file of them."),
    "demo": ("ascend.cli.demo", "Run a small hyper-parameter search, from its data to its result."),
    "doctor": ("ascend.cli.doctor", "Check step by step that tasks can run on Kubernetes."),
    "env": ("ascend.cli.env", "Make the lock of requirements, and show what an environment comes to."),
    "explain": ("ascend.cli.explain", "Say what would travel for a call, and what is missing."),
    "image": ("ascend.cli.image", "Build images of requirements in the cluster, see, and remove them."),
    "jobs": ("ascend.cli.jobs", "Watch and manage the Jobs of tasks on Kubernetes."),
    "plugins": ("ascend.cli.plugins", "List the plugins, and why those that failed did."),
    "runs": ("ascend.cli.runs", "Watch and remove the runs of executors on Kubernetes."),
}


class LazyGroup(SuggestingGroup):
    """A group whose commands are imported when they are called."""

    _asked_plugins = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return our commands and those of plugins."""
        self._ask_plugins(ctx)
        return sorted({*_COMMANDS, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, importing it; those of plugins are looked for last."""
        if cmd_name in _COMMANDS:
            return _load(cmd_name)
        self._ask_plugins(ctx)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names of all commands, without importing ours."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.commands.get(name)
            if command is None or not command.hidden:
                rows.append((name, command.get_short_help_str() if command else _COMMANDS[name][1]))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _ask_plugins(self, ctx: click.Context) -> None:
        if self._asked_plugins:
            return
        self._asked_plugins = True
        from ascend._core.config.profile import load_profile  # noqa: PLC0415 - our own commands need no plugin to be found
        from ascend._core.plugins.asking import Plugins  # noqa: PLC0415 - as above

        try:
            Plugins.load(load_profile(ctx.params.get("profile"))).register_commands(self)
        except AscendError as error:
            # Help must come also where the settings are what is wrong.
            click.echo(f"Warning: the commands of plugins are not here: {error}", err=True)
        for name in _COMMANDS:
            self.commands.pop(name, None)


def _load(name: str) -> click.Command:
    command: click.Command = getattr(import_module(_COMMANDS[name][0]), name)
    return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ascend", message="%(prog)s %(version)s")
@click.option("--profile", metavar="NAME", help="The profile to use, instead of $ASCEND_PROFILE or the files' own.")
@click.pass_context
def root(ctx: click.Context, profile: str | None) -> None:
    """Run Python functions on Kubernetes."""
    ctx.obj = profile
