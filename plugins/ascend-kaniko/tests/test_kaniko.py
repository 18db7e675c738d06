from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from ascend.building.build_options import BuildOptions
from ascend.building.names import parse_image, parse_place
from ascend.building.recipes import Build, Recipe
from ascend.errors import ConfigError
from ascend.interfaces import ImageBuilder
from ascend.model import Environment, Needs, Profile
from ascend_kaniko import hooks
from ascend_kaniko.recipe import kaniko_recipe

GOLDEN = Path(__file__).parent / "golden"
LOCK = "--index-url https://packages.example/simple\nsix==1.17.0 \\\n    --hash=sha256:" + "1" * 64 + "\n"
ENVIRONMENT = Environment(("six",), "3.12", "python:3.12-slim", LOCK, apt=("git",))
BASE = "docker.io/library/python@sha256:" + "0" * 64

TABLES = {
    "upstream": {"executor": "upstream"},
    "maintained": {"cache": False},
}


@pytest.fixture
def certificates(tmp_path):
    path = tmp_path / "company.pem"
    path.write_text("-----BEGIN CERTIFICATE-----")
    return str(path)


def profile_of(certificates=None, **table):
    return Profile(
        registry="http://registry.example:5000/team",
        registry_secret="registry",
        index_secret="packages",
        certificates=certificates,
        needs=Needs(env={"HTTPS_PROXY": "http://proxy.example:3128"}),
        plugin_config={"kaniko": table},
    )


def build_of(profile, **files):
    place = parse_place(profile.registry)
    paths = {name: f"/ascend/build/{name}" for name in ("Dockerfile", "context.tar.gz", "certificates.pem")}
    return Build(
        ENVIRONMENT,
        BASE,
        parse_image("registry.example:5000/team/env:abc"),
        place,
        profile,
        BuildOptions(),
        {**paths, **files},
        dict.fromkeys(paths, "2" * 64),
        "asc-build-abc",
    )


@pytest.mark.parametrize("name", TABLES)
def test_a_pod_is_as_reviewed(name, certificates):
    profile = profile_of(certificates, **TABLES[name])
    pod = kaniko_recipe(profile).pod(build_of(profile))
    assert pod == json.loads((GOLDEN / f"{name}.json").read_text())


def test_ascend_image_builder_answers_for_its_name_only():
    builder = hooks.ascend_image_builder("kaniko", Profile(), None)
    assert isinstance(builder, ImageBuilder)
    assert builder.name == "kaniko"
    assert hooks.ascend_image_builder("layer", Profile(), None) is None
    assert isinstance(kaniko_recipe(Profile()), Recipe)


def test_the_entry_point_is_found():
    assert [each.load() for each in entry_points(group="ascend", name="kaniko")] == [hooks]


def test_the_files_are_a_dockerfile_its_context_and_the_authorities(certificates):
    files = kaniko_recipe(profile_of(certificates)).files(replace(ENVIRONMENT, base_image=BASE))
    assert list(files) == ["Dockerfile", "context.tar.gz", "certificates.pem"]
    text = files["Dockerfile"].decode()
    assert text.startswith(f"FROM {BASE}\n")
    assert "--mount=type=secret,id=netrc" in text
    assert files["certificates.pem"] == b"-----BEGIN CERTIFICATE-----"


def test_authorities_that_cannot_be_read_are_named():
    with pytest.raises(ConfigError, match=r"certificates .* cannot be read"):
        kaniko_recipe(profile_of("/nowhere.pem")).files(ENVIRONMENT)


def test_a_context_in_the_storage_is_fetched_first(certificates):
    profile = profile_of(certificates)
    build = build_of(profile, **{"context.tar.gz": "https://storage.example/signed"})
    pod = kaniko_recipe(profile).pod(build)
    (fetch,) = pod["initContainers"]
    assert fetch["image"] == BASE
    assert fetch["command"][3:] == ["/ascend/fetched/context.tar.gz", "https://storage.example/signed", "2" * 64]
    (main,) = pod["containers"]
    assert "/ascend/fetched/context.tar.gz" in json.dumps(main)
    assert {"name": "fetched", "mountPath": "/ascend/fetched", "readOnly": True} in main["volumeMounts"]


def test_a_setting_that_does_not_exist_is_named():
    with pytest.raises(
        ConfigError, match=r"\[tool.ascend.plugins.kaniko\] has no setting 'chache'; did you mean cache"
    ):
        kaniko_recipe(profile_of(chache=False))


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_what_comes_to_another_image_has_another_version(table):
    versions = [kaniko_recipe(profile_of(**{**table, "installer": each})).version for each in ("pip", "uv")]
    assert versions[0] != versions[1]


def test_here_documents_are_for_the_maintained_executor():
    wanted = replace(ENVIRONMENT, dockerfile="FROM a\nRUN <<END\ntrue\nEND\n")
    assert "take executor 'maintained'" in kaniko_recipe(profile_of(executor="upstream")).refuses(wanted)
    assert kaniko_recipe(profile_of()).refuses(wanted) is None
