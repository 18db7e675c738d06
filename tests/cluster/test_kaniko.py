"""The plugin ascend-kaniko on a real cluster, with the last executor of its first project."""

from __future__ import annotations

import pytest

from ascend.errors import EnvironmentBuildError
from tests.cluster.dockerfile_builders import BuildsDockerfiles, KeepsTheContract, Setting
from tests.cluster.test_environments import index  # noqa: F401 - a fixture
from tests.cluster.test_images import other_registry, place  # noqa: F401 - fixtures


class Kaniko(Setting):
    name = "kaniko"
    level = "baseline"

    @pytest.fixture
    def table(self, make_image):
        return {"executor": "upstream", "image": make_image("kaniko")}


class TestContract(Kaniko, KeepsTheContract):
    pass


class TestKaniko(Kaniko, BuildsDockerfiles):
    def test_a_here_document_is_refused_before_anything_runs(self, make_builder, environment, kubernetes):
        dockerfile = f"FROM {environment().base_image}\nRUN <<END\ntrue\nEND\n"
        with pytest.raises(EnvironmentBuildError, match="take executor 'maintained', or 'buildkit'"):
            make_builder().ensure(environment(dockerfile=dockerfile), print)
        assert not kubernetes.left()
