"""A registry of images: the part of the OCI distribution API that finding, building and removing images needs.

Standard library only, since it also runs in the pods of builders, out of the runner's archive.
The API: github.com/opencontainers/distribution-spec.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode, urljoin

from ascend.building.credentials import DockerConfig
from ascend.building.registry_session import Call, Session
from ascend.building.registry_uploads import Content, upload
from ascend.errors import ImageNotFoundError, RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ascend.building.names import ImageName
    from ascend.building.registry_session import Answer

__all__ = ["Descriptor", "ImageManifest", "Registry"]

_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_ACCEPT = ("Accept", ", ".join(_MANIFESTS))
_CREATED, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 201, 401, 403, 404
_CHUNK = 1 << 20
TAGS_A_PAGE = 500
_PULL, _PUSH, _DELETE = "pull", "pull,push", "pull,delete"


class Descriptor(NamedTuple):
    """A blob as manifests name it."""

    media_type: str
    digest: str
    size: int

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Descriptor:
        """Return the one that a manifest has as JSON."""
        return cls(entry["mediaType"], entry["digest"], entry["size"])

    def to_dict(self) -> dict[str, Any]:
        """Return it as manifests have it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


class ImageManifest(NamedTuple):
    """The manifest of one image for one platform, and its own *digest*."""

    digest: str
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


class Registry:
    """The registry called *name*, with the credentials of *config*; one object is for one thread at a time."""

    def __init__(
        self, name: str, *, plain: bool = False, config: DockerConfig | None = None, ca_file: str | None = None
    ) -> None:
        self.name = name
        find = (config or DockerConfig.of_user()).find
        self._session = Session(name, plain=plain, credentials=find, ca_file=ca_file)

    def digest(self, image: ImageName) -> str | None:
        """Return the digest of what *image* names, whatever that is; `None` if it is not there."""
        target = f"{image.repository}/manifests/{image.wanted}"
        call = Call("HEAD", target, ((image.repository, _PULL),), (_ACCEPT,))
        answer = self._session.send(call, expected=(_NOT_FOUND,))
        if answer.status == _NOT_FOUND:
            return None
        return answer.headers.get("docker-content-digest") or self._get(image)[0]

    def manifest(self, image: ImageName, platform: str) -> ImageManifest:
        """Return the manifest of *image*; of one for many platforms, such as ``linux/amd64``, that of *platform*."""
        digest, document = self._get(image)
        if "manifests" in document:
            return self.manifest(image.at(_of_platform(document, platform, image)), platform)
        try:
            layers = tuple(Descriptor.of(layer) for layer in document["layers"])
            return ImageManifest(digest, document["mediaType"], Descriptor.of(document["config"]), layers)
        except (KeyError, TypeError) as exc:
            msg = f"{image} has a manifest of a kind that is not understood: {document.get('mediaType')}"
            raise RegistryError(msg) from exc

    def blob(self, repository: str, digest: str) -> bytes:
        """Return the content of a small blob, such as an image's configuration."""
        call = Call("GET", f"{repository}/blobs/{digest}", ((repository, _PULL),))
        return self._checked(self._session.send(call).content, digest, repository)

    def has_blob(self, repository: str, digest: str) -> bool:
        """Tell whether *repository* has a blob."""
        call = Call("HEAD", f"{repository}/blobs/{digest}", ((repository, _PULL),))
        return self._session.send(call, expected=(_NOT_FOUND,)).status != _NOT_FOUND

    def mount(self, repository: str, digest: str, source: str) -> bool:
        """Have *repository* share a blob of the repository *source*; false if the registry does not do that."""
        target = f"{repository}/blobs/uploads/?{urlencode({'mount': digest, 'from': source})}"
        call = Call("POST", target, ((source, _PULL), (repository, _PUSH)), (("Content-Length", "0"),))
        # Who may not read the source may perhaps still copy it from elsewhere; whether one may push, uploads tell.
        answer = self._session.send(call, expected=(_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND))
        return answer.status == _CREATED

    def copy(self, source: Registry, blob: Descriptor, origin: str, repository: str) -> str:
        """Bring a blob of the repository *origin* of *source* into *repository*; return how: kept, mounted, copied."""
        if self.has_blob(repository, blob.digest):
            return "kept"
        if source.name == self.name and self.mount(repository, blob.digest, origin):
            return "mounted"
        with TemporaryDirectory() as folder:
            path = Path(folder, "blob")
            source.download(origin, blob.digest, path)
            upload(self._session, repository, Content(path))
        return "copied"

    def download(self, repository: str, digest: str, path: Path) -> None:
        """Write a blob to *path*."""
        call = Call("GET", f"{repository}/blobs/{digest}", ((repository, _PULL),))
        found = hashlib.new(digest.partition(":")[0])
        with self._session.open(call) as response, path.open("wb") as file:
            while chunk := self._session.read(response, _CHUNK):
                found.update(chunk)
                file.write(chunk)
        if found.hexdigest() != digest.partition(":")[2]:
            raise _damaged(self.name, repository, digest)

    def upload(self, repository: str, content: bytes | Path) -> Descriptor:
        """Bring *content* into *repository* unless it is there; return it, with an empty media type."""
        body = Content(content)
        if not self.has_blob(repository, body.digest):
            upload(self._session, repository, body)
        return Descriptor("", body.digest, body.size)

    def put_manifest(self, image: ImageName, document: dict[str, Any]) -> str:
        """Give a manifest the name *image*, once all that it names is there; return its digest."""
        data = json.dumps(document, separators=(",", ":")).encode()
        content = Content(data)
        call = Call(
            "PUT",
            f"{image.repository}/manifests/{image.wanted}",
            ((image.repository, _PUSH),),
            (("Content-Type", document["mediaType"]),),
            content.open,
            content.size,
        )
        self._session.send(call)
        return content.digest

    def delete(self, image: ImageName) -> bool:
        """Remove an image with all its names; false if it is gone. Its blobs go when the registry cleans up."""
        digest = image.digest or self.digest(image)
        if digest is None:
            return False
        call = Call("DELETE", f"{image.repository}/manifests/{digest}", ((image.repository, _DELETE),))
        return self._session.send(call, expected=(_NOT_FOUND,)).status != _NOT_FOUND

    def tags(self, repository: str) -> Iterator[str]:
        """Yield the tags of *repository*; none if there is no such repository."""
        target = f"{repository}/tags/list?n={TAGS_A_PAGE}"
        while target:
            call = Call("GET", target, ((repository, _PULL),))
            answer = self._session.send(call, expected=(_NOT_FOUND,))
            if answer.status == _NOT_FOUND:
                return
            yield from json.loads(answer.content).get("tags") or ()
            target = _next_page(answer)

    def _get(self, image: ImageName) -> tuple[str, dict[str, Any]]:
        target = f"{image.repository}/manifests/{image.wanted}"
        answer = self._session.send(Call("GET", target, ((image.repository, _PULL),), (_ACCEPT,)))
        digest = image.digest or Content(answer.content).digest
        content = self._checked(answer.content, digest, image.repository)
        document: dict[str, Any] = json.loads(content)
        # The field is optional in OCI manifests; the header is not.
        document.setdefault("mediaType", answer.headers.get("content-type", "").partition(";")[0])
        return digest, document

    def _checked(self, content: bytes, digest: str, repository: str) -> bytes:
        algorithm, _, wanted = digest.partition(":")
        if hashlib.new(algorithm, content).hexdigest() != wanted:
            raise _damaged(self.name, repository, digest)
        return content


def _of_platform(document: dict[str, Any], platform: str, image: ImageName) -> str:
    system, _, architecture = platform.partition("/")
    there = []
    for each in document["manifests"]:
        found = each.get("platform") or {}
        if (found.get("os"), found.get("architecture")) == (system, architecture):
            return str(each["digest"])
        there.append(f"{found.get('os')}/{found.get('architecture')}")
    msg = f"{image} is not for {platform}: it is for {', '.join(sorted(set(there)))}"
    raise ImageNotFoundError(msg)


def _damaged(registry: str, repository: str, digest: str) -> RegistryError:
    return RegistryError(f"what {registry} sends as {repository}@{digest} is something else: is a cache before it?")


def _next_page(answer: Answer) -> str:
    target, _, relation = answer.headers.get("link", "").partition(">")
    return urljoin(answer.url, target.lstrip("< ")) if target and 'rel="next"' in relation else ""
