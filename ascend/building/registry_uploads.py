"""Uploads of blobs to a registry: in one request or two, or in pieces where large requests are refused."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from time import sleep
from typing import IO, TYPE_CHECKING
from urllib.parse import urlencode, urljoin, urlsplit

from ascend.building.registry_session import Call
from ascend.errors import RegistryError, RegistryUnreachableError

if TYPE_CHECKING:
    from ascend.building.registry_session import Answer, Session

__all__ = ["Content", "upload"]

_BYTES = ("Content-Type", "application/octet-stream")
_TOO_LARGE = 413
# Up to here one request brings the content; above, it goes the way that registries know best, docker's.
_SMALL = 1 << 20
_PIECE = 8 << 20
_PAUSES = (1.0, 3.0)


class Content:
    """What is uploaded: bytes, or a file."""

    def __init__(self, source: bytes | Path) -> None:
        self._source = source
        with self.open() as file:
            self.digest: str = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"  # type: ignore[arg-type] # both kinds fit
            self.size: int = file.seek(0, io.SEEK_END)

    def open(self) -> IO[bytes]:
        """Return it as a file, from its beginning."""
        return self._source.open("rb") if isinstance(self._source, Path) else io.BytesIO(self._source)

    def piece(self, start: int, size: int) -> Content:
        """Return a part of it."""
        with self.open() as file:
            file.seek(start)
            return Content(file.read(size))


def upload(session: Session, repository: str, content: Content) -> None:
    """Bring *content* into *repository*; one that breaks off is begun again."""
    pauses = iter(_PAUSES)
    while True:
        try:
            return _upload(session, repository, content)
        except RegistryUnreachableError:
            pause = next(pauses, None)
            if pause is None:
                raise
            sleep(pause)


def _upload(session: Session, repository: str, content: Content) -> None:
    place, rest = _begin(session, repository), content
    if content.size > _SMALL:
        answer = session.send(_sending("PATCH", place, repository, content), expected=(_TOO_LARGE,))
        if answer.status == _TOO_LARGE:
            answer = _in_pieces(session, repository, content)
        place, rest = _location(answer), Content(b"")
    joint = "&" if urlsplit(place).query else "?"
    named = f"{place}{joint}{urlencode({'digest': content.digest})}"
    session.send(_sending("PUT", named, repository, rest))


def _in_pieces(session: Session, repository: str, content: Content) -> Answer:
    """Send *content* piece by piece; return the last answer."""
    place, start = _begin(session, repository), 0
    while True:
        piece = content.piece(start, _PIECE)
        end = start + piece.size
        call = _sending("PATCH", place, repository, piece)
        answer = session.send(call._replace(headers=(*call.headers, ("Content-Range", f"{start}-{end - 1}"))))
        if end >= content.size:
            return answer
        place, start = _location(answer), end


def _begin(session: Session, repository: str) -> str:
    scopes = ((repository, "pull,push"),)
    call = Call("POST", f"{repository}/blobs/uploads/", scopes, (("Content-Length", "0"),))
    return _location(session.send(call))


def _sending(method: str, place: str, repository: str, content: Content) -> Call:
    # One that broke off cannot go on: the whole upload is begun again.
    scopes = ((repository, "pull,push"),)
    return Call(method, place, scopes, (_BYTES,), content.open, content.size, again=False)


def _location(answer: Answer) -> str:
    place = answer.headers.get("location")
    if not place:
        msg = f"the registry does not say where an upload goes on: {answer.url}"
        raise RegistryError(msg)
    return urljoin(answer.url, place)
