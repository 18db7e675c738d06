"""Reports what would travel for one call, what would be missing where it runs, and proves that it can be read there."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ascend._core.config.files import project_folder
from ascend._core.preflight.proof import prove
from ascend._core.references import (
    Reference,
    allowed_distributions,
    code_imports,
    distributions_of,
    innermost,
    pickled_modules,
    reachable,
)
from ascend._core.wanted import imported, written
from ascend._core.wire import python_minor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ascend._core.references import Reached
    from ascend._core.source.tracker import ShippedFile, SkippedFile, Source
    from ascend.model import Needs

__all__ = ["CallReport", "ImportedDistribution", "ShippedModule", "explain_call"]


@dataclass(frozen=True, slots=True)
class ShippedModule:
    """A top-level module or package of the project that travels: how many files and bytes, and why."""

    name: str
    files: int
    size: int
    why: str


@dataclass(frozen=True, slots=True)
class ImportedDistribution:
    """An installed distribution that the call imports, and which file or function does it first.

    *missing*: neither named in ``requirements`` nor required by what is named there.
    """

    name: str
    version: str
    imported_by: str
    missing: bool


@dataclass(frozen=True, slots=True)
class CallReport:
    """What would travel for one call. Sizes are bytes.

    *travels* says whether the function goes by reference or by value. *proved* is true if the call was unpickled
    in a clean process with what travels and what `requirements` give; *failure* is why not. *problems* would make
    the call fail, each with its remedy; *notes* would not, or cannot be judged from here.
    """

    function: str
    travels: str
    python: str
    call_size: int
    buffers_size: int
    modules: tuple[ShippedModule, ...]
    skipped: tuple[SkippedFile, ...]
    requirements: tuple[str, ...]
    distributions: tuple[ImportedDistribution, ...]
    missing: tuple[str, ...]
    proved: bool
    failure: str
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as what JSON can hold."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    def __str__(self) -> str:
        """Return the report as lines of text, the problems last."""
        lines = [
            f"{self.function} travels {self.travels}, for Python {self.python}",
            f"call: {self.call_size:,} bytes, and {self.buffers_size:,} bytes of buffers",
            *_listed("source", [f"{m.name}: {m.files} files, {m.size:,} bytes ({m.why})" for m in self.modules]),
            *_listed(
                "stays here",
                [f"{file.path}: {file.why}" for file in self.skipped if not file.path.endswith("__pycache__/")],
            ),
            *_listed("imports", [_line(each) for each in self.distributions]),
            *_listed("notes", self.notes),
            "proved: it was unpickled in a clean process" if self.proved else f"not proved: {self.failure}",
            *_listed("problems", self.problems),
        ]
        return "\n".join(lines)


def explain_call(
    fn: Callable[..., object],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    needs: Needs,
    source: Source,
    dumps: Callable[..., tuple[bytes, Sequence[bytes | memoryview]]],
) -> CallReport:
    """Return the report for ``fn(*args, **kwargs)``; the function is not called.

    *dumps* pickles the call; what it raises for a call that cannot be pickled is passed on.
    """
    payload, buffers = dumps(fn, args, kwargs)
    requirements = written(
        needs.requirements or (), project_folder(None), lambda: imported(fn, payload, source)
    ).requirements
    modules = pickled_modules(payload)
    by_reference = _is_by_reference(fn, modules)
    starts = [Reference(module, _name_of(fn)) for module in sorted(modules)]
    if not by_reference:
        starts += code_imports(innermost(fn))
    reached = reachable(starts, source)
    found, unknown = _distributions(reached, requirements)
    failure = prove([payload, *buffers], source, absent=_absent(requirements))
    return CallReport(
        function=_name_of(fn),
        travels=f"by reference to the module {fn.__module__}" if by_reference else "by value",
        python=python_minor(),
        call_size=len(payload),
        buffers_size=sum(len(each) for each in buffers),
        modules=_modules(source.files),
        skipped=source.skipped,
        requirements=requirements,
        distributions=found,
        missing=tuple(each.name for each in found if each.missing),
        proved=not failure,
        failure=failure,
        problems=_problems(found, reached, failure, requirements=requirements, has_image=needs.base_image is not None),
        notes=_notes(found, unknown, requirements=requirements, has_image=needs.base_image is not None),
    )


def _is_by_reference(fn: object, modules: set[str]) -> bool:
    home = getattr(fn, "__module__", None)
    if home not in modules or home == "__main__":
        return False
    value: object = sys.modules.get(home)
    for part in str(getattr(fn, "__qualname__", "")).split("."):
        value = getattr(value, part, None)
    return value is fn


def _name_of(fn: object) -> str:
    fn = getattr(fn, "func", fn)
    home = getattr(fn, "__module__", None)
    name = getattr(fn, "__qualname__", None) or type(fn).__qualname__
    return f"{home}.{name}" if home else str(name)


def _modules(files: tuple[ShippedFile, ...]) -> tuple[ShippedModule, ...]:
    def top(file: ShippedFile) -> str:
        first, slash, _ = file.path.partition("/")
        return first if slash else PurePath(first).name.partition(".")[0]

    grouped = {name: list(group) for name, group in groupby(sorted(files, key=top), key=top)}
    return tuple(
        ShippedModule(name, len(group), sum(file.size for file in group), group[0].why)
        for name, group in grouped.items()
    )


def _distributions(
    reached: Reached, requirements: tuple[str, ...]
) -> tuple[tuple[ImportedDistribution, ...], tuple[Reference, ...]]:
    """Return the distributions that are imported, and the references to modules that nothing here brings."""
    from packaging.utils import canonicalize_name  # noqa: PLC0415 - only an explanation needs it

    allowed = allowed_distributions(requirements)
    found: dict[str, ImportedDistribution] = {}
    unknown = []
    for reference in sorted(reached.outside, key=lambda each: each.optional):
        brought = distributions_of(reference.module)
        if brought is None and not reference.optional:
            unknown.append(reference)
        for each in brought or ():
            missing = not reference.optional and str(canonicalize_name(each.name)) not in allowed
            found.setdefault(each.name, ImportedDistribution(each.name, each.version, reference.by, missing))
    return tuple(found[name] for name in sorted(found)), tuple(unknown)


def _absent(requirements: tuple[str, ...]) -> set[str]:
    """Return the top-level modules that are installed here and that *requirements* do not bring."""
    if not requirements:
        return set()
    from packaging.utils import canonicalize_name  # noqa: PLC0415 - only an explanation needs it

    from ascend._core.source.local_modules import distributions_by_module  # noqa: PLC0415 - the same

    allowed = allowed_distributions(requirements) | {"ascend", "cloudpickle"}
    by_module = distributions_by_module()
    return {top for top, all_ in by_module.items() if not any(str(canonicalize_name(d.name)) in allowed for d in all_)}


def _problems(
    found: tuple[ImportedDistribution, ...],
    reached: Reached,
    failure: str,
    *,
    requirements: tuple[str, ...],
    has_image: bool,
) -> tuple[str, ...]:
    problems = [
        f"{reference.module}, which {reference.by} imports, stays here: {file.path} is {file.why}"
        for reference, file in reached.withheld
        if not reference.optional
    ]
    if requirements and not has_image:
        problems += [_missing(each) for each in found if each.missing]
    if failure:
        problems.append(f"the call cannot be read in a clean process: {failure}")
    return tuple(problems)


def _missing(each: ImportedDistribution) -> str:
    return (
        f"{each.name} is imported by {each.imported_by} and not in requirements: "
        f"add {f'{each.name}=={each.version}'!r} to them"
    )


def _notes(
    found: tuple[ImportedDistribution, ...],
    unknown: tuple[Reference, ...],
    *,
    requirements: tuple[str, ...],
    has_image: bool,
) -> tuple[str, ...]:
    notes = [
        f"{each.module} is imported by {each.by} and not installed here; requirements or the image must bring it"
        for each in unknown
    ]
    missing = ", ".join(each.name for each in found if each.missing)
    if missing and has_image:
        notes.append(f"base_image must bring {missing}")
    elif missing and not requirements:
        notes.append(f"requirements is empty, so {missing} must be installed where the call runs")
    return tuple(notes)


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    return [f"{title}:", *(f"  {line}" for line in lines)] if lines else []


def _line(each: ImportedDistribution) -> str:
    missing = ", not in requirements" if each.missing else ""
    return f"{each.name} {each.version} (by {each.imported_by}{missing})"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, PurePath) else value
