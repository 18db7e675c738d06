"""Rules of this project that no tool knows."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import ascend

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "ascend").rglob("*.py"))
PLUGINS = sorted(path for path in ROOT.glob("plugins/*/**/*.py") if "tests" not in path.parts)
TESTS = sorted([*(ROOT / "tests").rglob("*.py"), *ROOT.glob("plugins/*/tests/**/*.py")])
LONGEST_BODY = 50
LONGEST_MODULE = 300
HEAVY = {
    "click", "cloudpickle", "filelock", "kubernetes", "numpy", "obstore", "packaging", "pathspec", "platformdirs",
    "pluggy", "pydantic", "rich", "urllib3",
}  # fmt: skip


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def is_public(path: Path) -> bool:
    parts = module_name(path).split(".")
    if parts[1:2] == ["cli"] and len(parts) > 2:
        return False  # what these promise is the command line
    return not any(part.startswith("_") for part in parts)


def isort_style(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def effects_of(code: str, watch: str = "None") -> dict[str, list[str]]:
    """Run *code* in a fresh interpreter; return the modules that it loaded, and *watch* before and after."""
    program = f"""
import json, logging, os, signal, sys, threading, warnings
before = set(sys.modules)
first = {watch}
{code}
print(json.dumps({{"loaded": sorted(set(sys.modules) - before), "before": first, "after": {watch}}}))
"""
    command = [sys.executable, "-c", program]
    output = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, text=True)
    assert output.stderr == ""
    result: dict[str, list[str]] = json.loads(output.stdout)
    return result


def third_parties(loaded: list[str]) -> set[str]:
    return {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names) - {"ascend"}


@pytest.mark.parametrize("path", [path for path in SOURCES if is_public(path)], ids=short)
def test_a_public_module_names_all_that_it_promises(path: Path) -> None:
    module = importlib.import_module(module_name(path))
    names = list(module.__all__)
    assert names == sorted(names, key=isort_style)
    assert [name for name in names if not hasattr(module, name)] == []
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    defined = {node.name for node in parsed(path).body if isinstance(node, kinds) and not node.name.startswith("_")}
    assert defined - set(names) == set()


def test_the_root_gives_what_it_names() -> None:
    assert dir(ascend) == sorted(ascend.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = ascend.nonsense


@pytest.mark.parametrize("path", [*SOURCES, *PLUGINS], ids=short)
def test_a_module_says_what_it_is_responsible_for(path: Path) -> None:
    first = (ast.get_docstring(parsed(path)) or "").split("\n\n")[0]
    assert first.endswith((".", ":", "::")), "its docstring begins with no sentence"


@pytest.mark.parametrize("path", [*SOURCES, *PLUGINS], ids=short)
def test_modules_and_functions_are_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    # The tree of all errors stands on one page.
    assert lines <= LONGEST_MODULE or short(path) == "ascend/errors.py"
    bodies = {
        node.name: length
        for node in ast.walk(parsed(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (length := body_length(node)) > LONGEST_BODY
    }
    assert bodies == {}


def body_length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize(
    "code",
    [
        "import ascend",
        "from ascend import AscendExecutor, ascend",
        "from ascend import AscendError, as_completed, wait",
    ],
)
def test_importing_loads_nothing_heavy(code: str) -> None:
    assert third_parties(effects_of(code)["loaded"]) & HEAVY == set()


def test_importing_the_root_loads_only_the_root() -> None:
    loaded = effects_of("import ascend")["loaded"]
    assert [name for name in loaded if name.partition(".")[0] == "ascend"] == ["ascend"]


def test_importing_has_no_effects() -> None:
    watch = """[
        str(each) for each in (
            threading.enumerate(), logging.root.handlers, logging.root.level, warnings.filters, sys.path, sys.meta_path,
            sys.excepthook, threading.excepthook, sys.stdout, sys.stderr, dict(os.environ), os.getcwd(),
            [signal.getsignal(number) for number in signal.valid_signals()], sys.getrecursionlimit(),
        )
    ]"""
    effects = effects_of("import ascend; from ascend import AscendExecutor", watch)
    assert effects["after"] == effects["before"]


def test_the_runner_loads_nothing_but_the_standard_library() -> None:
    loaded = effects_of("import ascend.runner")["loaded"]
    assert third_parties(loaded) - {"cloudpickle"} == set()
    ours = {name for name in loaded if name.partition(".")[0] == "ascend"}
    assert ours - {"ascend", "ascend.errors"} == {
        "ascend._core",
        "ascend._core.guard",
        "ascend._core.pickling",
        "ascend._core.wire",
        "ascend.runner",
    }


@pytest.mark.parametrize("path", [path for path in TESTS if path.name != "conformance_run.py"], ids=short)
def test_no_test_uses_mocks(path: Path) -> None:
    names = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    assert {name for name in names if name.startswith(("unittest.mock", "mock", "pytest_mock"))} == set()


def test_what_is_fixed_at_the_top_is_there() -> None:
    names = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    folders = {"ascend", "benchmarks", "changelog.d", "docs", "examples", "plugins", "tests"}
    files = {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "SECURITY.md", "pyproject.toml"}
    assert folders | files <= names
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_pinned_versions_name_no_host() -> None:
    text = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "index" not in text


@pytest.mark.parametrize("path", sorted((ROOT / "changelog.d").glob("*")), ids=short)
def test_a_note_has_a_type_that_is_known(path: Path) -> None:
    types = {"added", "changed", "deprecated", "removed", "fixed", "security", "plugins"}
    assert path.name == "README.md" or path.name.split(".")[-2:] in [[each, "md"] for each in types]
