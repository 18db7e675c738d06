"""Where what was made once is kept for the next time."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]

_CACHE_VARIABLE = "ASCEND_CACHE_DIR"


def cache_folder(name: str) -> Path:
    """Return the folder *name* in ``$ASCEND_CACHE_DIR``, or else in the user's cache; it need not exist."""
    from platformdirs import user_cache_path  # noqa: PLC0415 - only who installs something needs it

    given = os.environ.get(_CACHE_VARIABLE)
    return (Path(given).absolute() if given else user_cache_path("ascend", appauthor=False)) / name
