"""Whatever exists is documented, and what is documented works."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

from ascend import errors, hookspecs
from ascend.model import Needs, Profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click
    from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
SHOWN = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [
    *SHOWN,
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("plugins/*/*.md")),
    *sorted(ROOT.glob("changelog.d/*.md")),
]
NOT_RUN = "<!-- not run: "  # and the reason
STRUCTURE = {"name", "needs", "plugin_config"}  # of a profile: not settings, but what holds them
LONG_COMMANDS = ("demo",)  # has a test of its own
EXAMPLES_LIMIT = 300.0  # seconds for all examples of a page


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tokens_of(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def headings_of(page: Path) -> list[str]:
    tokens = tokens_of(page)
    return [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]


def blocks_of(page: Path, language: str) -> list[str]:
    """Return the code blocks that are run."""
    found, before = [], ""
    for token in tokens_of(page):
        if token.type == "fence" and token.info.split()[:1] == [language] and not before.startswith(NOT_RUN):
            found.append(token.content)
        before = token.content.strip()
    return found


def commands_of(page: Path) -> list[list[str]]:
    """Return the ``ascend`` commands of the console blocks that are run."""
    lines = [line for block in blocks_of(page, "console") for line in block.splitlines()]
    commands = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines if line.startswith("$ ascend ")]
    return [command for command in commands if command[1] not in LONG_COMMANDS]


def hooks() -> dict[str, str]:
    """Return each hook's signature, as it is written."""
    tree = ast.parse(inspect.getsource(hookspecs))
    return {
        node.name: f"{node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.returns is not None
    }


def names_of_tests() -> set[str]:
    files = [*(ROOT / "tests").rglob("test_*.py"), *ROOT.glob("plugins/*/tests/**/test_*.py")]
    found: set[str] = set()
    for path in files:
        found.update(re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8")))
    return found


def commands(group: click.Group, path: tuple[str, ...] = ("ascend",)) -> Iterator[tuple[str, ...]]:
    import click

    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        elif command is not None and not command.hidden:
            yield (*path, name)


@pytest.mark.parametrize("hook", hooks())
def test_a_hook_is_documented_with_its_exact_signature(hook: str) -> None:
    page = REFERENCE / "hooks.md"
    assert any(hook in heading for heading in headings_of(page))
    assert hooks()[hook] in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("hook", hooks())
def test_a_hook_has_a_test_that_is_named_after_it(hook: str) -> None:
    assert [name for name in names_of_tests() if name.startswith(f"test_hook_{hook}")] != []


@pytest.mark.parametrize("error", errors.__all__)
def test_an_error_is_documented(error: str) -> None:
    assert any(f"`{error}`" in heading for heading in headings_of(REFERENCE / "errors.md"))


@pytest.mark.parametrize(
    "setting", sorted({field.name for kind in (Profile, Needs) for field in fields(kind)} - STRUCTURE)
)
def test_a_setting_is_documented(setting: str) -> None:
    assert f"`{setting}`" in (REFERENCE / "configuration.md").read_text(encoding="utf-8")


def test_every_command_is_documented() -> None:
    from ascend.cli.group import root

    text = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    assert [" ".join(each) for each in commands(root) if " ".join(each) not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_a_relative_link_leads_somewhere(page: Path) -> None:
    inline = [child for token in tokens_of(page) for child in token.children or ()]
    targets = [str(child.attrs.get("href") or child.attrs.get("src")) for child in inline if child.attrs]
    broken = [target for target in targets if not re.match(r"[a-z]+:", target) and not leads_somewhere(page, target)]
    assert broken == []


def leads_somewhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = page.parent / path if path else page
    return file.exists() and (not anchor or anchor in {slug(heading) for heading in headings_of(file)})


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.timeout(2 * EXAMPLES_LIMIT)
@pytest.mark.parametrize("page", [page for page in SHOWN if blocks_of(page, "python") or commands_of(page)], ids=short)
def test_examples_run(page: Path, tmp_path: Path) -> None:
    folder = tmp_path / "examples"
    folder.mkdir()
    python = "\n\n".join(blocks_of(page, "python"))
    if python:
        (folder / "example.py").write_text(python, encoding="utf-8")
        succeed([sys.executable, "example.py"], folder)
    for command in commands_of(page):
        succeed([sys.executable, "-m", *command], folder)


def succeed(command: list[str], folder: Path) -> None:
    result = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "ASCEND_CLUSTER": "local", "PYTHONUTF8": "1"},
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=EXAMPLES_LIMIT,
    )
    assert result.returncode == 0, f"{shlex.join(command)}\n{result.stdout}"
