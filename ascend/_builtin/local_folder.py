"""The folder of a run on the local cluster: held by a lock while its client lives, swept by others when it died."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["new_folder"]

_SWEEP_SECONDS = 5.0


def new_folder(run_id: str) -> tuple[Path, Any]:
    """Return a new folder and its lock, which is held."""
    with _alone():
        folder = Path(tempfile.mkdtemp(prefix=f"{_prefix()}{run_id}-")).resolve()
        lock = _lock(folder / "lock")
        lock.acquire()
        return folder, lock


def _prefix() -> str:
    return f"ascend-{os.getuid() if hasattr(os, 'getuid') else os.environ.get('USERNAME', 'user')}-"


def _lock(path: Path) -> Any:
    from filelock import FileLock  # noqa: PLC0415 - only who runs something here needs it

    return FileLock(path, thread_local=False)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Sweep, and keep others from it between the making of a folder and the taking of its lock."""
    from filelock import Timeout  # noqa: PLC0415 - as above

    lock = _lock(Path(tempfile.gettempdir(), f".{_prefix()}lock"))
    try:
        lock.acquire(timeout=_SWEEP_SECONDS)
    except (Timeout, PermissionError):
        # Anybody can write here and hold it: then nothing is swept this time.
        yield
        return
    try:
        _sweep()
        yield
    finally:
        lock.release()


def _sweep() -> None:
    """Remove the folders of runs whose client was killed; a living one holds its lock."""
    from filelock import Timeout  # noqa: PLC0415 - as above

    for folder in Path(tempfile.gettempdir()).glob(f"{_prefix()}*"):
        # What has none is not ours, whatever its name.
        if (folder / "lock").exists():
            with contextlib.suppress(Timeout, OSError), _lock(folder / "lock").acquire(timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
