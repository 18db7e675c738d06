"""What the requirements of a task come to before anybody resolves them: files are read, ``auto`` is found out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ascend._core.references import Reference, code_imports, distributions_of, innermost, pickled_modules, reachable
from ascend._core.requirement_files import AUTO, Written, is_file, read_requirements
from ascend.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ascend._core.source.tracker import Source

__all__ = ["imported", "written"]

# What starts in every pod brings them.
_TRAVEL = ("ascend", "cloudpickle")


def written(requirements: tuple[str, ...], folder: Path | None, auto: Callable[[], tuple[str, ...]]) -> Written:
    """Return *requirements* with the content of files that they name, seen from *folder* or the working directory.

    *auto* is called for what ``auto`` stands for. `ConfigError` for a lock that is not alone: it says everything.
    """
    found: list[str] = []
    for text in requirements:
        if text == AUTO:
            found += auto()
        elif is_file(text):
            read = read_requirements(text, folder or Path.cwd())
            if read.lock and len(requirements) > 1:
                others = ", ".join(each for each in requirements if each != text)
                msg = f"{text} is a lock, which holds everything: lock {others} together with it, or leave that out"
                raise ConfigError(msg)
            if read.lock:
                return read
            found += read.requirements
        else:
            found.append(text)
    return Written(tuple(dict.fromkeys(found)))


def imported(function: object, payload: bytes, source: Source) -> tuple[str, ...]:
    """Return the installed distributions that a call imports, at their versions here, as requirements.

    *payload* is the pickled call, *source* what travels with it. What the code goes on without is left out.
    """
    name = getattr(function, "__qualname__", type(function).__qualname__)
    starts = [Reference(module, name) for module in sorted(pickled_modules(payload))]
    starts += code_imports(innermost(function))
    found: dict[str, str] = {}
    for reference in reachable(starts, source).outside:
        brought = None if reference.optional else distributions_of(reference.module)
        if brought is None and not reference.optional:
            msg = (
                f"requirements='auto': {reference.module}, which {reference.by} imports, is not installed here: "
                "install it, or name the requirements"
            )
            raise ConfigError(msg)
        found |= {each.name: each.version for each in brought or () if each.name not in _TRAVEL}
    return tuple(f"{name}=={version}" for name, version in sorted(found.items()))
