from __future__ import annotations

import pytest

from ascend._builtin.local import LocalCluster
from ascend.testing import ClusterContract


class TestLocalCluster(ClusterContract):
    @pytest.fixture
    def cluster(self):
        return LocalCluster()
