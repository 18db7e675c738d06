"""Where things lie, and what tells one cluster from another."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NAME_PREFIX = "ascend-"
STATE_VARIABLE = "TESTCLUSTER_STATE"
"""Names a folder for a cluster of one's own, beside the one that all clones of the same content share."""


class ClusterError(Exception):
    """The cluster cannot be had; the message says what to do."""


def cache() -> Path:
    """Return the user's folder for what is built once: programs, images, and the states of clusters."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ascend-testcluster"


def digest_of(*parts: object) -> str:
    """Return a short digest of *parts*: texts, and files by their content."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part.read_bytes() if isinstance(part, Path) else str(part).encode())
        found.update(b"\0")
    return found.hexdigest()[:16]


def sources() -> list[Path]:
    """Return the files that decide what a cluster is."""
    found = (path for path in HERE.rglob("*") if path.suffix in {".py", ".go", ".mod", ".sum"})
    return sorted(path for path in found if path.is_file())


@dataclass(frozen=True)
class State:
    """The folder of one cluster."""

    folder: Path

    @classmethod
    def of_this_clone(cls) -> State:
        """Return the state of the cluster that has this clone's content, or the one that the environment names."""
        named = os.environ.get(STATE_VARIABLE)
        return cls(Path(named).absolute() if named else cache() / "clusters" / digest_of(*sources()))

    @property
    def is_named(self) -> bool:
        """Whether the environment names it."""
        return self.folder.parent != cache() / "clusters"

    @property
    def name(self) -> str:
        """A name that is this cluster's alone, short enough for a network interface."""
        return f"{NAME_PREFIX}{digest_of(str(self.folder))[:8]}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig file."""
        return self.folder / "pki" / "admin.kubeconfig"

    @property
    def kubectl(self) -> Path:
        """A kubectl of the cluster's version."""
        return self.folder / "kubectl"

    @property
    def audit_log(self) -> Path:
        """The requests of users, one JSON object a line."""
        return self.folder / "log" / "audit.jsonl"

    @property
    def node_lock(self) -> Path:
        """The lock of those who change the node."""
        return self.folder / "node.lock"

    def log(self, part: str) -> Path:
        """Return the log file of *part*."""
        return self.folder / "log" / f"{part}.log"

    def facts(self) -> dict[str, Any]:
        """Return what was written down about the cluster; nothing if there is none."""
        try:
            return dict(json.loads((self.folder / "cluster.json").read_text()))
        except FileNotFoundError:
            return {}

    def note(self, **facts: Any) -> None:
        """Add to what is written down about the cluster, in one step."""
        draft = self.folder / "cluster.json.new"
        draft.touch(mode=0o600)
        draft.write_text(json.dumps({**self.facts(), **facts}, indent=1))
        hand_over(draft)
        draft.replace(self.folder / "cluster.json")


def hand_over(*paths: Path) -> None:
    """Let the user who became root through sudo read *paths*."""
    if user := os.environ.get("SUDO_UID"):
        for path in paths:
            os.chown(path, int(user), -1)
