"""The plugin ascend-buildkit on a real cluster: without root, and privileged where that is allowed."""

from __future__ import annotations

import pytest

from tests.cluster.dockerfile_builders import BuildsDockerfiles, KeepsTheContract, Setting
from tests.cluster.test_environments import index  # noqa: F401 - a fixture
from tests.cluster.test_images import other_registry, place  # noqa: F401 - fixtures


class Buildkit(Setting):
    name = "buildkit"
    level = "privileged"
    mode = "rootless"

    @pytest.fixture
    def table(self, make_image):
        return {"mode": self.mode, "image": make_image("buildkit")}


class TestContract(Buildkit, KeepsTheContract):
    pass


class TestRootless(Buildkit, BuildsDockerfiles):
    def test_a_step_may_be_a_here_document(self, make_builder, environment):
        dockerfile = f"FROM {environment().base_image}\nRUN <<END\ntrue >/one\ntest -f /one\nEND\n"
        assert make_builder().ensure(environment(dockerfile=dockerfile), print).reference


class TestPrivileged(Buildkit):
    mode = "privileged"

    def test_a_dockerfile_is_built(self, make_builder, environment):
        dockerfile = f"FROM {environment().base_image}\nRUN id -u | grep -x 0\n"
        assert make_builder().ensure(environment(dockerfile=dockerfile), print).reference
