"""The archive in which source travels: the same bytes for the same files, wherever and whenever it is made."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from ascend.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["make_archive"]

_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3


def make_archive(members: Iterable[tuple[str, Path]]) -> bytes:
    """Return a zip with the files under the given names; `SourceError` names one that cannot be read."""
    import zipfile  # noqa: PLC0415 - only who submits needs it

    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, origin in sorted(members):
            if not name.isprintable():
                msg = f"{name!a} belongs to the source that must travel, and no archive can hold its name: rename it"
                raise SourceError(msg)
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = _UNIX
            info.external_attr = 0o100644 << 16
            archive.writestr(info, _read(origin), compresslevel=1)
    return target.getvalue()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        msg = f"{path} belongs to the source that must travel and cannot be read: {exc.strerror or exc}; \
make it readable, or name it in .gitignore"
        raise SourceError(msg) from exc
