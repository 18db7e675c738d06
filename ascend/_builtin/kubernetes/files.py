"""Files that the pods of runs find: Secrets named after their content, owned by the Leases of all runs that use them.

The first run in a namespace creates one, the next ones become owners of it, and the garbage collector removes it
with the last of them. Who uses ascend may create and patch Secrets there, and read none.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ascend._builtin.kubernetes.connection import STRATEGIC_PATCH
from ascend._builtin.kubernetes.failures import ApiError, refused
from ascend.errors import ClusterError
from ascend.model import PlacedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ascend._builtin.kubernetes.connection import Connection

__all__ = ["MOST_BYTES", "place_file"]

MOST_BYTES = 1 << 20
"""What a Secret may hold: kubernetes.io/docs/concepts/configuration/secret, "Restrictions on Secret data size"."""

_NOT_FOUND, _CONFLICT = 404, 409
_ATTEMPTS = 5


def place_file(connection: Connection, owner: Mapping[str, Any], name: str, content: bytes) -> PlacedFile:
    """Put *content* into the namespace, unless it is there; it stays at least as long as *owner*."""
    if len(content) > MOST_BYTES:
        msg = f"{name} has {len(content):,} bytes, and a Secret holds at most {MOST_BYTES:,}"
        raise ClusterError(msg)
    digest = sha256(content).hexdigest()[:20]
    secret = f"asc-file-{digest}"
    _own_or_create(connection, secret, owner, content)
    source = {"secretName": secret, "defaultMode": 0o444, "items": [{"key": "content", "path": name}]}
    return PlacedFile(f"/ascend/files/{digest}/{name}", {"secret": source})


def _own_or_create(connection: Connection, secret: str, owner: Mapping[str, Any], content: bytes) -> None:
    own = {"metadata": {"ownerReferences": [dict(owner)]}}
    for _ in range(_ATTEMPTS):
        # By far the smaller request, and the usual one.
        if _done(_NOT_FOUND, connection.patch, connection.path("secrets", secret), own, STRATEGIC_PATCH):
            return
        # Another run may be faster: then this one becomes an owner of its Secret.
        if _done(_CONFLICT, connection.create, connection.path("secrets"), _secret(secret, owner, content)):
            return
    msg = f"the Secret {secret} comes and goes in namespace {connection.namespace!r}: does something delete Secrets?"
    raise ClusterError(msg)


def _done(otherwise: int, request: Callable[..., object], *args: object) -> bool:
    """Make a request; false if its answer is the status *otherwise*."""
    try:
        request(*args)
    except ApiError as error:
        if error.status == otherwise:
            return False
        raise refused(error, "place a file in a Secret") from error
    return True


def _secret(name: str, owner: Mapping[str, Any], content: bytes) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "immutable": True,
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": "ascend"},
            "ownerReferences": [dict(owner)],
        },
        "data": {"content": b64encode(content).decode()},
    }
