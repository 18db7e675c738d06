"""Names of images are taken apart as docker does, and an environment has one name for all who would build the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ascend.building.names import (
    KEY_LENGTH,
    ImageName,
    Place,
    check_images,
    check_registry,
    image_key,
    parse_image,
    parse_place,
)
from ascend.errors import ConfigError
from ascend.model import Environment

DIGEST = f"sha256:{'0' * 64}"
ENVIRONMENT = Environment(("numpy",), "3.12", "python:3.12-slim", lock="numpy==2.1.0 --hash=sha256:00\n")


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("python:3.12-slim", ImageName("docker.io", "library/python", "3.12-slim")),
        ("ada/tools", ImageName("docker.io", "ada/tools")),
        ("registry.example/team/python:1", ImageName("registry.example", "team/python", "1")),
        ("10.90.0.1:5000/python:3", ImageName("10.90.0.1:5000", "python", "3")),
        ("localhost/python", ImageName("localhost", "python")),
        (f"registry.example/python:1@{DIGEST}", ImageName("registry.example", "python", "1", DIGEST)),
    ],
)
def test_a_reference_is_taken_apart(reference, name):
    assert parse_image(reference) == name


@pytest.mark.parametrize("reference", ["", "UPPER", "a b", "registry.example/", "python:", "python@sha256:1", "a//b"])
def test_what_is_no_reference_is_refused(reference):
    with pytest.raises(ConfigError, match="is no image"):
        parse_image(reference)


def test_an_image_with_a_digest_is_named_by_it_alone():
    assert str(parse_image(f"registry.example/python:1@{DIGEST}")) == f"registry.example/python@{DIGEST}"


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ("registry.example/team/ascend", Place("registry.example", "team/ascend")),
        ("https://registry.example/team/", Place("registry.example", "team")),
        ("http://10.90.0.1:5000/ascend", Place("10.90.0.1:5000", "ascend", plain=True)),
        ("registry.example:5000", Place("registry.example:5000", "")),
    ],
)
def test_the_place_of_built_images(setting, place):
    assert parse_place(setting) == place


@pytest.mark.parametrize(
    "setting", ["", "ftp://registry.example", "https://ada:secret@registry.example/x", "a b", "x/UP"]
)
def test_what_is_no_place_is_refused(setting):
    with pytest.raises(ConfigError, match="registry must be as in") as caught:
        parse_place(setting)
    assert "registry.example/team" in str(caught.value)


def test_images_of_environments_lie_in_one_repository():
    assert str(parse_place("registry.example/team").image("abc")) == "registry.example/team/env:abc"
    assert str(parse_place("registry.example").image("abc")) == "registry.example/env:abc"


@pytest.mark.parametrize(
    ("reference", "allowed", "fits"),
    [
        ("registry.example/team/python:1", ("registry.example",), True),
        ("registry.example/team/python:1", ("registry.example/team",), True),
        ("registry.example/team-b/python:1", ("registry.example/team",), False),
        ("registry.example.evil/python:1", ("registry.example",), False),
        ("python:3.12-slim", ("docker.io/library",), True),
        ("ada/tools", ("docker.io/library",), False),
        ("python:3.12-slim", (), False),
        ("python:3.12-slim", None, True),
    ],
)
def test_only_allowed_registries_are_allowed(reference, allowed, fits):
    if fits:
        check_registry(reference, allowed)
    else:
        with pytest.raises(ConfigError, match="allowed_registries"):
            check_registry(reference, allowed)


def key(environment=ENVIRONMENT, base_digest=DIGEST, builder="layer", version="1"):
    return image_key(environment, base_digest=base_digest, builder=builder, version=version)


def test_the_same_environment_has_the_same_key():
    assert key() == key(replace(ENVIRONMENT, requirements=("numpy>=2",), base_image="python:slim"))
    assert len(key()) == KEY_LENGTH
    assert key(replace(ENVIRONMENT, apt=("git", "gcc"))) == key(replace(ENVIRONMENT, apt=("gcc", "git", "git")))


@pytest.mark.parametrize(
    "change",
    [
        {"environment": replace(ENVIRONMENT, lock="numpy==2.1.1 --hash=sha256:00\n")},
        {"environment": replace(ENVIRONMENT, python="3.13")},
        {"environment": replace(ENVIRONMENT, platform="linux/arm64")},
        {"environment": replace(ENVIRONMENT, apt=("git",))},
        {"environment": replace(ENVIRONMENT, dockerfile="FROM scratch\n")},
        {"environment": replace(ENVIRONMENT, context=b"files")},
        {"base_digest": f"sha256:{'1' * 64}"},
        {"builder": "kaniko"},
        {"version": "2"},
    ],
)
def test_any_difference_makes_another_key(change):
    assert key(**change) != key()


@pytest.mark.parametrize(
    "pod",
    [
        {"containers": [{"name": "main", "image": "evil.example/a"}]},
        {"containers": [], "initContainers": [{"name": "fetch", "image": "evil.example/a"}]},
        {"containers": [], "volumes": [{"name": "data", "image": {"reference": "evil.example/a"}}]},
    ],
)
def test_all_images_of_a_job_must_be_allowed(pod):
    job = {"metadata": {"name": "asc-1"}, "spec": {"template": {"spec": pod}}}
    with pytest.raises(ConfigError, match=r"evil\.example/a, which the .* of the Job asc-1 names, is in no allowed"):
        check_images(job, ("good.example",))
    check_images(job, ("evil.example",))
    check_images(job, None)
