"""A folder of packages as a layer of an image: compiled, found by every Python of the base, the same for the same lock.

Standard library only, since it runs in the pod of the builder `layer`. Nothing of when, where and by whom it was made
is in the layer: names are sorted, times are 0, the owner is root.
"""

from __future__ import annotations

import hashlib
import os
import site
import subprocess
import sys
import tarfile
import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path
    from typing import Self

__all__ = ["PACKAGES", "Layer", "compile_all", "path_file", "write_layer"]

PACKAGES = "/opt/ascend/packages"
"""Where the packages lie in the image."""

# The packages come before those of the image and behind the standard library, wherever a Python starts there.
_LINE = (
    "import site, sys; _n = len(sys.path); site.addsitedir({folder!r}); _new = sys.path[_n:]; del sys.path[_n:]; "
    "_at = next((i for i, p in enumerate(sys.path) if p.endswith(('site-packages', 'dist-packages'))), len(sys.path)); "
    "sys.path[_at:_at] = _new\n"
)
# What a code object looks like as bytes depends on what the process has compiled before: a fixed number of processes
# with fixed shares makes it the same every time.
_COMPILERS = 4
_COMPILE = """
import py_compile, sys
root, mode = sys.argv[1], py_compile.PycInvalidationMode.UNCHECKED_HASH
for path in sys.stdin.read().split("\\0"):
    try:
        py_compile.compile(path, dfile=path.removeprefix(root), doraise=True, invalidation_mode=mode)
    except (py_compile.PyCompileError, OSError, ValueError, RecursionError):
        continue
"""
# Hardly anybody imports the tests of a library, and they are a third of the larger ones.
_NOT_COMPILED = {"test", "tests"}
_PIECE = 4 << 20
_LEVEL = 1
# zlib's word for the header of gzip, without a time.
_GZIP = 31


class Layer(NamedTuple):
    """A layer as a file, with the digest and the size of what is in it before it is compressed."""

    path: Path
    plain_digest: str
    plain_size: int
    files: int


def path_file() -> tuple[str, str]:
    """Return where this Python looks for .pth files, and what one must say."""
    return f"{site.getsitepackages()[0]}/ascend-packages.pth", _LINE.format(folder=PACKAGES)


def compile_all(root: Path, folder: Path) -> int:
    """Compile the modules below *folder*, which lies in *root* as it will in the image; return how many there are."""
    modules = sorted(
        str(path) for path in folder.rglob("*.py") if _NOT_COMPILED.isdisjoint(path.relative_to(folder).parts)
    )
    shares = [modules[number::_COMPILERS] for number in range(_COMPILERS)]
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-I", "-c", _COMPILE, str(root)]

    def run(share: list[str]) -> None:
        # A module that does not compile is for another Python, and fails when it is imported, as everywhere.
        subprocess.run(command, input="\0".join(share).encode(), env=environ, check=True)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(run, (share for share in shares if share)))
    return len(modules)


def write_layer(root: Path, target: Path) -> Layer:
    """Write what is in *root* as a compressed layer to *target*."""
    with target.open("wb") as file, _Packer(file) as packer:
        count = _write_tar(packer, root)
    return Layer(target, f"sha256:{packer.plain.hexdigest()}", packer.size, count)


def _write_tar(packer: Any, root: Path) -> int:
    """Write everything in *root*; return how many files that is."""
    count = 0
    with tarfile.open(fileobj=packer, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for path in _members(root):
            _add(archive, path, path.relative_to(root).as_posix())
            count += path.is_file()
    return count


def _members(root: Path) -> Iterator[Path]:
    """Yield what is below *root*, sorted; folders only below the packages, as the others are the image's."""
    inside = PACKAGES.lstrip("/")
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_dir() or path.relative_to(root).as_posix().startswith(inside):
            yield path


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    entry = tarfile.TarInfo(name)
    status = path.lstat()
    entry.mode = 0o755 if status.st_mode & 0o100 else 0o644
    if path.is_symlink():
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
    elif path.is_dir():
        entry.type = tarfile.DIRTYPE
    else:
        entry.size = status.st_size
        with path.open("rb") as content:
            archive.addfile(entry, content)
        return
    archive.addfile(entry)


class _Packer:
    """A file that compresses what is written to it on all cores: pieces of one size become members of one gzip file."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._workers = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._workers)
        self._waiting: deque[Future[bytes]] = deque()
        self._rest = bytearray()
        self.plain = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._submit(bytes(self._rest))
        while self._waiting:
            self._target.write(self._waiting.popleft().result())
        self._pool.shutdown()

    def write(self, data: bytes) -> int:
        self.plain.update(data)
        self.size += len(data)
        self._rest += data
        while len(self._rest) >= _PIECE:
            self._submit(bytes(self._rest[:_PIECE]))
            del self._rest[:_PIECE]
        return len(data)

    def _submit(self, piece: bytes) -> None:
        # No more than the cores take, so that little of it is in memory.
        while len(self._waiting) > 2 * self._workers:
            self._target.write(self._waiting.popleft().result())
        self._waiting.append(self._pool.submit(_member, piece))


def _member(piece: bytes) -> bytes:
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return compressor.compress(piece) + compressor.flush()
