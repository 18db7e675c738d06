"""Modules that were made by hand, as ``exec`` into a `types.ModuleType` does: what they define must travel by value."""

from __future__ import annotations

import sys
import threading
from types import ModuleType

from ascend._core.source.local_modules import exists_only_here

__all__ = ["HandmadeModules"]


class HandmadeModules:
    """Tells cloudpickle of such modules as they appear."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._seen: set[int] = set()
        self._count = -1

    def register(self) -> None:
        """Look through the modules that were loaded since the last time; costs nothing if there are none."""
        if len(sys.modules) == self._count:
            return
        with self._guard:
            modules = sys.modules.copy()
            for name, module in modules.items():
                if id(module) not in self._seen and name != "__main__" and _is_handmade(module):
                    import cloudpickle  # noqa: PLC0415 - takes 40 ms, and only who submits needs it

                    # Never taken back: nowhere else can such a module be imported, for nobody.
                    cloudpickle.register_pickle_by_value(module)
            self._seen = set(map(id, modules.values()))
            self._count = len(modules)


def _is_handmade(module: object) -> bool:
    # What an importer made has a spec, and is importable where its importer is.
    return (
        isinstance(module, ModuleType)
        and getattr(module, "__spec__", None) is None
        and getattr(module, "__file__", None) is None
        and exists_only_here(module)
    )
