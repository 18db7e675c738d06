"""Reads out of Python source which modules it imports, without running it."""

from __future__ import annotations

import ast
import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["Imported", "imports_of", "read_imports"]

_GUARDS = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
_IMPORTERS = frozenset({"import_module", "__import__"})

_read: dict[str, tuple[int, int, str, tuple[Imported, ...]]] = {}


class Imported(NamedTuple):
    """A module that is imported. *optional*: the code goes on without it, or only type checkers see it.

    *attribute* is true of what may be a module or just a name in one, as ``b`` in ``from a import b``.
    """

    name: str
    optional: bool = False
    attribute: bool = False


def imports_of(path: Path, package: str) -> tuple[Imported, ...]:
    """Return what the file imports, anywhere in it; relative imports are resolved against *package*.

    What is no Python 3 imports nothing. Files are read again only if they changed.
    """
    status = path.stat()
    key = os.fspath(path)
    known = _read.get(key)
    if known is None or known[:3] != (status.st_mtime_ns, status.st_size, package):
        found = read_imports(path.read_bytes(), package)
        known = _read[key] = (status.st_mtime_ns, status.st_size, package, found)
    return known[3]


def read_imports(source: bytes, package: str) -> tuple[Imported, ...]:
    """Return what *source* imports, each once; nothing if it cannot be parsed."""
    import warnings  # noqa: PLC0415 - few files are read

    if b"import" not in source:
        return ()
    try:
        with warnings.catch_warnings():
            # The compiler says the same when the module is imported.
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Templates and code for other Pythons lie in packages too; nobody imports them.
        return ()
    found: dict[str, Imported] = {}
    for each in _walk(tree, package, calls=any(name in source for name in (b"import_module", b"__import__"))):
        known = found.get(each.name)
        if known is None or (known.optional and not each.optional):
            found[each.name] = each
    return tuple(found.values())


def _walk(tree: ast.AST, package: str, *, calls: bool) -> Iterator[Imported]:
    # Most nodes are expressions, and an expression imports only by a call.
    children = ast.iter_child_nodes if calls else _statements
    waiting: list[tuple[ast.AST, bool]] = [(tree, False)]
    while waiting:
        node, optional = waiting.pop()
        yield from (Imported(name, optional, attribute) for name, attribute in _names(node, package))
        guarded = _guarded(node)
        waiting += [(child, optional or child in guarded) for child in children(node)]


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    for field in ("body", "orelse", "handlers", "finalbody", "cases"):
        below = getattr(node, field, None)
        if isinstance(below, list):
            yield from below


def _guarded(node: ast.AST) -> Sequence[ast.AST]:
    if isinstance(node, ast.Try) and any(_catches_import_errors(handler) for handler in node.handlers):
        return [*node.body, *node.handlers]
    if isinstance(node, ast.If) and _last_name(node.test) == "TYPE_CHECKING":
        return node.body
    return []


def _catches_import_errors(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(_last_name(each) in _GUARDS for each in caught)


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _names(node: ast.AST, package: str) -> Iterator[tuple[str, bool]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, False
    elif isinstance(node, ast.ImportFrom):
        yield from _from(node, package)
    elif isinstance(node, ast.Call) and _last_name(node.func) in _IMPORTERS and node.args:
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            name = first.value.lstrip(".")
            base = _absolute(name, len(first.value) - len(name), package)
            if base:
                yield base, False


def _from(node: ast.ImportFrom, package: str) -> Iterator[tuple[str, bool]]:
    base = _absolute(node.module or "", node.level, package)
    if not base:
        return
    yield base, False
    for alias in node.names:
        if alias.name != "*":
            yield f"{base}.{alias.name}", True


def _absolute(name: str, level: int, package: str) -> str:
    if not level:
        return name
    parts = package.split(".")
    if not package or level > len(parts):
        return ""
    kept = parts[: len(parts) - level + 1]
    return ".".join([*kept, name]) if name else ".".join(kept)
