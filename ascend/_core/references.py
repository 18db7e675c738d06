"""Finds which modules a call needs where it runs, and which installed distributions bring them."""

from __future__ import annotations

import dis
import pickletools
import sys
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, NamedTuple

from ascend._core.culprit import global_names
from ascend._core.source.imports import imports_of
from ascend._core.source.local_modules import distributions_by_module, is_excluded, is_local_file, search_locations

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.metadata import Distribution

    from ascend._core.source.finder import ShippedFile, SkippedFile
    from ascend._core.source.tracker import Source

__all__ = [
    "Reached",
    "Reference",
    "allowed_distributions",
    "code_imports",
    "distributions_of",
    "innermost",
    "pickled_modules",
    "reachable",
]

_SUBIMPORT = ("cloudpickle.cloudpickle", "subimport")
_MEMO_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_MEMO_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})


class Reference(NamedTuple):
    """A module that is needed, who needs it, and whether that goes on without it."""

    module: str
    by: str
    optional: bool = False


def pickled_modules(payload: bytes) -> set[str]:
    """Return the modules that unpickling *payload* imports."""
    found = set()
    names = _Strings()
    subimport = False
    for opcode, argument, _ in pickletools.genops(payload):
        module = names.feed(opcode.name, argument)
        if module is not None:
            found.add(module[0])
            subimport = module == _SUBIMPORT
        elif subimport and names.top:
            # Modules as values are pickled as a call that imports them.
            found.add(names.top)
            subimport = False
    return found


class _Strings:
    """The strings that a pickle pushes, as far as it takes to know the operands of STACK_GLOBAL."""

    def __init__(self) -> None:
        self._recent: list[str] = ["", ""]
        self._memo: dict[int, str] = {}
        self._count = 0
        self.top = ""

    def feed(self, opcode: str, argument: object) -> tuple[str, str] | None:
        """Take the next opcode; return module and name if it loads a global."""
        if opcode == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            self.top = ""
            return module, name
        if opcode == "STACK_GLOBAL":
            self.top = ""
            return self._recent[-2], self._recent[-1]
        if opcode == "MEMOIZE":
            self._memo[self._count] = self.top
            self._count += 1
        elif opcode in _MEMO_PUTS:
            self._memo[int(str(argument))] = self.top
            self._count += 1
        else:
            self._push(self._memo.get(int(str(argument)), "") if opcode in _MEMO_GETS else argument)
        return None

    def _push(self, argument: object) -> None:
        self.top = argument if isinstance(argument, str) else ""
        if self.top:
            self._recent = [self._recent[-1], self.top]


def code_imports(fn: object) -> Iterator[Reference]:
    """Yield what *fn*, pickled by value, imports when it runs, and the functions of its module that it uses."""
    waiting, seen = [fn], {id(fn)}
    while waiting:
        each = waiting.pop()
        if not isinstance(each, FunctionType):
            continue
        for name in _imported_by(each.__code__):
            yield Reference(name, each.__qualname__)
        for name in global_names(each.__code__):
            value = each.__globals__.get(name)
            if isinstance(value, FunctionType) and value.__module__ == each.__module__ and id(value) not in seen:
                seen.add(id(value))
                waiting.append(value)


def _imported_by(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME" and step.argval:
            yield str(step.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _imported_by(constant)


def innermost(fn: object) -> object:
    """Return the function behind methods, partials and wrappers."""
    seen = set()
    while id(fn) not in seen:
        seen.add(id(fn))
        for name in ("__func__", "func", "__wrapped__"):
            fn = vars(fn).get(name, fn) if name == "__wrapped__" and hasattr(fn, "__dict__") else getattr(fn, name, fn)
    return fn


class Reached(NamedTuple):
    """Where references lead: modules from outside what travels, and modules that are kept back from it."""

    outside: tuple[Reference, ...]
    withheld: tuple[tuple[Reference, SkippedFile], ...]


def reachable(starts: Iterable[Reference], source: Source) -> Reached:
    """Follow *starts* through the source that travels."""
    shipped = {file.path: file for file in source.files}
    kept_back = {file.path: file for file in source.skipped}
    waiting, seen = list(starts), set[str]()
    outside: dict[str, Reference] = {}
    withheld: dict[str, tuple[Reference, SkippedFile]] = {}
    while waiting:
        reference = waiting.pop()
        paths = list(_paths(reference.module))
        withheld |= {path: (reference, kept_back[path]) for path in paths if path in kept_back}
        inside = [path for path in paths if path in shipped]
        if not inside:
            _note(reference, outside)
        for path in inside:
            if path not in seen and path.endswith(".py"):
                seen.add(path)
                waiting += _references_of(shipped[path], reference)
    return Reached(tuple(sorted(outside.values())), tuple(withheld[path] for path in sorted(withheld)))


def _references_of(file: ShippedFile, wanted: Reference) -> list[Reference]:
    package = file.path.rpartition("/")[0].replace("/", ".")
    found = imports_of(file.origin, package)
    return [Reference(each.name, file.path, each.optional or wanted.optional) for each in found]


def _note(reference: Reference, found: dict[str, Reference]) -> None:
    name = reference.module
    top = name.partition(".")[0]
    if not top or is_excluded(top) or top in sys.stdlib_module_names:
        return
    known = found.get(name)
    if known is None or (known.optional and not reference.optional):
        found[name] = reference


def _paths(module: str) -> Iterator[str]:
    """Yield the names in the archive of a module and of the packages that it lies in."""
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        inside = "/".join(parts[:length])
        yield f"{inside}/__init__.py"
    yield f"{'/'.join(parts)}.py"


def distributions_of(module: str) -> list[Distribution] | None:
    """Return the installed distributions that bring *module*; `None` if nothing that is installed or local does."""
    top = module.partition(".")[0]
    place = search_locations(top)
    found = distributions_by_module().get(top, [])
    if place is None:
        return None
    if place[0] is not None and is_local_file(place[0]):
        return []
    return found if len(found) < 2 or place[0] is not None else _sharers(module, found)  # noqa: PLR2004 - several


def _sharers(module: str, candidates: list[Distribution]) -> list[Distribution]:
    """Return which distributions, of those that share a namespace package, bring *module*."""
    parts = module.split(".")
    while len(parts) > 1:
        path = "/".join(parts)
        starts = (f"{path}/", f"{path}.")
        found = [each for each in candidates if any(file.as_posix().startswith(starts) for file in each.files or ())]
        if found and len(found) < len(candidates):
            return found
        parts.pop()
    return []


def allowed_distributions(requirements: Iterable[str]) -> set[str]:
    """Return the canonical names of *requirements* and, as far as they are installed, of all that those require."""
    from packaging.requirements import Requirement  # noqa: PLC0415 - only an explanation needs it
    from packaging.utils import canonicalize_name  # noqa: PLC0415 - the same

    installed = {canonicalize_name(d.name): d for all_ in distributions_by_module().values() for d in all_}
    waiting = [(each, "") for each in map(Requirement, requirements)]
    allowed: set[str] = set()
    done: set[tuple[str, str]] = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        allowed.add(name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in done and name in installed:
                done.add((name, wanted))
                waiting += [(Requirement(text), wanted) for text in installed[name].requires or ()]
    return {str(name) for name in allowed}
