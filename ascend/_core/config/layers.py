"""Checks what one place says - arguments, variables, a file - and notes the origin of every value."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from ascend._core.config.checks import UnfitError, shown
from ascend._core.config.settings import SETTINGS, VARIABLE_PREFIX, nearest
from ascend.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ascend._core.config.files import ConfigFile
    from ascend._core.config.settings import Setting

PROFILE_VARIABLE = f"{VARIABLE_PREFIX}PROFILE"

_VARIABLES = {f"{VARIABLE_PREFIX}{name.upper()}": name for name, setting in SETTINGS.items() if setting.parse}
# What a file may say at its top, besides settings.
_CHOICE: Mapping[str, object] = {"profile": None, "profiles": None}


@dataclass(frozen=True, slots=True)
class Resolved:
    """A value and where it came from: ``argument``, a variable, ``path:line`` or ``default``."""

    value: Any
    origin: str


Layer: TypeAlias = "dict[str, Resolved]"
"""Settings by name; the table of a plugin is under ``plugins.NAME``."""


@dataclass(slots=True)
class FileLayers:
    """What a file says: at its *top*, in each of its *profiles*, and what is wrong with it."""

    file: ConfigFile
    top: Layer = field(default_factory=dict)
    profiles: dict[str, Layer] = field(default_factory=dict)
    chosen: Resolved | None = None
    problems: list[str] = field(default_factory=list)


def check_arguments(arguments: Mapping[str, object], settings: Mapping[str, Setting]) -> dict[str, Any]:
    """Return *arguments* in their own form, without those that are `None`.

    `TypeError` for an unknown one, `ValueError` for a *max_parallel* below 1 as the standard executors raise it,
    and `ConfigError` that tells everything else that is wrong.
    """
    checked: dict[str, Any] = {}
    problems = []
    for name, value in arguments.items():
        if name not in settings:
            msg = f"unexpected keyword argument {name!r}: {nearest(name, settings)}"
            raise TypeError(msg)
        if value is None:
            continue
        try:
            checked[name] = settings[name].check(value)
        except UnfitError as error:
            if name == "max_parallel" and isinstance(value, int):
                msg = f"{name} {error}"
                raise ValueError(msg) from None
            problems.append(f"the argument {name} {error}")
    if problems:
        raise ConfigError("\n".join(problems))
    return checked


def environment_layer(environ: Mapping[str, str], problems: list[str]) -> Layer:
    """Return what the variables of *environ* say; an empty one says nothing. What is wrong is added to *problems*."""
    layer: Layer = {}
    for variable, text in environ.items():
        name = _VARIABLES.get(variable)
        if name is None:
            _warn_of_misspelling(variable)
        elif text.strip():
            setting = SETTINGS[name]
            try:
                layer[name] = Resolved(setting.check(setting.parse(text) if setting.parse else text), variable)
            except UnfitError as error:
                problems.append(f"the environment variable {variable} {error}")
    return layer


def _warn_of_misspelling(variable: str) -> None:
    if not variable.startswith(VARIABLE_PREFIX) or variable == PROFILE_VARIABLE:
        return
    from difflib import get_close_matches  # noqa: PLC0415 - most environments have no such variable

    known = [each.removeprefix(VARIABLE_PREFIX) for each in (*_VARIABLES, PROFILE_VARIABLE)]
    near = get_close_matches(variable.removeprefix(VARIABLE_PREFIX), known, n=1, cutoff=0.85)
    if near:
        message = f"the environment variable {variable} is unknown: did you mean {VARIABLE_PREFIX}{near[0]}?"
        warnings.warn(message, UserWarning, stacklevel=6)


def file_layers(file: ConfigFile) -> FileLayers:
    """Return what *file* says, its unused profiles included: a mistake there would else wait for the day of use."""
    layers = FileLayers(file)
    top = dict(file.table)
    chosen, profiles = top.pop("profile", None), top.pop("profiles", {})
    layers.top = _table_layer(layers, (), top, {**SETTINGS, **_CHOICE})
    if chosen is not None:
        layers.chosen = Resolved(chosen, file.where("profile"))
        if not isinstance(chosen, str) or not chosen:
            layers.problems.append(
                f"{file.where('profile')}: profile must be the name of a profile, not {shown(chosen)}"
            )
    for name, table in _tables(layers, ("profiles",), profiles):
        layers.profiles[name] = _table_layer(layers, ("profiles", name), table, SETTINGS)
    return layers


def _tables(layers: FileLayers, keys: tuple[str, ...], value: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the tables in the table *value*, and note whatever else is there as a problem."""
    if not isinstance(value, dict):
        layers.problems.append(f"{layers.file.where(*keys)}: {'.'.join(keys)} must be a table, not {shown(value)}")
        return
    for name, table in value.items():
        if isinstance(table, dict):
            yield name, table
        else:
            path = (*keys, name)
            layers.problems.append(f"{layers.file.where(*path)}: {'.'.join(path)} must be a table, not {shown(table)}")


def _table_layer(
    layers: FileLayers, keys: tuple[str, ...], table: Mapping[str, Any], known: Mapping[str, object]
) -> Layer:
    layer: Layer = {}
    for name, value in table.items():
        where = layers.file.where(*keys, name)
        if name not in SETTINGS:
            layers.problems.append(f"{where}: unknown key {name!r}: {nearest(name, known)}")
        elif name == "plugins" and isinstance(value, dict):
            layer |= _plugins_layer(layers, (*keys, name), value)
        else:
            try:
                layer[name] = Resolved(SETTINGS[name].check(value), where)
            except UnfitError as error:
                layers.problems.append(f"{where}: {name} {error}")
    return layer


def _plugins_layer(layers: FileLayers, keys: tuple[str, ...], table: dict[str, Any]) -> Layer:
    # TOML allows no list and tables under one key, so beside tables the list is called "load".
    layer: Layer = {}
    rest = dict(table)
    if isinstance(load := rest.pop("load", {}), dict):
        rest |= {"load": load} if load else {}
    else:
        where = layers.file.where(*keys, "load")
        try:
            layer["plugins"] = Resolved(SETTINGS["plugins"].check(load), where)
        except UnfitError as error:
            layers.problems.append(f"{where}: plugins.load {error}")
    for name, options in _tables(layers, keys, rest):
        layer[f"plugins.{name}"] = Resolved(options, layers.file.where(*keys, name))
    return layer
