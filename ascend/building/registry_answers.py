"""What registries answer when they refuse, as errors that name the registry, the repository and the remedy."""

from __future__ import annotations

import json
import re
import ssl
from typing import NamedTuple
from urllib.error import URLError

from ascend.errors import (
    ImageNotFoundError,
    RegistryDeniedError,
    RegistryError,
    RegistryFullError,
    RegistryReadOnlyError,
    RegistryUnreachableError,
)

__all__ = ["Asked", "refusal", "unreachable"]

_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _NOT_ALLOWED = 401, 403, 404, 405
_TOO_LARGE, _FULL = 413, 507
_NO_ROOM = re.compile(
    r"no space left|\bErr\W{1,3}28\b|quota|insufficient storage|exceed the configured|disk (is )?full", re.IGNORECASE
)
_READ_ONLY = re.compile(r"read[- ]?only|maintenance", re.IGNORECASE)
_LONGEST = 500


class Asked(NamedTuple):
    """What was asked for: to do *actions*, such as ``pull,push``, in *repository* of *registry*, as *user*."""

    registry: str
    repository: str
    actions: str
    user: str


def refusal(asked: Asked, status: int, content: bytes) -> RegistryError:
    """Return what the *status* and *content* of an answer mean for who *asked*; a status of 0 is not known."""
    registry, repository, actions, user = asked
    user = user or "who shows no credentials"
    words = f"{status or ''} {_words(content)}".strip()
    action = _action(actions)
    what = f"{registry} refuses to {action} {repository}"
    if _NO_ROOM.search(words) or status == _FULL:
        return RegistryFullError(
            f"{registry} has no room for {repository} ({words}): delete what nobody uses (`ascend image gc`), "
            "or have its storage or your quota enlarged"
        )
    if status == _NOT_ALLOWED or (_READ_ONLY.search(words) and status != _UNAUTHORIZED):
        return RegistryReadOnlyError(
            f"{what} ({words}): it is read-only, or does not allow that to anybody; ask who runs it, "
            "or set registry (ASCEND_REGISTRY) to another one"
        )
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        return RegistryDeniedError(f"{what} to {user} ({words}): {_login(registry)}")
    if status == _NOT_FOUND:
        return ImageNotFoundError(
            f"{registry} has no {repository}, or does not show it to {user} ({words}): "
            "see to its name; some registries want a repository to be made before something is pushed"
        )
    if status == _TOO_LARGE:
        return RegistryError(f"{what} ({words}): what stands before it takes no uploads of that size")
    return RegistryError(f"{registry} failed to {action} {repository}: {words}")


def unreachable(registry: str, base: str, exc: BaseException) -> RegistryUnreachableError:
    """Return what the exception of a connection means."""
    reason = exc.reason if isinstance(exc, URLError) else exc
    text = f"the registry {registry} cannot be reached at {base}: {reason}"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return RegistryUnreachableError(f"{text}; set certificates (ASCEND_CERTIFICATES) to a file with its authority")
    if isinstance(reason, ssl.SSLError):
        return RegistryUnreachableError(f"{text}; if it speaks no TLS, set registry as in 'http://{registry}/…'")
    return RegistryUnreachableError(f"{text}; see to the setting registry (ASCEND_REGISTRY), and to the network")


def _action(actions: str) -> str:
    last = actions.rpartition(",")[2]
    return {"pull": "give", "push": "take", "delete": "delete from"}.get(last, last)


def _login(registry: str) -> str:
    return (
        f"log in with an account that may do that: `docker login {registry}` here, and for pods the Secret that "
        "registry_secret names, in the namespace of the build"
    )


def _words(content: bytes) -> str:
    """Return the words of an answer: those of its errors, if it has any."""
    text = content.decode(errors="replace")
    try:
        errors = json.loads(text)["errors"]
        said = [" ".join(str(each[key]) for key in ("code", "message", "detail") if each.get(key)) for each in errors]
        text = "; ".join(said)
    except (ValueError, KeyError, TypeError, AttributeError):
        # What stands before a registry answers as it likes.
        text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
