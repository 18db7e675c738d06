"""Makes a profile: arguments over environment variables over configuration files over defaults."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ascend._core.config.checks import label_of
from ascend._core.config.files import config_files, project_folder
from ascend._core.config.layers import (
    PROFILE_VARIABLE,
    FileLayers,
    Layer,
    Resolved,
    check_arguments,
    environment_layer,
    file_layers,
)
from ascend._core.config.settings import NEEDS, PLACES, SETTINGS, Setting, nearest
from ascend.errors import ConfigError
from ascend.model import JOINED, Needs, Profile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_PLUGIN = "plugins."
_OF_NEEDS: Mapping[str, Setting] = {**NEEDS, "project": PLACES["project"]}


@dataclass(frozen=True, slots=True)
class Resolution:
    """A profile, and each of its values with its origin.

    The keys of *values* are ``profile``, the names of settings, and ``plugins.NAME`` for the table of a plugin.
    """

    profile: Profile
    values: Mapping[str, Resolved]


def load_profile(
    name: str | None = None,
    *,
    arguments: Mapping[str, object] | None = None,
    start: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Profile:
    """Return the profile called *name*, as `resolve` finds it."""
    return resolve(name, arguments=arguments, start=start, environ=environ).profile


def resolve(
    name: str | None = None,
    *,
    arguments: Mapping[str, object] | None = None,
    start: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Resolution:
    """Return the profile called *name*, or else the one that the environment or a file names, with all origins.

    An argument that is `None` says nothing. *start* is where the search for the project's file begins; `None` is the
    working directory. `ConfigError` tells everything that is wrong, a line each; `TypeError` an unknown argument.
    """
    said = check_arguments(arguments or {}, SETTINGS)
    files = [file_layers(file) for file in config_files(start)]
    problems = [problem for file in files for problem in file.problems]
    variables = environment_layer(environ, problems)
    if problems:
        raise ConfigError("\n".join(problems))
    chosen = _choose(name, files, environ)
    layers = [{key: Resolved(value, "argument") for key, value in said.items()}, variables]
    for file in files:
        layers += [file.profiles.get(chosen.value, {}), file.top]
    values = _merge(layers)
    _add_defaults(values, start)
    tables = sorted(key for key in values if key.startswith(_PLUGIN))
    ordered = {key: values[key] for key in (*SETTINGS, *tables)}
    return Resolution(_profile(values, chosen.value), {"profile": chosen, **ordered})


def check_needs(options: Mapping[str, object]) -> Needs:
    """Return *options* as needs; `TypeError` for an unknown one, `ConfigError` for a value that does not fit."""
    return Needs(**check_arguments(options, _OF_NEEDS))


def _choose(name: str | None, files: Sequence[FileLayers], environ: Mapping[str, str]) -> Resolved:
    default = Resolved(Profile.__dataclass_fields__["name"].default, "default")
    said = [
        Resolved(name, "argument") if name else None,
        Resolved(environ.get(PROFILE_VARIABLE), PROFILE_VARIABLE) if environ.get(PROFILE_VARIABLE) else None,
        *(file.chosen for file in files),
    ]
    chosen = next((each for each in said if each is not None), default)
    known = {profile: None for file in files for profile in file.profiles}
    if chosen.value not in {*known, default.value}:
        places = " or ".join(str(file.file.path) for file in files) or "any file, since there is none"
        hint = nearest(chosen.value, known) if known else "a profile is a table [profiles.NAME] there"
        msg = f"the profile {chosen.value!r} (from {chosen.origin}) is not in {places}: {hint}"
        raise ConfigError(msg)
    return chosen


def _merge(layers: Sequence[Layer]) -> dict[str, Resolved]:
    """Return for every name the value of the first layer that has it; tables are joined key by key."""
    merged: dict[str, Resolved] = {}
    for layer in layers:
        for key, found in layer.items():
            if key not in merged:
                merged[key] = found
            elif key in JOINED or key.startswith(_PLUGIN):
                origins = dict.fromkeys((*merged[key].origin.split(", "), found.origin))
                merged[key] = Resolved({**found.value, **merged[key].value}, ", ".join(origins))
    return merged


def _add_defaults(values: dict[str, Resolved], start: Path | None) -> None:
    if "user" not in values:
        values["user"] = Resolved(_default_user(), "default")
    if "project" not in values:
        values["project"] = Resolved(_default_project(start), "default")
    profile = Profile()
    for key in SETTINGS:
        values.setdefault(key, Resolved(getattr(profile.needs if key in NEEDS else profile, key), "default"))


def _default_user() -> str:
    from getpass import getuser  # noqa: PLC0415 - most profiles name no user, some processes make no profile

    try:
        name = getuser()
    except (OSError, KeyError, ImportError):  # a uid that no one has named, as in many containers
        name = f"uid-{os.getuid()}" if hasattr(os, "getuid") else ""
    return label_of(name) or "unknown"


def _default_project(start: Path | None) -> str:
    folder = project_folder(start)
    return (label_of(folder.name) if folder else "") or "default"


def _profile(values: Mapping[str, Resolved], name: str) -> Profile:
    plain: dict[str, Any] = {key: each.value for key, each in values.items()}
    return Profile(
        **{key: plain[key] for key in PLACES},
        needs=Needs(**{key: plain[key] for key in NEEDS}),
        plugin_config={key.removeprefix(_PLUGIN): table for key, table in plain.items() if key.startswith(_PLUGIN)},
        name=name,
    )
