"""The archive in which source travels: the same bytes for the same files, wherever and whenever it is made.

A compressed dict from names to contents, in the interpreter's own format. Whatever `zipfile` or `tarfile` need would be
compiled anew by every task, as stock images come without bytecode: a fifth of a second for each.
"""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING
from zlib import compress

from ascend.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["make_archive"]

# The last version without references, by which equal content may be written in more than one way.
_MARSHAL = 2


def make_archive(members: Iterable[tuple[str, Path]]) -> bytes:
    """Return an archive of the files under the given names; `SourceError` names one that cannot be read."""
    content = {}
    for name, origin in sorted(members):
        if not name.isprintable():
            msg = f"{name!a} belongs to the source that must travel, and no archive can hold its name: rename it"
            raise SourceError(msg)
        content[name] = _read(origin)
    return compress(marshal.dumps(content, _MARSHAL), 1)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        msg = f"{path} belongs to the source that must travel and cannot be read: {exc.strerror or exc}; \
make it readable, or name it in .gitignore"
        raise SourceError(msg) from exc
