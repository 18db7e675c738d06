"""What ``[plugins.build]`` in the configuration may say of the Jobs that build images, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ascend.building.tables import known_table
from ascend.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ascend.model import Profile

__all__ = ["BuildOptions", "build_options"]

_QUANTITY = re.compile(r"\d+(\.\d+)?(m|[KMGTPE]i|[kMGTPE])?")


@dataclass(frozen=True)
class BuildOptions:
    """Settings of all builds in the cluster.

    *timeout* is how many seconds a build may run, *keep* for how many its Job and its log stay when it has ended.
    *cpu* is what its pod asks for, *memory* what it may use at most. *plain_registries* are those of base images that
    speak no TLS; that of the setting ``registry`` says so itself.
    """

    timeout: float = 3600.0
    keep: float = 900.0
    cpu: str = "500m"
    memory: str = "2Gi"
    plain_registries: tuple[str, ...] = ()


def build_options(profile: Profile) -> BuildOptions:
    """Return the options of *profile*; `ConfigError` for an unknown one, and for a value that does not fit."""
    table = known_table(profile, "build", (field.name for field in fields(BuildOptions)))
    return BuildOptions(
        timeout=_seconds(table, "timeout", BuildOptions.timeout),
        keep=_seconds(table, "keep", BuildOptions.keep),
        cpu=_quantity(table, "cpu", BuildOptions.cpu),
        memory=_quantity(table, "memory", BuildOptions.memory),
        plain_registries=_names(table, "plain_registries"),
    )


def _seconds(table: Mapping[str, Any], name: str, default: float) -> float:
    value = table.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 1:
        msg = f"{name} in [plugins.build] must be a number of seconds, 1 or more, not {value!r}"
        raise ConfigError(msg)
    return float(value)


def _names(table: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = table.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        msg = f"{name} in [plugins.build] must be a list such as ['registry.example:5000'], not {value!r}"
        raise ConfigError(msg)
    return tuple(value)


def _quantity(table: Mapping[str, Any], name: str, default: str) -> str:
    value = table.get(name, default)
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        msg = f"{name} in [plugins.build] must be a quantity such as {default!r}, not {value!r}"
        raise ConfigError(msg)
    return value
