from __future__ import annotations

import sys

import pytest

from ascend._builtin.prebuilt import PrebuiltImages
from ascend._builtin.uv_environment import UvEnvironments
from ascend._builtin.uv_install import UvInstalls
from ascend.errors import EnvironmentBuildError
from ascend.model import Environment, Image, Profile
from ascend.testing import ImageBuilderContract
from tests.package_index import package_index

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


class TestPrebuiltImages(ImageBuilderContract):
    @pytest.fixture
    def builder(self):
        return PrebuiltImages()


class TestUvEnvironments(ImageBuilderContract):
    @pytest.fixture
    def builder(self, tmp_path):
        return UvEnvironments(tmp_path)


class TestUvInstalls(ImageBuilderContract):
    @pytest.fixture(autouse=True)
    def index(self, monkeypatch):
        monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
        with package_index() as made:
            made.add("tiny-base", "1.0", {"tiny_base.py": ""})
            yield made

    @pytest.fixture
    def builder(self, index):
        return UvInstalls(Profile(index_urls=(index.url,)))

    @pytest.fixture
    def possible(self):
        return Environment(("tiny-base",), PYTHON, "image")


@pytest.mark.parametrize("more", [{"apt": ("libgomp1",)}, {"dockerfile": "FROM python\n"}])
def test_what_a_pod_cannot_install_is_refused(more):
    with pytest.raises(EnvironmentBuildError, match=r"uv installs requirements only.*set another image_builder"):
        UvInstalls(Profile()).ensure(Environment((), PYTHON, "image", **more), print)


def test_a_prebuilt_image_is_taken_as_it_is():
    image = PrebuiltImages().ensure(Environment((), PYTHON, "registry.example/team/image:1"), print)
    assert image.reference == "registry.example/team/image:1"


def test_a_prebuilt_image_is_taken_on_trust_and_looked_into_by_the_runner():
    image = PrebuiltImages().ensure(Environment(("six",), PYTHON, "image"), print)
    assert image == Image("image", complete=False)
