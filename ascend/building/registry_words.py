"""What a builder's own client says of a registry, as the error that ascend's client would have raised."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING

from ascend.building.registry_answers import Asked, refusal, unreachable

if TYPE_CHECKING:
    from ascend.errors import RegistryError

__all__ = ["refusal_in"]

_REQUEST = re.compile(
    r"\b(?P<method>GET|HEAD|POST|PUT|PATCH)\b(?: request to)? \"?https?://(?P<registry>[^/\s\"]+)/v2/"
    r"(?P<repository>\S+?)/(?:blobs|manifests)/\S*?\"?: (?P<words>.*)",
    re.IGNORECASE,
)
_UNREACHABLE = re.compile(
    r"https?://(?P<registry>[^/\s\"]+)/v2/\S*?\"?: "
    r"(?P<words>(?:dial tcp|tls:|x509:|net/http:|EOF|http: server gave HTTP).*)"
)
_PUSH = re.compile(r"failed to push (?P<registry>[^/\s]+)/(?P<repository>[^:@\s]+)\S*: (?P<words>.*)")
_PULL = re.compile(r"metadata for (?P<registry>[^/\s]+)/(?P<repository>\S+): (?P<words>.*)")
_STATUS = re.compile(r"\b(?P<status>[45]\d\d)\b")
_CODES = {
    "UNAUTHORIZED": 401,
    "authorization failed": 401,
    "DENIED": 403,
    "access denied": 403,
    "MANIFEST_UNKNOWN": 404,
    "NAME_UNKNOWN": 404,
    "not found": 404,
    "UNSUPPORTED": 405,
}
_WHO = "the builder"


def refusal_in(text: str) -> RegistryError | None:
    """Return what *text*, an error of a builder, says that a registry did; `None` if it speaks of something else."""
    found = _UNREACHABLE.search(text)
    if found:
        words = found["words"]
        reason = ssl.SSLCertVerificationError(words) if "x509" in words else OSError(words)
        return unreachable(found["registry"], found["registry"], reason)
    asked = _REQUEST.search(text) or _PUSH.search(text) or _PULL.search(text)
    if asked is None:
        return None
    method = asked.groupdict().get("method") or ""
    pulls = method.upper() == "GET" or asked.re is _PULL
    what = Asked(asked["registry"], asked["repository"], "pull" if pulls else "pull,push", _WHO)
    return refusal(what, _status_in(asked["words"]), asked["words"].encode())


def _status_in(words: str) -> int:
    if found := _STATUS.search(words):
        return int(found["status"])
    return next((status for code, status in _CODES.items() if code in words), 0)
