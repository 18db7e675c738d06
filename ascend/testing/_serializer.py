"""The promises of `ascend.interfaces.Serializer`."""

from __future__ import annotations

from pickle import PickleBuffer

import pytest

from ascend.interfaces import Serializer

_LARGE = 1024 * 1024


class SerializerContract:
    """What every serializer promises. Override the fixture ``serializer``."""

    @pytest.fixture
    def serializer(self) -> Serializer:
        """Return the serializer."""
        raise NotImplementedError

    def test_it_is_a_serializer(self, serializer: Serializer) -> None:
        """It has what the protocol asks for, and a name."""
        assert isinstance(serializer, Serializer)
        assert serializer.name

    @pytest.mark.parametrize("value", [None, 0, "text", b"bytes", [1, {"a": (2.5, {3})}], int, ValueError])
    def test_loads_returns_what_dumps_was_given(self, serializer: Serializer, value: object) -> None:
        """Plain values, and classes that both sides have."""
        buffers: list[PickleBuffer] = []
        data = serializer.dumps(value, buffers.append)
        assert isinstance(data, bytes)
        assert serializer.loads(data, [buffer.raw() for buffer in buffers]) == value

    def test_it_loads_from_what_a_storage_returns(self, serializer: Serializer) -> None:
        """Memory that can be written to, and that is no `bytes`."""
        buffers: list[PickleBuffer] = []
        data = memoryview(bytearray(serializer.dumps({"a": 1}, buffers.append)))
        assert serializer.loads(data, [buffer.raw() for buffer in buffers]) == {"a": 1}

    def test_large_buffers_go_to_the_callback(self, serializer: Serializer) -> None:
        """They are neither copied into the bytes nor on the way to the callback."""
        content = bytearray(_LARGE)
        buffers: list[PickleBuffer] = []
        data = serializer.dumps(PickleBuffer(content), buffers.append)
        assert len(data) < _LARGE
        content[:1] = b"!"
        assert bytes(buffers[0].raw()[:1]) == b"!"
        assert serializer.loads(data, [buffer.raw() for buffer in buffers]) == content
