"""How client and pod reach Nimbus, whose buckets are folders below ``NIMBUS_ROOT``; standard library only."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote


def read(url: str) -> bytearray:
    """Return what lies at *url*; `OSError` if that fails."""
    return bytearray(path_of(url).read_bytes())


def write(url: str, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
    """Store the buffers at *url*, all or nothing; `OSError` if that fails."""
    path = path_of(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.urandom(8).hex()}")
    with partial.open("wb") as file:
        file.writelines(buffers)
    partial.replace(path)


def path_of(url: str) -> Path:
    """Return the file that *url* stands for."""
    return Path(os.environ["NIMBUS_ROOT"]) / unquote(url.removeprefix("nimbus://"))
