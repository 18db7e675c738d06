"""The uv that travels: from which index it comes, and how often."""

from __future__ import annotations

import zlib
from importlib.metadata import version

import pytest

from ascend._builtin.layer import LayerRecipe
from ascend.building.portable_uv import packed_uv
from ascend.model import Environment, Profile
from tests.package_index import package_index

PROGRAM = "#!/bin/sh\necho ours\n"


@pytest.fixture
def index(monkeypatch):
    """Serve a uv of ours; nothing else has any."""
    for name in ("PIP_FIND_LINKS", "UV_FIND_LINKS", "PIP_INDEX_URL", "UV_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    with package_index() as made:
        made.add("uv", version("uv"), {f"uv-{version('uv')}.data/scripts/uv": PROGRAM})
        yield made


def test_it_comes_from_the_indexes_of_the_profile_and_is_kept(index):
    profile, lines = Profile(index_urls=(index.url,)), []
    packed = packed_uv(profile, "linux/amd64", lines.append)
    assert zlib.decompress(packed).decode() == PROGRAM
    asked = len(index.asked)
    assert packed_uv(profile, "linux/amd64", lines.append) == packed
    assert (len(index.asked), len(lines)) == (asked, 1)


def test_a_layer_is_built_with_the_uv_of_these_indexes(index):
    recipe = LayerRecipe(Profile(index_urls=(index.url,)), by_storage=True)
    environment = Environment(("six",), "3.12", "python:3.12", lock="six==1.17.0\n")
    assert zlib.decompress(recipe.files(environment)["uv"]).decode() == PROGRAM
