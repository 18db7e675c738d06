"""Serializer `cloudpickle`: functions of scripts and notebooks by value, all else as pickle does it."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ascend.interfaces import Buffer

__all__ = ["CloudpickleSerializer"]

_PROTOCOL = 5


class CloudpickleSerializer:
    """Pickles with protocol 5, the first that hands large buffers out instead of copying them."""

    name = "cloudpickle"

    def dumps(self, value: Any, buffer_callback: Callable[[Any], object] | None) -> bytes:
        import cloudpickle  # noqa: PLC0415 - takes 40 ms, and only who submits needs it

        data: bytes = cloudpickle.dumps(value, protocol=_PROTOCOL, buffer_callback=buffer_callback)
        return data

    def loads(self, data: Buffer, buffers: Sequence[Buffer]) -> Any:
        return pickle.loads(data, buffers=buffers)
