"""A registry is read, written and cleaned; what it refuses is an error that names it and the remedy."""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest

from ascend.building.credentials import DockerConfig
from ascend.building.names import ImageName
from ascend.building.registry import Registry
from ascend.building.registry_answers import Asked, refusal
from ascend.errors import (
    ImageNotFoundError,
    RegistryDeniedError,
    RegistryError,
    RegistryFullError,
    RegistryReadOnlyError,
    RegistryUnreachableError,
)
from tests.unit.api_server import ApiServer, answer
from tests.unit.registries import docker_config, htpasswd, registry

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
NOTHING = DockerConfig(Path("/nonexistent"))


@pytest.fixture(scope="module")
def name(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("registry")) as made:
        yield made


def client(name, config=NOTHING):
    return Registry(name, plain=True, config=config)


def push(images, repository, tag, content=b"layer", architecture="amd64"):
    """Push a small image; return its manifest's digest."""
    layer = images.upload(repository, content)
    config = images.upload(repository, json.dumps({"architecture": architecture, "os": "linux"}).encode())
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config._replace(media_type="application/vnd.oci.image.config.v1+json").to_dict(),
        "layers": [layer._replace(media_type="application/vnd.oci.image.layer.v1.tar").to_dict()],
    }
    return images.put_manifest(ImageName(images.name, repository, tag), document)


def test_an_image_is_found_by_its_tag_and_by_its_digest(name):
    images = client(name)
    digest = push(images, "team/found", "1")
    image = ImageName(name, "team/found", "1")
    assert images.digest(image) == digest
    assert images.digest(image.at(digest)) == digest
    assert images.manifest(image, "linux/amd64").digest == digest


def test_an_image_that_is_not_there_has_no_digest(name):
    assert client(name).digest(ImageName(name, "team/nothing", "1")) is None
    with pytest.raises(ImageNotFoundError, match=f"{name} has no team/nothing"):
        client(name).manifest(ImageName(name, "team/nothing", "1"), "linux/amd64")


def test_the_manifest_of_the_platform_is_taken_from_an_index(name):
    images = client(name)
    digests = {each: push(images, "team/many", each, each.encode(), each) for each in ("amd64", "arm64")}
    listed = [
        {"mediaType": MANIFEST, "digest": digest, "size": 1, "platform": {"os": "linux", "architecture": architecture}}
        for architecture, digest in digests.items()
    ]
    index = ImageName(name, "team/many", "all")
    # The registry checks nothing but that they exist.
    images.put_manifest(index, {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed})
    assert images.manifest(index, "linux/arm64").digest == digests["arm64"]
    with pytest.raises(ImageNotFoundError, match="is not for linux/s390x: it is for linux/amd64, linux/arm64"):
        images.manifest(index, "linux/s390x")


def test_a_large_layer_arrives_whole_and_is_not_sent_twice(name, tmp_path):
    images = client(name)
    path = tmp_path / "layer"
    path.write_bytes(os.urandom(3 << 20))
    blob = images.upload("team/large", path)
    assert images.upload("team/large", path) == blob
    images.download("team/large", blob.digest, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_a_blob_is_mounted_within_a_registry(name):
    images = client(name)
    blob = images.upload("team/origin", b"a base")
    assert images.copy(images, blob, "team/origin", "team/mounting") == "mounted"
    assert images.copy(images, blob, "team/origin", "team/mounting") == "kept"
    assert images.blob("team/mounting", blob.digest) == b"a base"


def test_a_blob_is_copied_between_registries(name, tmp_path):
    origin = client(name)
    blob = origin.upload("team/origin", b"another base")
    with registry(tmp_path) as other:
        images = client(other)
        assert images.copy(origin, blob, "team/origin", "team/copied") == "copied"
        assert images.blob("team/copied", blob.digest) == b"another base"


def test_tags_are_listed_and_an_image_is_deleted_with_all_of_them(name):
    images = client(name)
    push(images, "team/tags", "one", b"1")
    push(images, "team/tags", "two", b"2")
    assert sorted(images.tags("team/tags")) == ["one", "two"]
    assert images.delete(ImageName(name, "team/tags", "one"))
    assert list(images.tags("team/tags")) == ["two"]
    assert not images.delete(ImageName(name, "team/tags", "one"))
    assert list(images.tags("team/never")) == []


def test_long_lists_of_tags_come_page_by_page(name, monkeypatch):
    images = client(name)
    for tag in ("a", "b", "c", "d", "e"):
        push(images, "team/pages", tag, tag.encode())
    monkeypatch.setattr("ascend.building.registry.TAGS_A_PAGE", 2)
    assert sorted(images.tags("team/pages")) == ["a", "b", "c", "d", "e"]


def test_a_password_is_shown_where_it_is_asked_for(tmp_path):
    with registry(tmp_path, **htpasswd(tmp_path, "ada")) as name:
        config = DockerConfig(docker_config(tmp_path / "docker", name, "ada"))
        assert push(client(name, config), "team/private", "1").startswith("sha256:")


@pytest.mark.parametrize(("user", "shown"), [("eve", "to eve"), (None, "who shows no credentials")])
def test_who_has_no_password_is_told_where_to_put_one(tmp_path, user, shown):
    with registry(tmp_path, **htpasswd(tmp_path, "ada")) as name:
        config = DockerConfig(docker_config(tmp_path / "docker", name, user)) if user else NOTHING
        with pytest.raises(RegistryDeniedError, match=shown) as caught:
            push(client(name, config), "team/private", "1")
    assert f"docker login {name}" in str(caught.value)
    assert "registry_secret" in str(caught.value)


def test_a_registry_that_is_read_only_says_so(tmp_path):
    closed = {"maintenance": {"readonly": {"enabled": True}}}
    with registry(tmp_path, storage=closed) as name, pytest.raises(RegistryReadOnlyError, match="to take team/x"):
        client(name).upload("team/x", b"content")


def test_a_registry_that_is_not_there_is_named():
    with pytest.raises(RegistryUnreachableError, match=r"127\.0\.0\.1:1 cannot be reached.*ASCEND_REGISTRY"):
        client("127.0.0.1:1").digest(ImageName("127.0.0.1:1", "team/x", "1"))


def test_a_registry_without_tls_is_told_how_to_be_written(name):
    with pytest.raises(RegistryUnreachableError, match=f"set registry as in 'http://{name}/"):
        Registry(name, config=NOTHING).digest(ImageName(name, "team/x", "1"))


@pytest.fixture
def server():
    made = ApiServer()
    yield made
    made.close()


def challenge(server, **more):
    words = f'Bearer realm="{server.url}/token",service="registry",scope="repository:team/x:pull"'
    return answer({"errors": []}, 401, **{"WWW-Authenticate": words, **more})


BLOB = f"sha256:{sha256(b'the blob').hexdigest()}"
FOUND = answer(b"the blob")


def logged_in(server, tmp_path, entry):
    name = server.url.removeprefix("http://")
    (tmp_path / "config.json").write_text(json.dumps({"auths": {name: entry}}))
    return Registry(name, plain=True, config=DockerConfig(tmp_path / "config.json"))


def test_a_token_is_fetched_with_the_password_and_used_again(server, tmp_path):
    images = logged_in(server, tmp_path, {"username": "ada", "password": "secret"})
    server.answers = [challenge(server), answer({"token": "abc"}), FOUND]
    assert images.blob("team/x", BLOB) == b"the blob"
    assert images.blob("team/x", BLOB) == b"the blob"
    _, token, first, second = server.requests
    assert (token.path, token.query) == ("/token", {"service": "registry", "scope": "repository:team/x:pull"})
    assert token.headers["authorization"] == f"Basic {b64encode(b'ada:secret').decode()}"
    assert first.headers["authorization"] == second.headers["authorization"] == "Bearer abc"


def test_a_token_that_has_run_out_is_fetched_anew(server, tmp_path):
    images = logged_in(server, tmp_path, {"username": "ada", "password": "secret"})
    server.answers = [challenge(server), answer({"token": "old"}), FOUND]
    images.blob("team/x", BLOB)
    server.answers = [challenge(server), answer({"access_token": "new"}), FOUND]
    assert images.blob("team/x", BLOB) == b"the blob"
    assert server.requests[-1].headers["authorization"] == "Bearer new"


def test_a_public_image_needs_a_token_and_no_password(server, tmp_path):
    images = logged_in(server, tmp_path, {})
    server.answers = [challenge(server), answer({"token": "abc"}), FOUND]
    assert images.blob("team/x", BLOB) == b"the blob"
    assert "authorization" not in server.requests[1].headers


def test_who_gets_no_token_is_denied(server, tmp_path):
    images = logged_in(server, tmp_path, {"username": "ada", "password": "wrong"})
    server.answers = [challenge(server), answer({"details": "incorrect username or password"}, 401)]
    with pytest.raises(RegistryDeniedError, match=r"to ada .*incorrect username"):
        images.blob("team/x", BLOB)


def test_what_a_storage_is_sent_to_sees_no_credentials(server, tmp_path):
    images = logged_in(server, tmp_path, {"username": "ada", "password": "secret"})
    other = ApiServer()
    try:
        other.answers = [answer(b"the blob")]
        server.answers = [challenge(server), answer({"token": "abc"}), answer({}, 307, Location=f"{other.url}/signed")]
        assert images.blob("team/x", BLOB) == b"the blob"
        assert "authorization" not in other.requests[0].headers
    finally:
        other.close()


def test_what_was_changed_on_the_way_is_refused(server, tmp_path):
    images = logged_in(server, tmp_path, {})
    server.answers = [answer(b"another blob")]
    with pytest.raises(RegistryError, match="is something else"):
        images.blob("team/x", f"sha256:{'0' * 64}")


def test_a_registry_that_is_busy_is_asked_again(server, tmp_path):
    images = logged_in(server, tmp_path, {})
    server.answers = [answer({}, 429), answer({}, 503), FOUND]
    assert images.blob("team/x", BLOB) == b"the blob"


@pytest.mark.parametrize(
    ("status", "content", "kind", "words"),
    [
        (401, b"", RegistryDeniedError, "docker login"),
        (
            403,
            b'{"errors": [{"code": "DENIED", "message": "no push for you"}]}',
            RegistryDeniedError,
            "no push for you",
        ),
        (404, b'{"errors": [{"code": "NAME_UNKNOWN"}]}', ImageNotFoundError, "NAME_UNKNOWN"),
        (405, b'{"errors": [{"code": "UNSUPPORTED"}]}', RegistryReadOnlyError, "read-only"),
        (507, b"", RegistryFullError, "ascend image gc"),
        (500, b'{"errors": [{"detail": {"Err": "no space left on device"}}]}', RegistryFullError, "no room"),
        (412, b'{"errors": [{"message": "will exceed the configured upper limit"}]}', RegistryFullError, "quota"),
        (413, b"<html>too large</html>", RegistryError, "uploads of that size"),
        (500, b"<html>oops</html>", RegistryError, "failed to take team/x: 500 <html>oops</html>"),
    ],
)
def test_what_registries_refuse_has_a_type_and_a_remedy(status, content, kind, words):
    error = refusal(Asked("registry.example", "team/x", "pull,push", "ada"), status, content)
    assert type(error) is kind
    assert re.search(words, str(error))
    assert "registry.example" in str(error)
