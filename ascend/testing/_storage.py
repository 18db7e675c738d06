"""The promises of `ascend.interfaces.Storage`."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from ascend._core.transport import transport_of
from ascend.errors import KeyNotFoundError, StorageError
from ascend.interfaces import Storage

if TYPE_CHECKING:
    from ascend.interfaces import Buffer

_PATIENCE = 60.0
_MEBIBYTE = 1024 * 1024
_THREADS = 8


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
        buffers: list[Buffer] = [
            os.urandom(24 * _MEBIBYTE),
            bytearray(os.urandom(40 * _MEBIBYTE)),
            memoryview(b"and a rest"),
        ]
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

    @pytest.mark.parametrize(
        "key", ["a key/with blanks", "schlüssel/鍵", "50%/a%20b", "q?a=1&b#c", "x/.hidden", "A~(1)+@"]
    )
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
        url = storage.sign("jobs/1/a call", "GET", lifetime=60)
        assert bytes(transport_of(url).read(url)) == b"content"

    def test_a_signed_url_writes_the_content(self, storage: Storage) -> None:
        """As the runner writes it, also where no key was before."""
        url = storage.sign("jobs/1/an outcome", "PUT", lifetime=60)
        transport_of(url).write(url, [b"con", b"tent"])
        assert bytes(storage.get("jobs/1/an outcome")) == b"content"
