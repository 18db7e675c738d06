"""The authorities that pods are to trust, as the setting ``certificates`` names them."""

from __future__ import annotations

from pathlib import Path

from ascend.errors import ConfigError

__all__ = ["read_certificates"]


def read_certificates(certificates: str) -> bytes:
    """Return the content of the file; `ConfigError` if it cannot be read."""
    try:
        return Path(certificates).read_bytes()
    except OSError as exc:
        msg = f"certificates = {certificates!r} cannot be read: {exc.strerror}"
        raise ConfigError(msg) from exc
