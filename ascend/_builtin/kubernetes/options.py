"""What ``[plugins.kubernetes]`` in the configuration may say, checked."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from ascend.building.tables import known_table
from ascend.errors import ConfigError

if TYPE_CHECKING:
    from ascend.model import Profile

__all__ = ["Options", "options_of"]


@dataclass(frozen=True)
class Options:
    """Settings of this cluster alone.

    *kubeconfig* is a path or several, as in ``$KUBECONFIG``; `None` is what `kubectl` would take.
    *unreachable_timeout* is for how many seconds nothing may be heard of the API server before all tasks of a run
    are given up.
    """

    kubeconfig: str | None = None
    unreachable_timeout: float = 600.0


def options_of(profile: Profile) -> Options:
    """Return the options of *profile*; `ConfigError` for an unknown one, and for a value that does not fit."""
    table = known_table(profile, "kubernetes", (field.name for field in fields(Options)))
    path, timeout = table.get("kubeconfig"), table.get("unreachable_timeout", Options.unreachable_timeout)
    if path is not None and not isinstance(path, str):
        msg = f"kubeconfig in [plugins.kubernetes] must be a path, not {path!r}"
        raise ConfigError(msg)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0:
        msg = f"unreachable_timeout in [plugins.kubernetes] must be a number of seconds above 0, not {timeout!r}"
        raise ConfigError(msg)
    return Options(path, float(timeout))
