"""Holds what is installed where a task runs against what its function asks for."""

from __future__ import annotations

__all__ = ["unmet"]


def unmet(requirements: list[str]) -> list[str]:
    """Return a line for every requirement (PEP 508) that is not met here; extras are taken on trust."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - as below

    from packaging.requirements import Requirement  # noqa: PLC0415 - most tasks ask for nothing

    problems = []
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            problems.append(f"{text} is asked for, and {requirement.name} is not installed")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            problems.append(f"{text} is asked for, and {requirement.name} {installed} is installed")
    return problems
