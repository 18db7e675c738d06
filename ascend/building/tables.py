"""The table that a profile has for a plugin, without keys that mean nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ascend.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ascend.model import Profile

__all__ = ["known_table"]


def known_table(profile: Profile, plugin: str, known: Iterable[str]) -> Mapping[str, Any]:
    """Return ``[plugins.PLUGIN]`` of *profile*; `ConfigError` for a key that is not among the *known*."""
    table = profile.plugin_config.get(plugin, {})
    names = sorted(known)
    for name in table:
        if name not in names:
            msg = f"[plugins.{plugin}] has no setting {name!r}: there are {', '.join(names)}"
            raise ConfigError(msg)
    return table
