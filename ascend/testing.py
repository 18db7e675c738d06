"""What the protocols of `ascend.interfaces` promise, as tests that authors of plugins inherit.

::

    class TestBucket(StorageContract):
        @pytest.fixture
        def storage(self):
            return Bucket("nimbus://tests")

Each class names the fixtures to override; each test stands for one sentence of the protocol. Needs pytest.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from queue import Queue
from threading import Barrier, Thread
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import Request, url2pathname, urlopen

import pluggy
import pytest

from ascend import hookspecs
from ascend._core.manifest import Delivery, default_image, job_manifest
from ascend.errors import EnvironmentBuildError, KeyNotFoundError, StorageError
from ascend.interfaces import Cluster, ImageBuilder, Serializer, Storage
from ascend.model import Environment, JobOutput, JobStatus, Needs, Profile, Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ascend.model import Manifest

__all__ = [
    "ClusterContract",
    "ImageBuilderContract",
    "SerializerContract",
    "StorageContract",
    "check_modify_job_leaves_others_alone",
    "sample_job",
    "sample_task",
]

_MEBIBYTE = 1024 * 1024
_THREADS = 8
_PATIENCE = 60.0
_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


class StorageContract:
    """What every storage promises. Override the fixture ``storage``: an empty one for each test."""

    @pytest.fixture
    def storage(self) -> Storage:
        """Return an empty storage."""
        raise NotImplementedError

    def test_it_is_a_storage(self, storage: Storage) -> None:
        """It has what the protocol asks for, and a URL with a scheme."""
        assert isinstance(storage, Storage)
        assert urlsplit(storage.url).scheme

    def test_get_returns_what_put_stored(self, storage: Storage) -> None:
        """Content comes back byte by byte."""
        storage.put("jobs/1/call", [b"content"])
        assert bytes(storage.get("jobs/1/call")) == b"content"

    def test_buffers_are_stored_one_behind_the_other(self, storage: Storage) -> None:
        """Every kind of buffer is taken, in the order given."""
        storage.put("key", [b"bytes ", bytearray(b"bytearray "), b"", memoryview(b"a memoryview")[2:]])
        assert bytes(storage.get("key")) == b"bytes bytearray memoryview"

    def test_put_leaves_the_buffers_as_they_were(self, storage: Storage) -> None:
        """What was given is neither changed nor kept."""
        given = bytearray(b"before")
        storage.put("key", [given])
        assert given == b"before"
        given[:] = b"after!"
        assert bytes(storage.get("key")) == b"before"

    @pytest.mark.parametrize("buffers", [[], [b""], [b"", bytearray()]])
    def test_nothing_can_be_stored(self, storage: Storage, buffers: list[bytes]) -> None:
        """An empty content is a content."""
        storage.put("empty", buffers)
        assert len(storage.get("empty")) == 0
        assert list(storage.list("")) == ["empty"]

    def test_large_buffers_come_back_whole(self, storage: Storage) -> None:
        """64 MiB in several buffers, of a length that no block size divides."""
        buffers = [os.urandom(24 * _MEBIBYTE), bytearray(os.urandom(40 * _MEBIBYTE)), memoryview(b"and a rest")]
        storage.put("large", buffers)
        content, at = storage.get("large"), 0
        for buffer in buffers:
            assert content[at : at + len(buffer)] == buffer
            at += len(buffer)
        assert len(content) == at

    def test_what_get_returns_can_be_written_to(self, storage: Storage) -> None:
        """Arrays that are made of it are writable, and the stored content stays."""
        storage.put("key", [b"content"])
        content = storage.get("key")
        assert not content.readonly
        content[:1] = b"C"
        assert bytes(storage.get("key")) == b"content"

    def test_put_replaces_what_was_there(self, storage: Storage) -> None:
        """Nothing of a longer content remains behind a shorter one."""
        storage.put("key", [b"the first and longer one"])
        storage.put("key", [b"the second"])
        assert bytes(storage.get("key")) == b"the second"

    def test_replacing_is_all_or_nothing(self, storage: Storage) -> None:
        """A reader sees one content or the other, never parts of both."""
        contents = [bytes([number]) * (17 * _MEBIBYTE + number) for number in range(2)]
        storage.put("key", [contents[0]])
        with ThreadPoolExecutor(2) as threads:
            writing = [threads.submit(storage.put, "key", [contents[number % 2]]) for number in range(1, 5)]
            while not all(future.done() for future in writing):
                assert storage.get("key") in contents
            for future in writing:
                future.result()

    @pytest.mark.parametrize("key", ["a key/with blanks", "schlüssel/鍵", "50%/a%20b", "q?a=1&b#c", "x/.hidden", "A~(1)+@"])
    def test_keys_may_hold_any_printable_character(self, storage: Storage, key: str) -> None:
        """A key is found again, and listed, as it was written."""
        storage.put(key, [b"content"])
        assert bytes(storage.get(key)) == b"content"
        assert list(storage.list("")) == [key]
        storage.delete(key)
        assert list(storage.list("")) == []

    @pytest.mark.parametrize("key", ["", "/absolute", "folder/", "a//b", "../outside", "a/../b", "."])
    def test_what_is_no_key_is_refused(self, storage: Storage, key: str) -> None:
        """Nothing is read or written outside the storage, whatever the key says."""
        with pytest.raises(StorageError):
            storage.put(key, [b"content"])
        with pytest.raises(StorageError):
            storage.get(key)
        with pytest.raises(StorageError):
            storage.sign(key, "GET", lifetime=60)

    def test_a_missing_key_has_its_own_error(self, storage: Storage) -> None:
        """The error names the key."""
        storage.put("folder/other", [b"content"])
        with pytest.raises(KeyNotFoundError, match="folder/missing"):
            storage.get("folder/missing")
        with pytest.raises(KeyNotFoundError):
            storage.get("folder")

    def test_list_yields_the_keys_below_a_prefix(self, storage: Storage) -> None:
        """A prefix ends where a part of the key ends; the empty one is above everything."""
        for key in ("jobs/1/call", "jobs/1/outcome", "jobs/10/call", "sources/1"):
            storage.put(key, [b"content"])
        assert sorted(storage.list("jobs/1")) == ["jobs/1/call", "jobs/1/outcome"]
        assert sorted(storage.list("jobs")) == ["jobs/1/call", "jobs/1/outcome", "jobs/10/call"]
        assert sorted(storage.list("")) == ["jobs/1/call", "jobs/1/outcome", "jobs/10/call", "sources/1"]
        assert list(storage.list("missing")) == []

    def test_delete_removes_the_key(self, storage: Storage) -> None:
        """Only that key goes."""
        storage.put("folder/one", [b"1"])
        storage.put("folder/other", [b"2"])
        storage.delete("folder/one")
        assert list(storage.list("")) == ["folder/other"]

    def test_delete_removes_every_key_below_a_prefix(self, storage: Storage) -> None:
        """Deep ones too, and none beside it."""
        for key in ("jobs/1/call", "jobs/1/deep/er/still", "jobs/10/call"):
            storage.put(key, [b"content"])
        storage.delete("jobs/1")
        assert list(storage.list("")) == ["jobs/10/call"]
        storage.put("jobs/1/call", [b"again"])
        assert bytes(storage.get("jobs/1/call")) == b"again"

    def test_deleting_what_is_not_there_is_no_error(self, storage: Storage) -> None:
        """Once or twice."""
        storage.delete("missing")
        storage.put("key", [b"content"])
        storage.delete("key")
        storage.delete("key")

    def test_eight_threads_may_use_it_at_once(self, storage: Storage) -> None:
        """Each finds its own content, and deleting one thing does not disturb another."""
        barrier = Barrier(_THREADS)

        def work(number: int) -> bool:
            barrier.wait(_PATIENCE)
            for turn in range(5):
                content = f"{number} {turn}".encode() * 1000
                storage.put(f"jobs/{number}/call", [content])
                if storage.get(f"jobs/{number}/call") != content:
                    return False
                storage.delete(f"jobs/{number}")
            return True

        with ThreadPoolExecutor(_THREADS) as threads:
            assert all(threads.map(work, range(_THREADS)))
        assert list(storage.list("")) == []

    def test_a_signed_url_reads_the_content(self, storage: Storage) -> None:
        """As the runner reads it, without any credentials."""
        storage.put("jobs/1/a call", [b"content"])
        assert _read_url(storage.sign("jobs/1/a call", "GET", lifetime=60)) == b"content"

    def test_a_signed_url_writes_the_content(self, storage: Storage) -> None:
        """As the runner writes it, also where no key was before."""
        _write_url(storage.sign("jobs/1/an outcome", "PUT", lifetime=60), [b"con", b"tent"])
        assert bytes(storage.get("jobs/1/an outcome")) == b"content"


class ImageBuilderContract:
    """What every image builder promises. Override ``builder``, and ``possible`` and ``impossible`` as it needs."""

    @pytest.fixture
    def builder(self) -> ImageBuilder:
        """Return a builder that has built nothing yet."""
        raise NotImplementedError

    @pytest.fixture
    def possible(self) -> Environment:
        """Return an environment that can be had."""
        return Environment((), _PYTHON, default_image())

    @pytest.fixture
    def impossible(self) -> Environment:
        """Return an environment that cannot be had."""
        return Environment(("ascend-contract==0", "ascend-contract==1"), _PYTHON, default_image())

    def test_it_is_an_image_builder(self, builder: ImageBuilder) -> None:
        """It has what the protocol asks for, and a name."""
        assert isinstance(builder, ImageBuilder)
        assert builder.name

    def test_it_returns_a_reference(self, builder: ImageBuilder, possible: Environment) -> None:
        """The same for the same environment."""
        reference = builder.ensure(possible, _ignore)
        assert reference
        assert builder.ensure(possible, _ignore) == reference

    def test_many_threads_get_one_image(self, builder: ImageBuilder, possible: Environment) -> None:
        """An environment that many ask for at once is built once."""
        barrier = Barrier(_THREADS)

        def ask(_: int) -> str:
            barrier.wait(_PATIENCE)
            return builder.ensure(possible, _ignore)

        with ThreadPoolExecutor(_THREADS) as threads:
            assert len(set(threads.map(ask, range(_THREADS)))) == 1

    def test_it_reports_lines(self, builder: ImageBuilder, possible: Environment) -> None:
        """What a waiting user is told has no line breaks in it."""
        lines: list[str] = []
        builder.ensure(possible, lines.append)
        assert all(line and "\n" not in line for line in lines)

    def test_what_cannot_be_had_is_an_error(self, builder: ImageBuilder, impossible: Environment) -> None:
        """Every time, and the error names what was asked for."""
        for _ in range(2):
            with pytest.raises(EnvironmentBuildError, match=impossible.requirements[0]):
                builder.ensure(impossible, _ignore)


class SerializerContract:
    """What every serializer promises. Override the fixture ``serializer``."""

    @pytest.fixture
    def serializer(self) -> Serializer:
        """Return the serializer."""
        raise NotImplementedError

    def test_it_is_a_serializer(self, serializer: Serializer) -> None:
        """It has what the protocol asks for, and a name."""
        assert isinstance(serializer, Serializer)
        assert serializer.name

    @pytest.mark.parametrize("value", [None, 0, "text", b"bytes", [1, {"a": (2.5, {3})}], int, ValueError])
    def test_loads_returns_what_dumps_was_given(self, serializer: Serializer, value: object) -> None:
        """Plain values, and classes that both sides have."""
        buffers: list[Any] = []
        data = serializer.dumps(value, buffers.append)
        assert isinstance(data, bytes)
        assert serializer.loads(data, buffers) == value

    def test_it_takes_what_a_storage_returns(self, serializer: Serializer) -> None:
        """Serialized bytes come back as writable memory."""
        data = memoryview(bytearray(serializer.dumps({"a": 1}, _ignore)))
        assert serializer.loads(data, []) == {"a": 1}
