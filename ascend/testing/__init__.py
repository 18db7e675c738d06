"""What the protocols of `ascend.interfaces` promise, as tests that authors of plugins inherit.

::

    class TestNimbusStorage(StorageContract):
        @pytest.fixture
        def storage(self):
            return NimbusStorage("nimbus://tests")

Each class says which fixtures to override; each test stands for a sentence of the protocol. It needs pytest.
"""

from __future__ import annotations

import pytest

# Before they are imported, so that a failing assertion shows its values.
pytest.register_assert_rewrite(
    *(f"{__name__}.{module}" for module in ("_cluster", "_hooks", "_image_builder", "_serializer", "_storage"))
)

from ascend.testing._cluster import ClusterContract  # noqa: E402 - see above
from ascend.testing._hooks import check_modify_job_leaves_others_alone  # noqa: E402
from ascend.testing._image_builder import ImageBuilderContract  # noqa: E402
from ascend.testing._samples import sample_job, sample_task  # noqa: E402
from ascend.testing._serializer import SerializerContract  # noqa: E402
from ascend.testing._storage import StorageContract  # noqa: E402

__all__ = [
    "ClusterContract",
    "ImageBuilderContract",
    "SerializerContract",
    "StorageContract",
    "check_modify_job_leaves_others_alone",
    "sample_job",
    "sample_task",
]
