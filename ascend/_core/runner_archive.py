"""The archive that starts in every pod: the runner, what users' modules import of ascend, cloudpickle and packaging."""

from __future__ import annotations

import io
import marshal
import os
from _imp import source_hash
from functools import cache
from importlib import util
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING

from ascend._core.bytecode import HASH_KEY, MODULES, RESOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["runner_archive"]

_EPOCH = (1980, 1, 1, 0, 0, 0)
_STAYS_HERE = ("cli", "testing", "__main__.py")
_STARTS_EVERY_TASK = (
    "ascend",
    "ascend._core",
    "ascend._core.bytecode",
    "ascend._core.guard",
    "ascend._core.pickling",
    "ascend._core.transport",
    "ascend._core.wire",
    "ascend.runner",
    "cloudpickle",
)
_UNCHECKED = b"\x01\x00\x00\x00"


@cache
def runner_archive() -> bytes:
    """Return the archive as bytes: the same for the same versions of ascend, cloudpickle and Python."""
    import zipfile  # noqa: PLC0415 - here and below: only who submits needs it

    import cloudpickle  # noqa: PLC0415
    import packaging  # noqa: PLC0415

    import ascend  # noqa: PLC0415

    target = io.BytesIO()
    # Every pod's node fetches it.
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in (ascend, cloudpickle, packaging):
            for name, content in _members(package):
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo(RESOURCE, _EPOCH), _library_bytecode(), zipfile.ZIP_DEFLATED)
    return target.getvalue()


def _members(package: ModuleType) -> Iterator[tuple[str, bytes]]:
    root = Path(str(package.__file__)).parent
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root)
        if package.__name__ == "ascend" and inside.parts[0] in _STAYS_HERE:
            continue
        name = f"{package.__name__}/{inside.as_posix()}"
        source = path.read_bytes()
        yield name, source
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        if module.startswith("cloudpickle") or module in _STARTS_EVERY_TASK:
            # Compiling cloudpickle would take longer than anything else that a small task does.
            yield f"{name}c", _bytecode(module, name, source)


def _library_bytecode() -> bytes:
    """Return what `ascend._core.bytecode` reads."""
    found = {}
    for module in MODULES:
        spec = util.find_spec(module)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            continue
        path = Path(spec.origin)
        source = path.read_bytes()
        inside = path.relative_to(Path(os.__file__).parent).as_posix()
        code = compile(source, spec.origin, "exec", dont_inherit=True)
        found[module] = (inside, source_hash(HASH_KEY, source), marshal.dumps(code))
    return marshal.dumps(found)


def _bytecode(module: str, name: str, source: bytes) -> bytes:
    """Return a hash-based, unchecked .pyc (PEP 552): the timestamps of the archive say nothing."""
    spec = util.find_spec(module)
    code = spec.loader.get_code(module) if spec and spec.loader else None  # type: ignore[attr-defined]
    if not isinstance(code, CodeType):
        return b""
    return util.MAGIC_NUMBER + _UNCHECKED + util.source_hash(source) + marshal.dumps(_renamed(code, name))


def _renamed(code: CodeType, name: str) -> CodeType:
    """Return *code* without the path of this machine."""
    inner = tuple(_renamed(const, name) if isinstance(const, CodeType) else const for const in code.co_consts)
    return code.replace(co_filename=name, co_consts=inner)
