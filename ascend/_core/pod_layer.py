"""The program in the pod of the builder `layer`: installs a lock, makes a layer of it, pushes that on top of the base.

Standard library only: it starts from an archive on a bare Python, under the restricted profile. What it is told comes
in environment variables: those of `ascend._core.pod_install`, and

=========================  ====================================================================
``ASCEND_LAYER_BASE``      the image that the layer goes onto
``ASCEND_LAYER_IMAGE``     what the result is called
``ASCEND_LAYER_PLAIN``     the registries that speak no TLS, separated by blanks
``ASCEND_LAYER_PLATFORM``  what the image is for, such as ``linux/amd64``
``ASCEND_LAYER_LABELS``    the labels of the image, as JSON
``ASCEND_RECEIPT``         the file for what went wrong, as JSON
=========================  ====================================================================
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from ascend._core import guard
from ascend._core.install_words import remedy_of
from ascend._core.layer_archive import PACKAGES, compile_all, path_file, write_layer
from ascend._core.pod_install import install_into
from ascend._core.transport import transport_of
from ascend.building.names import ImageName, parse_image
from ascend.building.registry import Descriptor, ImageManifest, Registry
from ascend.errors import AscendError, RegistryError

if TYPE_CHECKING:
    from ascend._core.layer_archive import Layer

__all__ = ["main"]

_DOCKER = "application/vnd.docker."
_OCI_TYPES = "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip"
_DOCKER_TYPES = f"{_DOCKER}container.image.v1+json", f"{_DOCKER}image.rootfs.diff.tar.gzip"


class _Step:
    """Says what is being done and how long it took; keeps the name for the receipt."""

    name = "start"
    _started = 0.0

    def begin(self, name: str) -> None:
        self.name = name
        self._started = perf_counter()

    def done(self, words: str) -> None:
        print(f"{self.name}: {words} ({perf_counter() - self._started:.1f} s)", flush=True)


class _Registries(NamedTuple):
    """How registries are spoken to: without TLS if they are *plain*, else trusted also if *ca_file* says so."""

    plain: list[str]
    ca_file: str | None

    def get(self, image: ImageName) -> Registry:
        """Return the registry of *image*, for one thread."""
        return Registry(image.registry, plain=image.registry in self.plain, ca_file=self.ca_file)


def main() -> None:
    """Build and push; on failure write the receipt and exit with 1."""
    settings = dict(os.environ)
    step = _Step()
    try:
        _build(settings, step)
    except (AscendError, guard.Failure, OSError) as exc:
        message = exc.message + remedy_of(exc.message) if isinstance(exc, guard.Failure) else str(exc)
        kind = type(exc).__name__ if isinstance(exc, RegistryError) else ""
        print(f"{step.name} failed: {message}", file=sys.stderr, flush=True)
        # A termination message has at most 4,096 bytes.
        receipt = json.dumps({"step": step.name, "kind": kind, "message": message[-1500:]})
        Path(settings["ASCEND_RECEIPT"]).write_text(receipt, encoding="utf-8")
        sys.exit(1)


def _build(settings: dict[str, str], step: _Step) -> None:
    base, image = parse_image(settings["ASCEND_LAYER_BASE"]), parse_image(settings["ASCEND_LAYER_IMAGE"])
    registries = _Registries(settings["ASCEND_LAYER_PLAIN"].split(), _certificates(settings))
    with tempfile.TemporaryDirectory() as draft, ThreadPoolExecutor(1) as pool:
        step.begin("base")
        origin = registries.get(base)
        below = origin.manifest(base, settings["ASCEND_LAYER_PLATFORM"])
        config = json.loads(origin.blob(base.repository, below.config.digest))
        step.done(f"{base} has {len(below.layers)} layers")
        # The installer leaves the network and the cores some room.
        shared = pool.submit(_share, below, base, image, registries)
        layer = _make_layer(settings, step, Path(draft))
        step.begin("push")
        words = shared.result()
        registry = registries.get(image)
        blob = registry.upload(image.repository, layer.path)
        step.done(f"{blob.size / 1e6:.1f} MB to {image.registry}/{image.repository}; layers of the base: {words}")
        step.begin("manifest")
        digest = _put(
            registry, image, below, _changed(config, layer, json.loads(settings["ASCEND_LAYER_LABELS"])), blob
        )
        step.done(f"{image} is {digest}")


def _certificates(settings: dict[str, str]) -> str | None:
    url = settings.get("ASCEND_CERTIFICATES_URL")
    if url is None:
        return None
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(transport_of(url).read(url))
    return file.name


def _share(below: ImageManifest, base: ImageName, image: ImageName, registries: _Registries) -> str:
    """Have the repository of *image* hold the layers of the base; return how, in words."""
    origin, registry = registries.get(base), registries.get(image)
    ways = [registry.copy(origin, layer, base.repository, image.repository) for layer in below.layers]
    return ", ".join(f"{ways.count(way)} {way}" for way in sorted(set(ways))) or "none"


def _make_layer(settings: dict[str, str], step: _Step, draft: Path) -> Layer:
    root, rest = draft / "root", draft / "rest"
    target = root / PACKAGES.lstrip("/")
    target.parent.mkdir(parents=True)
    rest.mkdir()
    step.begin("install")
    install_into(settings, transport_of, str(rest), str(target))
    step.done(f"{sum(1 for path in target.rglob('*.dist-info'))} distributions into {PACKAGES}")
    step.begin("compile")
    step.done(f"{compile_all(root, target)} modules")
    place, line = path_file()
    path = root / place.lstrip("/")
    path.parent.mkdir(parents=True)
    path.write_text(line, encoding="utf-8")
    step.begin("pack")
    layer = write_layer(root, draft / "layer.tar.gz")
    step.done(f"{layer.plain_size / 1e6:.1f} MB in {layer.files} files")
    return layer


def _changed(config: dict[str, Any], layer: Layer, labels: dict[str, str]) -> dict[str, Any]:
    """Return the configuration of the base with the layer on top, and its programs on the path."""
    settings = config.setdefault("config", None) or {}
    environ = dict(each.partition("=")[::2] for each in settings.get("Env") or ())
    default = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    environ["PATH"] = f"{PACKAGES}/bin:{environ.get('PATH') or default}"
    settings["Env"] = [f"{name}={value}" for name, value in environ.items()]
    settings["Labels"] = {**(settings.get("Labels") or {}), **labels}
    config["config"] = settings
    config["rootfs"]["diff_ids"] = [*config["rootfs"]["diff_ids"], layer.plain_digest]
    if "history" in config:
        # One entry for each layer, or none at all.
        config["history"] = [*config["history"], {"created_by": "ascend layer"}]
    return config


def _put(registry: Registry, image: ImageName, below: ImageManifest, config: dict[str, Any], layer: Descriptor) -> str:
    types = _DOCKER_TYPES if below.media_type.startswith(_DOCKER) else _OCI_TYPES
    blob = registry.upload(image.repository, json.dumps(config, separators=(",", ":"), sort_keys=True).encode())
    layers = [*below.layers, layer._replace(media_type=types[1])]
    document = {
        "schemaVersion": 2,
        "mediaType": below.media_type,
        "config": blob._replace(media_type=types[0]).to_dict(),
        "layers": [each.to_dict() for each in layers],
    }
    return registry.put_manifest(image, document)
