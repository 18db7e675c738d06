"""Bytecode of the few modules of the standard library that every task imports, for images that have none.

Stock images come without, and a pod's file system is read-only: each task would compile these modules, half of all that
it does before its call. The client sends their bytecode along, with the hash of the source that it was made from: an
interpreter whose source differs leaves it aside, as PEP 552 has it for checked hash-based pycs.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import CodeType
    from typing import Any

__all__ = ["HASH_KEY", "MODULES", "RESOURCE", "install"]

# Neither here nor in the modules around: it would be compiled before its bytecode could be had.
MODULES = (
    "__future__",
    "_compat_pickle",
    "collections",
    "copyreg",
    "functools",
    "keyword",
    "operator",
    "reprlib",
    "types",
)
"""What `ascend.runner` and C's `_pickle` import, and the interpreter has not frozen."""

HASH_KEY = 0

RESOURCE = "ascend/_core/bytecode.marshal"
"""Where the archive has it: a dict from a module's name to its file below the standard library, the hash of that
file with `HASH_KEY`, and its marshalled code."""


def install(archive: str) -> None:
    """Import the modules with the bytecode that *archive* brings, unless this interpreter has bytecode of its own."""
    # What importlib itself consists of: importlib would have to be compiled.
    from _frozen_importlib_external import cache_from_source  # noqa: PLC0415 - where nothing is installed, nothing is paid

    library = os.path.dirname(os.__file__)
    if os.path.exists(cache_from_source(os.path.join(library, "functools.py"))):
        return
    import marshal  # noqa: PLC0415 - as above
    import zipimport  # noqa: PLC0415

    content = zipimport.zipimporter(archive).get_data(RESOURCE)
    finder = _finder(library, marshal.loads(content))  # noqa: S302 - from the archive that this module is from, too
    sys.meta_path.insert(0, finder)
    try:
        for name in MODULES:
            __import__(name)
    finally:
        sys.meta_path.remove(finder)


def _finder(library: str, found: dict[str, tuple[str, bytes, bytes]]) -> "Any":
    from _frozen_importlib_external import SourceFileLoader, spec_from_file_location  # noqa: PLC0415 - as above
    from _imp import source_hash  # noqa: PLC0415

    class Loader(SourceFileLoader):
        def get_code(self, fullname: str) -> "CodeType | None":
            _, digest, code = found[fullname]
            if source_hash(HASH_KEY, self.get_data(self.path)) != digest:
                return super().get_code(fullname)
            from marshal import loads  # noqa: PLC0415 - as above

            return loads(code)  # type: ignore[no-any-return] # noqa: S302 - as above

    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> "ModuleSpec | None":
            if name not in found:
                return None
            origin = os.path.join(library, *found[name][0].split("/"))
            return spec_from_file_location(name, origin, loader=Loader(name, origin))

    return Finder
