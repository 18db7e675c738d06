"""The table of a builder's plugin in a profile as a dataclass, with errors that name what is wrong there."""

from __future__ import annotations

from dataclasses import fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, get_args, get_origin, get_type_hints

from ascend.errors import ConfigError

if TYPE_CHECKING:
    from dataclasses import Field

    from ascend.model import Profile

__all__ = ["plugin_settings"]


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Settings = TypeVar("Settings", bound=_Dataclass)


def plugin_settings(profile: Profile, plugin: str, kind: type[Settings]) -> Settings:
    """Return the settings of *plugin* in *profile* as the dataclass *kind*, whose defaults hold where nothing is said.

    Its fields are strings, truth values, or one of several words (`Literal`); strings may also be `None`.
    `ConfigError` names a key that *kind* does not have, and a value of another type.
    """
    table = profile.plugin_config.get(plugin, {})
    hints = get_type_hints(kind)
    known = [each.name for each in fields(kind)]
    for name, value in table.items():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
            raise ConfigError(f"[tool.ascend.plugins.{plugin}] has no setting {name!r}{hint}")
        _check(f"{name} in [tool.ascend.plugins.{plugin}]", value, hints[name])
    return kind(**table)


def _check(where: str, value: object, hint: object) -> None:
    if get_origin(hint) is Literal:
        words = get_args(hint)
        if value not in words:
            raise ConfigError(f"{where} is {value!r}, and must be {' or '.join(map(repr, words))}")
    elif hint is bool:
        if not isinstance(value, bool):
            raise ConfigError(f"{where} is {value!r}, and must be true or false")
    elif not isinstance(value, str) or not value:
        raise ConfigError(f"{where} is {value!r}, and must be a text")
