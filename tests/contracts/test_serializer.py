from __future__ import annotations

import pickle

import numpy as np
import pytest

from ascend._builtin.cloudpickle import CloudpickleSerializer
from ascend.testing import SerializerContract


class TestCloudpickleSerializer(SerializerContract):
    @pytest.fixture
    def serializer(self):
        return CloudpickleSerializer()


def test_functions_without_a_module_travel_by_value():
    serializer = CloudpickleSerializer()
    offset = 3
    data = serializer.dumps(lambda x: x + offset, [].append)
    assert serializer.loads(data, [])(4) == 7


def test_arrays_travel_beside_the_pickle_and_come_back_writable():
    serializer = CloudpickleSerializer()
    array = np.arange(100_000.0)
    buffers: list[pickle.PickleBuffer] = []
    data = serializer.dumps({"array": array}, buffers.append)
    assert len(data) < 1000
    arrived = [memoryview(bytearray(buffer.raw())) for buffer in buffers]
    back = serializer.loads(data, arrived)["array"]
    assert (back == array).all()
    back[0] = 1.0


def test_what_cannot_be_pickled_raises_the_picklers_own_error():
    with pytest.raises((TypeError, pickle.PicklingError), match="generator"):
        CloudpickleSerializer().dumps((x for x in range(0)), [].append)
