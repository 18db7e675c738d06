from __future__ import annotations

import sys

import pytest

from ascend._builtin.prebuilt import PrebuiltImages
from ascend._builtin.uv_environment import UvEnvironments
from ascend.model import Environment, Image
from ascend.testing import ImageBuilderContract

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


class TestPrebuiltImages(ImageBuilderContract):
    @pytest.fixture
    def builder(self):
        return PrebuiltImages()


class TestUvEnvironments(ImageBuilderContract):
    @pytest.fixture
    def builder(self, tmp_path):
        return UvEnvironments(tmp_path)


def test_a_prebuilt_image_is_taken_as_it_is():
    image = PrebuiltImages().ensure(Environment((), PYTHON, "registry.example/team/image:1"), print)
    assert image.reference == "registry.example/team/image:1"


def test_a_prebuilt_image_is_taken_on_trust_and_looked_into_by_the_runner():
    image = PrebuiltImages().ensure(Environment(("six",), PYTHON, "image"), print)
    assert image == Image("image", complete=False)
