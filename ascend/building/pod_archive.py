"""The archive with what runs in the pods of builders: a few modules of ascend, as source, and nothing else."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path

__all__ = ["pod_archive"]

_EPOCH = (1980, 1, 1, 0, 0, 0)
# Each of them imports the standard library and others of these only; a test starts them in a bare Python.
_MODULES = (
    "__init__",
    "_core/__init__",
    "_core/guard",
    "_core/install_words",
    "_core/layer_archive",
    "_core/pod_install",
    "_core/pod_layer",
    "_core/transport",
    "_core/wire",
    "building/__init__",
    "building/credentials",
    "building/names",
    "building/registry",
    "building/registry_answers",
    "building/registry_session",
    "building/registry_uploads",
    "errors",
)


@cache
def pod_archive() -> bytes:
    """Return the archive: the same for the same version of ascend."""
    import ascend  # noqa: PLC0415 - its file tells where the others are

    root, target = Path(str(ascend.__file__)).parent, io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in _MODULES:
            entry = zipfile.ZipInfo(f"ascend/{name}.py", _EPOCH)
            archive.writestr(entry, (root / f"{name}.py").read_bytes(), zipfile.ZIP_DEFLATED)
    return target.getvalue()
