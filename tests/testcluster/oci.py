"""Images without an engine: layers as folders on this machine, pushed to a registry as the specification says."""

from __future__ import annotations

import gzip
import hashlib
import json
import platform
import shutil
import tarfile
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import urllib3

from tests.testcluster.paths import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_HTTP = urllib3.PoolManager(retries=False, timeout=60)


@dataclass(frozen=True)
class Layer:
    """A layer, as a file; what is in it is named by two digests."""

    path: Path
    digest: str
    plain_digest: str

    @classmethod
    def of_folder(cls, root: Path, path: Path, capabilities: Mapping[str, bytes] | None = None) -> Layer:
        """Write what is in *root* as a layer to *path*: the same digest for the same content.

        *capabilities* are those that files have by themselves, as the kernel keeps them.
        """
        draft = path.with_suffix(".tar")

        def changed(entry: tarfile.TarInfo) -> tarfile.TarInfo:
            given = (capabilities or {}).get(entry.name.removeprefix("./"))
            if given is not None:
                entry.pax_headers = {"SCHILY.xattr.security.capability": given.decode("utf-8", "surrogateescape")}
            return _owned_by_root(entry)

        with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT if capabilities else tarfile.GNU_FORMAT) as archive:
            archive.add(root, arcname=".", filter=changed)
        layer = cls.of_archive(draft, path)
        draft.unlink()
        return layer

    @classmethod
    def of_archive(cls, archive: Path, path: Path) -> Layer:
        """Write what the tar *archive* holds, with its owners and devices, as a layer to *path*."""
        with archive.open("rb") as plain, path.open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed:
            shutil.copyfileobj(plain, packed)
        return cls(path, _digest_of_file(path), _digest_of_file(archive))


@dataclass(frozen=True)
class Image:
    """An image: its layers, from the bottom up, and how it runs."""

    layers: tuple[Layer, ...]
    settings: dict[str, Any]

    def push(self, registry: str, name: str, tag: str) -> None:
        """Push to *registry* what it does not have."""
        config = {
            "architecture": _ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": self.settings,
            "rootfs": {"type": "layers", "diff_ids": [layer.plain_digest for layer in self.layers]},
        }
        data = json.dumps(config).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": _CONFIG, "digest": _digest(data), "size": len(data)},
            "layers": [
                {"mediaType": _LAYER, "digest": layer.digest, "size": layer.path.stat().st_size}
                for layer in self.layers
            ],
        }
        base = f"http://{registry}/v2/{name}"
        for layer in self.layers:
            if _HTTP.request("HEAD", f"{base}/blobs/{layer.digest}").status != HTTPStatus.OK:
                _upload(base, layer.digest, layer.path.read_bytes())
        _upload(base, _digest(data), data)
        _send("PUT", f"{base}/manifests/{tag}", json.dumps(manifest).encode(), MANIFEST)


def has(registry: str, name: str, tag: str) -> bool:
    """Tell whether *registry* has an image."""
    answer = _HTTP.request("HEAD", f"http://{registry}/v2/{name}/manifests/{tag}", headers={"Accept": MANIFEST})
    return answer.status == HTTPStatus.OK


def _upload(base: str, digest: str, data: bytes) -> None:
    place = _send("POST", f"{base}/blobs/uploads/", b"", "application/octet-stream").headers["Location"]
    place = urljoin(base, place)
    joint = "&" if "?" in place else "?"
    _send("PUT", f"{place}{joint}digest={digest}", data, "application/octet-stream")


def _send(method: str, url: str, data: bytes, content: str) -> urllib3.BaseHTTPResponse:
    answer = _HTTP.request(method, url, body=data, headers={"Content-Type": content})
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise ClusterError(f"the registry refused {method} {url}: {answer.status} {answer.data!r}")
    return answer


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
