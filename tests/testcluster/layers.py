"""Layers that are made once for each content, and then taken from the user's cache."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.testcluster.oci import Layer
from tests.testcluster.paths import cache

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def of_folder(key: str, make: Callable[[Path], None], capabilities: Mapping[str, bytes] | None = None) -> Layer:
    """Return the layer called *key*, from the cache or as *make* fills its folder; see `Layer.of_folder`."""

    def write(draft: Path) -> Layer:
        root = draft / "root"
        root.mkdir(mode=0o755)
        make(root)
        return Layer.of_folder(root, draft / "layer.gz", capabilities)

    return _cached(key, write)


def of_archive(key: str, make: Callable[[Path], None]) -> Layer:
    """Return the layer called *key*, from the cache or as *make* writes it to a tar file: with owners and devices."""

    def write(draft: Path) -> Layer:
        make(draft / "root.tar")
        return Layer.of_archive(draft / "root.tar", draft / "layer.gz")

    return _cached(key, write)


def _cached(key: str, write: Callable[[Path], Layer]) -> Layer:
    folder = cache() / "layers"
    facts = folder / f"{key}.json"
    if not facts.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as draft:
            layer = write(Path(draft))
            layer.path.replace(folder / f"{key}.tar.gz")
        facts.write_text(json.dumps([layer.digest, layer.plain_digest]))
    return Layer(folder / f"{key}.tar.gz", *json.loads(facts.read_text()))
