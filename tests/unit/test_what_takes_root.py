"""What the builders of requirements cannot make is refused, and never left out in silence."""

from __future__ import annotations

import pytest

from ascend import AscendExecutor
from ascend._builtin.layer import LayerRecipe
from ascend._builtin.prebuilt import PrebuiltImages
from ascend._builtin.uv_environment import UvEnvironments
from ascend._builtin.uv_install import UvInstalls
from ascend.errors import ConfigError, EnvironmentBuildError
from ascend.model import Environment, Profile

WANTED = {
    "apt": Environment(("six",), "3.12", "python:3.12-slim", apt=("git",)),
    "dockerfile": Environment(("six",), "3.12", "python:3.12-slim", dockerfile="FROM a\n"),
}


@pytest.mark.parametrize("what", WANTED)
@pytest.mark.parametrize("builder", [PrebuiltImages(), UvEnvironments(), UvInstalls(Profile())], ids=type)
def test_a_builder_of_requirements_refuses(builder, what):
    with pytest.raises(EnvironmentBuildError, match=f"the image builder {builder.name} .*, and {what} is set"):
        builder.ensure(WANTED[what], print)


@pytest.mark.parametrize("what", WANTED)
def test_a_layer_is_no_place_for_it(what):
    assert "take image_builder 'buildkit'" in LayerRecipe(Profile(), by_storage=False).refuses(WANTED[what])


def test_a_task_without_requirements_is_refused_too(leaves_nothing):
    with AscendExecutor(cluster="local", apt=["git"], progress=False) as executor:
        error = executor.submit(int).exception(timeout=60)
    assert type(error) is EnvironmentBuildError
    assert "apt is set" in str(error)


def test_a_dockerfile_that_is_not_there_ends_the_task(leaves_nothing):
    with AscendExecutor(cluster="local", dockerfile="nowhere/Dockerfile", progress=False) as executor:
        error = executor.submit(int).exception(timeout=60)
    assert type(error) is ConfigError
    assert "nowhere/Dockerfile" in str(error)
