"""The `ascend` command: in this process through click, and as a program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from ascend import __version__
from ascend.cli import group
from ascend.cli.group import root
from ascend.cli.tables import print_table

REFERENCE = Path(__file__).parents[2] / "docs/reference/cli.md"


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    for variable in [each for each in os.environ if each.startswith("ASCEND_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    folder = tmp_path / "project"
    (folder / ".git").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def program(project):
    def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **environ}
        command = [sys.executable, "-m", "ascend", *arguments]
        return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False, timeout=60)

    return run


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(root, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_command_has_a_module_that_defines_it():
    for name, (module, _) in group._COMMANDS.items():
        assert find_spec(module), module
        command = root.get_command(root.make_context("ascend", [name], resilient_parsing=True), name)
        assert command is not None
        assert command.name == name


def test_the_version_is_printed(program):
    assert program("--version").stdout == f"ascend {__version__}\n"


def test_help_names_every_command_and_imports_none():
    listed = "import sys; from ascend.cli import main\ntry: main(['-h'])\nexcept SystemExit: pass\n"
    code = f"{listed}print([m for m in sys.modules if m in ('ascend.cli.demo', 'ascend.cli.explain', 'rich')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.endswith("[]\n")
    for name in group._COMMANDS:
        assert f"  {name} " in done.stdout


def test_config_show_tells_value_and_origin(project):
    (project / "ascend.toml").write_text('memory = "4Gi"\nbase_image = "[bold]x[/bold]"')
    text = invoke("config", "show")
    row = next(line.split() for line in text.splitlines() if "memory" in line)
    assert row == ["memory", "4Gi", f"{project / 'ascend.toml'}:1"]
    assert "[bold]x[/bold]" in text


def test_config_show_speaks_json(project):
    (project / "ascend.toml").write_text(
        'env = { A = "1" }\nsecrets = { T = { name = "n", key = "k" } }\nvolumes = { "/a" = { claim = "c" } }'
    )
    values = json.loads(invoke("config", "show", "--json"))
    assert values["env"] == {"value": {"A": "1"}, "origin": f"{project / 'ascend.toml'}:1"}
    assert values["secrets"]["value"] == {"T": {"name": "n", "key": "k"}}
    assert values["volumes"]["value"] == {"/a": {"claim": "c", "memory": None, "read_only": False}}
    assert values["cluster"] == {"value": "kubernetes", "origin": "default"}


def test_the_option_profile_chooses_one(project):
    (project / "ascend.toml").write_text("[profiles.gpu]\ngpus = 2")
    values = json.loads(invoke("--profile", "gpu", "config", "show", "--json"))
    assert (values["profile"]["value"], values["gpus"]["value"]) == ("gpu", 2)


def test_config_init_writes_a_file_that_sets_nothing(project):
    assert str(project / "ascend.toml") in invoke("config", "init")
    text = (project / "ascend.toml").read_text()
    assert tomllib.loads(text) == {}
    assert '# memory = "4Gi"' in text
    assert json.loads(invoke("config", "show", "--json"))["memory"]["origin"] == "default"


def test_config_init_is_a_valid_file_without_its_comment_signs(project):
    invoke("config", "init")
    path = project / "ascend.toml"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line[2:] if " = " in line or "[profiles" in line else line for line in lines))
    values = json.loads(invoke("config", "show", "--json"))
    assert [key for key, each in values.items() if each["origin"] == "default"] == ["profile"]


def test_config_init_replaces_nothing_unless_told(project, program):
    (project / "ascend.toml").write_text("gpus = 1")
    done = program("config", "init")
    assert done.returncode == 1
    assert "is there already; --force replaces it" in done.stderr
    assert (project / "ascend.toml").read_text() == "gpus = 1"
    invoke("config", "init", "--force")
    assert tomllib.loads((project / "ascend.toml").read_text()) == {}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has another variable for the folder")
def test_config_init_for_the_user(tmp_path):
    invoke("config", "init", "--user")
    assert (tmp_path / "user/ascend/config.toml").is_file()


def test_plugins_are_listed():
    assert "ascend_serializer" in invoke("plugins")
    infos = {info["name"]: info for info in json.loads(invoke("plugins", "--json"))}
    assert infos["builtin"]["distribution"] == "ascend"
    assert infos["builtin"]["error"] is None


def test_disabled_plugins_are_listed(monkeypatch):
    monkeypatch.setenv("ASCEND_DISABLE_PLUGINS", "builtin")
    assert "disabled by ASCEND_DISABLE_PLUGINS" in invoke("plugins")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell):
    assert "_ASCEND_COMPLETE" in invoke("completion", shell)


def test_completion_takes_the_shell_of_the_environment(monkeypatch):
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    assert invoke("completion").startswith("#compdef ascend")


def test_an_error_is_one_line_and_status_one(program, project):
    (project / "ascend.toml").write_text("gpu = 1")
    done = program("config", "show")
    assert done.returncode == 1
    assert done.stderr == f"Error: {project / 'ascend.toml'}:1: unknown key 'gpu': did you mean 'gpus'?\n"


def test_an_error_has_its_traceback_when_debugging(program, project):
    (project / "ascend.toml").write_text("gpu = 1")
    done = program("config", "show", ASCEND_DEBUG="1")
    assert "Traceback" in done.stderr
    assert done.returncode == 1


def test_help_comes_also_where_the_settings_are_wrong(program, project):
    (project / "ascend.toml").write_text("gpu = 1")
    done = program("--help")
    assert done.returncode == 0
    assert "Commands:" in done.stdout
    assert "unknown key 'gpu'" in done.stderr


@pytest.mark.parametrize(("typed", "meant"), [(["cnfig"], "config"), (["config", "shw"], "show")])
def test_an_unknown_command_tells_the_nearest(typed, meant, program):
    done = program(*typed)
    assert done.returncode == 2
    assert f"did you mean '{meant}'?" in done.stderr


def test_a_warning_is_one_line(program):
    done = program("config", "show", ASCEND_CLUSTR="local")
    assert done.stderr == "Warning: the environment variable ASCEND_CLUSTR is unknown: did you mean ASCEND_CLUSTER?\n"


ACME = """
import click
from ascend import hookimpl

@click.group()
def acme(): "Set up acme."

@acme.command()
def interrupt(): raise KeyboardInterrupt

@acme.command()
@click.pass_context
def seven(ctx): ctx.exit(7)

@hookimpl
def ascend_register_commands(cli): cli.add_command(acme)
"""


@pytest.fixture
def acme(project):
    (project / "acme_commands.py").write_text(ACME)
    (project / "ascend.toml").write_text('plugins = ["acme_commands"]')


@pytest.mark.usefixtures("acme")
def test_plugins_add_commands(program):
    assert "Set up acme." in program("--help").stdout


@pytest.mark.usefixtures("acme")
def test_ctrl_c_is_status_130_without_traceback(program):
    done = program("acme", "interrupt")
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("acme")
def test_a_command_has_its_own_exit_status(program):
    assert program("acme", "seven").returncode == 7


def test_a_cell_is_never_markup(capsys):
    print_table(("a",), [("[red]x[/red]",)])
    assert "[red]x[/red]" in capsys.readouterr().out


def test_the_reference_has_every_command():
    text = REFERENCE.read_text()
    for name in (*group._COMMANDS, "config show", "config init"):
        assert f"## `ascend {name}" in text, name
