"""How the runner reads and writes URLs: files, signed HTTP, and what installed plugins bring; and unpacks source."""

from __future__ import annotations

import os
import time

from ascend._core import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    T = TypeVar("T")

_PAUSES = (0.5, 1.0, 2.0, 4.0)
_COME_AGAIN = {408, 429, 500, 502, 503, 504}


class _FileTransport:
    """Reads and writes ``file://`` URLs."""

    @staticmethod
    def read(url: str) -> bytearray:
        with open(_path_of(url), "rb", buffering=0) as file:
            data = bytearray(os.fstat(file.fileno()).st_size)
            view = memoryview(data)
            while view and (count := file.readinto(view)):
                view = view[count:]
        if view:
            msg = f"the file became shorter while it was read: {url}"
            raise OSError(msg)
        return data

    @staticmethod
    def write(url: str, buffers: Sequence[bytes | memoryview]) -> None:
        path = _path_of(url)
        partial = f"{path}.{os.getpid()}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            with open(partial, "wb", buffering=0) as file:
                for buffer in buffers:
                    view = memoryview(buffer)
                    while view:
                        view = view[file.write(view) :]
            os.replace(partial, path)
        except BaseException:
            # On a full disk what was written would be in the way of all that comes.
            if os.path.exists(partial):
                os.unlink(partial)
            raise


class _HttpTransport:
    """Reads and writes signed ``http://`` and ``https://`` URLs."""

    @staticmethod
    def read(url: str) -> bytearray:
        from http.client import HTTPException  # noqa: PLC0415
        from urllib.request import urlopen  # noqa: PLC0415

        def read() -> bytearray:
            try:
                with urlopen(url, timeout=60) as response:
                    if "Content-Length" not in response.headers:
                        return bytearray(response.read())
                    data = bytearray(int(response.headers["Content-Length"]))
                    view = memoryview(data)
                    while view and (count := response.readinto(view)):
                        view = view[count:]
            except HTTPException as exc:
                raise OSError(repr(exc)) from exc
            if view:
                msg = f"the connection broke off {len(view):,} bytes before the end"
                raise OSError(msg)
            return data

        return _patiently(read)

    @staticmethod
    def write(url: str, buffers: Sequence[Any]) -> None:
        from http.client import HTTPException  # noqa: PLC0415
        from urllib.request import Request, urlopen  # noqa: PLC0415

        length = str(sum(len(buffer) for buffer in buffers))
        headers = {
            "Content-Length": length,
            "Content-Type": "application/octet-stream",
            # Azure refuses a PUT without it; the others ignore it.
            "x-ms-blob-type": "BlockBlob",
        }

        def write() -> None:
            request = Request(url, data=iter(buffers), method="PUT", headers=headers)
            try:
                with urlopen(request, timeout=600):
                    pass
            except HTTPException as exc:
                raise OSError(repr(exc)) from exc

        _patiently(write)


def _patiently(request: Callable[[], T]) -> T:
    """Make a request again while a storage is busy or away: hours of work may hang on its answer."""
    for pause in _PAUSES:
        try:
            return request()
        except OSError as exc:
            # Only an answer has a code.
            if getattr(exc, "code", 503) not in _COME_AGAIN:
                raise
            time.sleep(pause)
    return request()


def _path_of(url: str) -> str:
    from urllib.parse import unquote  # noqa: PLC0415

    path = unquote(url.removeprefix("file://"))
    # file:///C:/folder is how Windows writes it.
    return path[1:] if os.name == "nt" else path


def transport_of(url: str) -> Any:
    scheme = url.split(":", 1)[0]
    if scheme == "file":
        return _FileTransport
    if scheme in {"http", "https"}:
        return _HttpTransport
    return entry_point("ascend.transports", scheme)


def unpack_source(transport: Any, url: str, folder: str, digest: str) -> str:
    """Return the folder below *folder* in which the source archive is unpacked; `FormatError` if it is another one."""
    target = os.path.join(folder, digest)
    if os.path.isdir(target):
        return target
    data = transport.read(url)
    if wire.sha256_of(data) != digest:
        msg = "the source archive is not the one that was announced: its digest differs"
        raise wire.FormatError(msg)
    partial = f"{target}.{os.getpid()}"
    lay_out(data, partial)
    try:
        os.rename(partial, target)
    except OSError:
        # Another task of the run was faster; its copy is the same.
        if not os.path.isdir(target):
            raise
        import shutil  # noqa: PLC0415

        shutil.rmtree(partial)
    return target


def lay_out(archive: bytes | bytearray, folder: str) -> None:
    """Write the files of a source archive whose digest was checked into the new *folder*."""
    from marshal import loads  # noqa: PLC0415 - built in
    from zlib import decompress  # noqa: PLC0415 - as in `wire`

    made = set()
    for name, content in loads(decompress(archive)).items():  # noqa: S302 - it is from who sends pickles, too
        path = os.path.join(folder, *name.split("/"))
        parent = os.path.dirname(path)
        if parent not in made:
            os.makedirs(parent, exist_ok=True)
            made.add(parent)
        with open(path, "wb") as file:
            file.write(content)


def entry_point(group: str, name: str) -> Any:
    from importlib.metadata import entry_points  # noqa: PLC0415

    for entry_point in entry_points(group=group, name=name):
        return entry_point.load()
    msg = (
        f"nothing installed here serves {name!r} in the entry point group {group!r}: "
        "add the plugin that does to the task's requirements or to its image"
    )
    raise LookupError(msg)
