"""Credentials for registries are found where `docker login` and Kubernetes put them."""

from __future__ import annotations

import json
import os
from base64 import b64encode

import pytest

from ascend.building.credentials import Credentials, DockerConfig
from ascend.errors import ConfigError


@pytest.fixture
def config(tmp_path):
    """Return a function that makes a configuration."""

    def make(content):
        path = tmp_path / "config.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return DockerConfig(path)

    return make


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a helper, which does what it is told if it is asked rightly."""

    def make(says):
        program = tmp_path / "docker-credential-tests"
        program.write_text(f'#!/bin/sh\n[ "$1" = get ] || exit 2\ngrep -qx registry.example || exit 3\n{says}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return make


def entry(name, password="secret"):
    return {"auth": b64encode(f"{name}:{password}".encode()).decode()}


def test_there_may_be_none(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "not-there"))
    assert DockerConfig.of_user().find("registry.example", "team/x") is None


@pytest.mark.parametrize(
    ("key", "registry", "repository"),
    [
        ("registry.example", "registry.example", "team/x"),
        ("registry.example:5000", "registry.example:5000", "x"),
        ("https://registry.example", "registry.example", "x"),
        ("https://index.docker.io/v1/", "docker.io", "library/python"),
        ("registry.example/team", "registry.example", "team/x"),
        ("*.example", "registry.example", "x"),
    ],
)
def test_an_entry_serves_what_its_key_names(config, key, registry, repository):
    found = config({"auths": {key: entry("ada")}}).find(registry, repository)
    assert found == Credentials("ada", "secret")


@pytest.mark.parametrize("key", ["registry.example/other", "example", "registry.example/tea"])
def test_an_entry_serves_nothing_else(config, key):
    assert config({"auths": {key: entry("ada")}}).find("registry.example", "team/x") is None


def test_the_entry_with_the_longest_path_counts(config):
    auths = {"registry.example": entry("all"), "registry.example/team": entry("team")}
    assert config({"auths": auths}).find("registry.example", "team/x").username == "team"


def test_a_password_may_hold_colons_and_never_shows(config):
    found = config({"auths": {"registry.example": entry("ada", "a:b:c")}}).find("registry.example", "x")
    assert found.password == "a:b:c"
    assert "a:b:c" not in repr(found)


def test_an_entry_may_be_a_token(config):
    found = config({"auths": {"registry.example": {"identitytoken": "abc"}}}).find("registry.example", "x")
    assert found.identity_token == "abc"


@pytest.mark.parametrize(
    "content",
    [{"credHelpers": {"registry.example": "tests"}}, {"credsStore": "tests", "auths": {"registry.example": {}}}],
    ids=["helper", "store"],
)
@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ('{"Username": "ada", "Secret": "secret"}', Credentials("ada", "secret")),
        ('{"Username": "<token>", "Secret": "abc"}', Credentials(identity_token="abc")),
        (None, None),
    ],
    ids=["password", "token", "nothing"],
)
def test_a_helper_is_asked(config, install, content, answer, found):
    says = f"echo '{answer}'" if answer else "echo 'credentials not found in native keychain'; exit 1"
    install(says)
    assert config(content).find("registry.example", "x") == found


def test_a_helper_that_is_missing_is_named(config):
    content = {"credHelpers": {"registry.example": "missing"}}
    with pytest.raises(ConfigError, match=r"docker-credential-missing.*is not installed"):
        config(content).find("registry.example", "x")


@pytest.mark.parametrize("content", ["{", '{"auths": {"registry.example": {"auth": "%%%"}}}'])
def test_what_cannot_be_read_is_named(config, content):
    with pytest.raises(ConfigError, match=r"config\.json"):
        config(content).find("registry.example", "x")
