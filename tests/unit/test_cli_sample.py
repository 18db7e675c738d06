"""The Job and the image that the doctor judges are those of a task, and a registry is asked for the image."""

from __future__ import annotations

import pytest

from ascend._core.config.profile import load_profile
from ascend.cli.sample import check_image, sample_job
from ascend.errors import ConfigError
from tests.unit.api_server import ApiServer, answer, refusal

FOUND = answer(b"", Docker_Content_Digest=f"sha256:{'a' * 64}")
MISSING = answer(b"", 404)


@pytest.fixture
def registry():
    made = ApiServer()
    yield made
    made.close()


def image_in(registry, name="team/python:3.13", host="127.0.0.1"):
    return f"{host}:{registry.url.rpartition(':')[2]}/{name}"


def check(image, **arguments):
    return check_image(load_profile(arguments={"base_image": image, **arguments}))


def test_the_job_has_all_that_a_task_would_have():
    profile = load_profile(
        arguments={
            "base_images": {"gpu": "registry.example/cuda:12"},
            "node_type": "gpu",
            "job_patch": {"spec": {"template": {"spec": {"hostNetwork": True}}}},
            "registry_secret": "pull",
        }
    )
    pod = sample_job(profile, "crystals")["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "registry.example/cuda:12"
    assert pod["hostNetwork"]
    assert pod["imagePullSecrets"] == [{"name": "pull"}]


def test_an_image_that_is_there_is_well(registry):
    registry.answers = [FOUND]
    assert (found := check(image_in(registry))).state == "ok"
    assert "is in its registry" in found.text
    assert registry.requests[0].path == "/v2/team/python/manifests/3.13"


def test_an_image_that_is_not_there_fails(registry):
    registry.answers = [MISSING]
    assert (found := check(image_in(registry))).state == "failed"
    assert "has no 3.13 of team/python" in found.text
    assert "base_image" in found.remedy


def test_what_a_registry_does_not_show_is_unknown(registry):
    registry.answers = [refusal(403, "Forbidden", "denied")]
    assert (found := check(image_in(registry))).state == "unknown"
    assert "refuses to give team/python" in found.text


def test_a_registry_that_cannot_be_reached_from_here_is_unknown(registry):
    # By this name it is not one of this machine, and spoken to with TLS.
    assert (found := check(image_in(registry, host="127.1"))).state == "unknown"
    assert "cannot be reached" in found.text


@pytest.mark.parametrize("name", ["team/python", "team/python:latest"])
def test_an_image_without_a_fixed_tag_is_a_warning(registry, name):
    registry.answers = [FOUND]
    assert check(image_in(registry, name)).state == "warning"


def test_an_image_of_no_allowed_registry_is_refused():
    with pytest.raises(ConfigError, match="in no allowed registry"):
        check("elsewhere.example/python:3.13", allowed_registries=("registry.example",))
