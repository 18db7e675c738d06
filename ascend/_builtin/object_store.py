"""Storages `s3://`, `gs://`, `az://`, `abfs://` and the clouds' own `https://` forms: objects in a bucket."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from ascend._builtin.obstore_guard import as_bytes, check_key, keys_below, load_obstore, translated
from ascend.errors import KeyNotFoundError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from obstore.store import AzureStore, GCSStore, S3Store

    from ascend.interfaces import Buffer

__all__ = ["ObjectStorage"]

_ONE_REQUEST = 64 * 1024 * 1024
_PART = 16 * 1024 * 1024
_MOST_PARTS = 9_000
_CHUNK = 4 * 1024 * 1024

_WHO_MAY_SIGN = (
    "signing needs static or temporary keys on S3, a service account's key on Google Cloud, "
    "and an account key or a signed-in identity on Azure"
)


class ObjectStorage:
    """Objects below the bucket and path of a URL such as ``s3://bucket/path``.

    Credentials, region and endpoint come from the surroundings: ``AWS_*``, ``GOOGLE_*`` or ``AZURE_*`` variables,
    or the identity that the cloud gives to this machine. They never appear in `url`.
    """

    def __init__(self, url: str) -> None:
        self._address = url

    @property
    def url(self) -> str:
        parts = urlsplit(self._address)
        # A part before @ is Azure's container; with a colon in it, it is a password.
        host = parts.netloc.rpartition("@")[2] if ":" in parts.netloc.rpartition("@")[0] else parts.netloc
        return f"{parts.scheme}://{host}{parts.path}"

    @cached_property
    def _opened(self) -> S3Store | GCSStore | AzureStore:
        obstore = load_obstore()
        with translated("open the storage", self.url):
            # The time-out is for a whole request, so a large object needs a long one.
            store: S3Store | GCSStore | AzureStore = obstore.store.from_url(
                self._address,
                client_options={
                    "timeout": "30min",
                    "connect_timeout": "5s",
                    "read_timeout": "60s",
                    "allow_http": _may_speak_http(os.environ),
                },
                retry_config={"max_retries": 6, "retry_timeout": timedelta(minutes=5)},
            )
        return store

    @property
    def _store(self) -> S3Store | GCSStore | AzureStore:
        load_obstore()
        return self._opened

    def put(self, key: str, buffers: Sequence[Buffer]) -> None:
        check_key(self.url, key)
        content = as_bytes(buffers)
        size = sum(buffer.nbytes for buffer in content)
        with translated(f"write {key!r}", self.url):
            if size <= _ONE_REQUEST:
                self._store.put(key, content, use_multipart=False)
            else:
                part = max(_PART, -(-size // _MOST_PARTS))
                self._store.put(key, content, use_multipart=True, chunk_size=part, max_concurrency=8)

    def get(self, key: str) -> memoryview:
        check_key(self.url, key)
        with translated(f"read {key!r}", self.url, missing=KeyNotFoundError):
            found = self._store.get(key)
            content = memoryview(bytearray(found.meta["size"]))
            at = 0
            for chunk in found.stream(min_chunk_size=_CHUNK):
                content[at : at + len(chunk)] = memoryview(chunk)
                at += len(chunk)
        if at != len(content):
            msg = f"cannot read {key!r} at {self.url}: {at:,} of {len(content):,} bytes came"
            raise StorageError(msg)
        return content

    def list(self, prefix: str) -> Iterator[str]:
        return keys_below(self._store, self.url, prefix)

    def delete(self, prefix: str) -> None:
        check_key(self.url, prefix)
        below = [*keys_below(self._store, self.url, prefix)]
        with translated(f"delete {prefix!r}", self.url):
            try:
                self._store.delete([prefix, *below])
            except FileNotFoundError:
                # Some stores stop at what is not there.
                for key in below:
                    self._delete_one(key)
                self._delete_one(prefix)

    def _delete_one(self, key: str) -> None:
        with suppress(FileNotFoundError):
            self._store.delete(key)

    def sign(self, key: str, method: Literal["GET", "PUT"], *, lifetime: float) -> str:
        check_key(self.url, key)
        obstore = load_obstore()
        try:
            with translated(f"sign a URL of {key!r}", self.url):
                signed: str = obstore.sign(self._store, method, key, timedelta(seconds=lifetime))
        except StorageError as exc:
            msg = f"{exc}. Tasks without credentials need signed URLs: {_WHO_MAY_SIGN}"
            raise StorageError(msg) from exc.__cause__
        return signed


def _may_speak_http(environ: Mapping[str, str]) -> bool:
    # Options given in code replace those that obstore reads from the environment.
    return any(environ.get(f"{cloud}_ALLOW_HTTP", "").lower() in {"1", "true"} for cloud in ("AWS", "AZURE", "GOOGLE"))
