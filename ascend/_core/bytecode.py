"""Bytecode of the few modules of the standard library that every task imports, for images that have none.

Stock images come without, and a pod's file system is read-only: each task would compile these modules, half of all that
it does before its call. The client sends their bytecode along, with the hash of the source that it was made from: an
interpreter whose source differs leaves it aside (PEP 552, checked hash-based pycs).
"""

from __future__ import annotations

import os
import sys

__all__ = ["MODULES", "RESOURCE", "install"]

MODULES = (
    "__future__",
    "_compat_pickle",
    "collections",
    "copyreg",
    "functools",
    "hashlib",
    "keyword",
    "operator",
    "reprlib",
    "types",
)
"""What `ascend.runner` and C's `_pickle` import, and the interpreter has not frozen."""

RESOURCE = "ascend/_core/bytecode.marshal"
"""Where the archive has it: a dict from the path below the standard library to the content of the .pyc file."""


def install(archive: str) -> None:
    """Import the modules with the bytecode that *archive* brings, if this is a pod that wants it."""
    folder = os.environ.get("ASCEND_BYTECODE_DIR")
    if folder is None:
        return
    import marshal  # noqa: PLC0415 - built in, as the next one; on a cluster without pods nothing is paid for
    import zipimport  # noqa: PLC0415

    library = os.path.dirname(os.__file__)
    content = zipimport.zipimporter(archive).get_data(RESOURCE)
    found: dict[str, bytes] = marshal.loads(content)  # noqa: S302 - from the archive that this module is from, too
    tag = sys.implementation.cache_tag
    for path, bytecode in found.items():
        # Below the prefix, as the interpreter looks for it there: no __pycache__, the whole path of the source.
        target = f"{folder}{library}/{path}.{tag}.pyc"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as file:
            file.write(bytecode)
    # What the function imports must find no such folder: it would fill it.
    before, sys.pycache_prefix = sys.pycache_prefix, folder
    try:
        for name in MODULES:
            __import__(name)
    finally:
        sys.pycache_prefix = before
