from __future__ import annotations

import os
import subprocess
import sys
from urllib.request import urlopen

import obstore
import pytest
from moto.server import ThreadedMotoServer

from ascend._builtin.directory import DirectoryStorage
from ascend._builtin.object_store import ObjectStorage
from ascend.errors import KeyNotFoundError, StorageError
from ascend.testing import StorageContract


@pytest.fixture(scope="module")
def s3_server():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_surroundings(s3_server, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    return s3_server


@pytest.fixture
def bucket(s3_surroundings, request):
    name = f"bucket-{abs(hash(request.node.nodeid))}"
    make_bucket = obstore.store.HTTPStore.from_url(s3_surroundings, client_options={"allow_http": True})
    make_bucket.put(name, b"", use_multipart=False)
    return f"s3://{name}"


class TestDirectoryStorage(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path):
        return DirectoryStorage((tmp_path / "a folder/with ünicode").as_uri())


class TestObjectStorage(StorageContract):
    @pytest.fixture
    def storage(self, bucket):
        return ObjectStorage(f"{bucket}/a/prefix")


@pytest.mark.parametrize(
    "url", ["file://relative/path", "file:relative", "file:///a?b", "file:///a#b", "file://", "s3://bucket/file:///a"]
)
def test_a_url_that_names_no_folder_is_refused(url):
    with pytest.raises(StorageError, match="file:///absolute/path"):
        DirectoryStorage(url)


def test_a_directory_is_made_when_it_is_first_written_to(tmp_path):
    storage = DirectoryStorage((tmp_path / "new").as_uri())
    assert not (tmp_path / "new").exists()
    storage.put("key", [b"content"])
    assert (tmp_path / "new/key").read_bytes() == b"content"


def test_a_directory_that_cannot_be_written_to_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    storage = DirectoryStorage((tmp_path / "file").as_uri())
    with pytest.raises(StorageError, match="file"):
        storage.put("key", [b"content"])


def test_the_url_of_a_directory_is_written_as_pathlib_writes_it(tmp_path):
    assert DirectoryStorage(f"file://localhost{tmp_path.as_posix()}/a b").url == (tmp_path / "a b").as_uri()


def test_signing_makes_no_folder(tmp_path):
    storage = DirectoryStorage((tmp_path / "new").as_uri())
    storage.sign("a/key", "GET", lifetime=1)
    assert not (tmp_path / "new").exists()


def test_deleting_a_folder_leaves_no_empty_folders_and_no_partial_files(tmp_path):
    storage = DirectoryStorage(tmp_path.as_uri())
    storage.put("jobs/1/call", [b"content"])
    (tmp_path / "jobs/1/outcome.1234").write_bytes(b"half of an outc")
    (tmp_path / "jobs/1/empty").mkdir()
    storage.delete("jobs/1")
    assert list((tmp_path / "jobs").iterdir()) == []


def test_deleting_a_link_leaves_what_it_points_to(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/precious").write_bytes(b"content")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/link").symlink_to(tmp_path / "other")
    DirectoryStorage((tmp_path / "root").as_uri()).delete("link")
    assert (tmp_path / "other/precious").exists()
    assert not (tmp_path / "root/link").exists()


def test_large_content_comes_in_pieces_without_a_seam(tmp_path):
    storage = DirectoryStorage(tmp_path.as_uri())
    content = os.urandom(33 * 1024 * 1024 + 1)
    storage.put("key", [content])
    assert storage.get("key") == content


def test_messages_end_before_the_structures_of_the_library(bucket):
    with pytest.raises(KeyNotFoundError) as caught:
        ObjectStorage(bucket).get("missing")
    assert "Debug source" not in str(caught.value)
    assert "missing" in str(caught.value)
    assert bucket in str(caught.value)


def test_a_bucket_that_is_not_there_is_a_storage_error(s3_surroundings):
    with pytest.raises(StorageError, match="no-such-bucket"):
        ObjectStorage("s3://no-such-bucket").put("key", [b"content"])


def test_a_url_that_names_no_store_is_a_storage_error():
    with pytest.raises(StorageError, match="gopher://x"):
        ObjectStorage("gopher://x").put("key", [b"content"])


def test_large_objects_are_sent_in_parts(bucket):
    storage = ObjectStorage(bucket)
    content = [bytes([number]) * (40 * 1024 * 1024) for number in range(2)]
    storage.put("large", content)
    # S3 marks an object that came in parts by their number.
    with urlopen(storage.sign("large", "GET", lifetime=60), timeout=60) as response:
        assert response.headers["ETag"].strip('"').endswith("-5")
    assert storage.get("large") == b"".join(content)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("s3://key:secret@bucket/path", "s3://bucket/path"),
        (
            "https://account.blob.core.windows.net/container/path?sig=secret",
            "https://account.blob.core.windows.net/container/path",
        ),
        ("abfs://container@account.dfs.core.windows.net/path", "abfs://container@account.dfs.core.windows.net/path"),
    ],
)
def test_the_url_shows_no_credentials(address, shown):
    assert ObjectStorage(address).url == shown


def test_who_cannot_sign_is_told_what_it_needs(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_SAS_KEY", "sv=2024-01-01&sig=c2VjcmV0")
    storage = ObjectStorage("abfs://container@account.dfs.core.windows.net/path")
    with pytest.raises(StorageError, match="an account key"):
        storage.sign("key", "GET", lifetime=60)


_IN_A_FORKED_CHILD = """
import os, sys
from ascend._builtin.directory import DirectoryStorage
from ascend.errors import StorageError
storage = DirectoryStorage(sys.argv[1])
if sys.argv[2] == "after use":
    storage.put("key", [b"content"])
if os.fork() == 0:
    try:
        storage.put("key", [b"content"])
    except StorageError as exc:
        print(exc)
    else:
        print("stored")
    sys.stdout.flush()
    os._exit(0)
os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize(("when", "said"), [("after use", "'spawn' or 'forkserver'"), ("before use", "stored")])
def test_a_forked_child_gets_an_error_instead_of_hanging(tmp_path, when, said):
    program = [sys.executable, "-c", _IN_A_FORKED_CHILD, tmp_path.as_uri(), when]
    done = subprocess.run(program, capture_output=True, text=True, check=True, timeout=60)
    assert said in done.stdout


def test_signing_a_file_does_not_load_the_library(tmp_path):
    code = (
        "import sys\n"
        "from ascend._builtin.directory import DirectoryStorage\n"
        "storage = DirectoryStorage(sys.argv[1])\n"
        "storage.sign('jobs/1/outcome', 'PUT', lifetime=1)\n"
        "storage.delete('jobs/1')\n"
        "assert 'obstore' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path.as_uri()], check=True, timeout=60)
