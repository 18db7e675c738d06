"""The plugin ascend-buildkit on a real cluster: without root, and privileged where that is allowed."""

from __future__ import annotations

import pytest

from tests.cluster.dockerfile_builders import DockerfileBuilder
from tests.cluster.test_environments import index  # noqa: F401 - a fixture
from tests.cluster.test_images import place  # noqa: F401 - a fixture


class TestRootless(DockerfileBuilder):
    name = "buildkit"
    level = "privileged"

    @pytest.fixture
    def table(self, make_image):
        return {"mode": "rootless", "image": make_image("buildkit")}

    @pytest.fixture
    def cached(self):
        return {}

    def is_cached(self, line, step):
        return line.endswith("CACHED")
