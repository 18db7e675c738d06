"""The control group that a cluster's pods live in, apart from those of other clusters."""

from __future__ import annotations

from pathlib import Path

_TOP = Path("/sys/fs/cgroup")
_USED = {"cpu", "cpuset", "hugetlb", "io", "memory", "pids"}


def create(name: str) -> None:
    """Make the group *name* in every hierarchy."""
    for hierarchy in _hierarchies():
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        if (group / "cpuset.cpus").exists() and not (group / "cgroup.controllers").exists():
            for file in ("cpuset.cpus", "cpuset.mems"):
                (group / file).write_text((hierarchy / file).read_text())
        if (group / "cgroup.controllers").exists():
            for controller in _USED & set((hierarchy / "cgroup.controllers").read_text().split()):
                for parent in (hierarchy, group):
                    (parent / "cgroup.subtree_control").write_text(f"+{controller}")


def remove(name: str) -> None:
    """Remove the group *name*, whose processes have ended, and those below it."""
    for hierarchy in _hierarchies():
        below = sorted((hierarchy / name).glob("**/"), key=lambda path: len(path.parts), reverse=True)
        for group in below:
            group.rmdir()


def _hierarchies() -> list[Path]:
    """Return the roots of all hierarchies: one with version 2, one a controller with version 1."""
    if (_TOP / "cgroup.controllers").exists():
        return [_TOP]
    return sorted({path.resolve() for path in _TOP.iterdir() if path.is_dir()})
