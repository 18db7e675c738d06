"""The hooks in which Nimbus differs from other clouds, and its storage."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING
from urllib.parse import quote

from ascend.errors import KeyNotFoundError, StorageError
from ascend.hookspecs import hookimpl
from ascend.model import NodeType
from ascend_example import transport

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ascend.interfaces import Buffer, Storage
    from ascend.model import Manifest, Profile

_GPU_TAINT = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
_GPU_SMALL = NodeType({"nimbus.example/pool": "gpu-small"}, {"nvidia.com/gpu": "1"}, (_GPU_TAINT,))


@hookimpl
def ascend_storage(url: str) -> Storage | None:
    """Serve ``nimbus://BUCKET``."""
    return _Bucket(url) if url.startswith("nimbus://") else None


@hookimpl
def ascend_node_type(name: str) -> NodeType | None:
    """Know the machines of Nimbus."""
    return {"nimbus-gpu-small": _GPU_SMALL}.get(name)


@hookimpl
def ascend_modify_job(manifest: Manifest, profile: Profile) -> None:
    """Give a Job the identity and the zone that its profile names, if it is one of ours."""
    config = profile.plugin_config.get("nimbus")
    if config is not None:
        manifest["metadata"]["labels"]["nimbus.example/cost-centre"] = config["cost_centre"]
        pod = manifest["spec"]["template"]["spec"]
        pod["serviceAccountName"] = config["service_account"]
        pod.setdefault("nodeSelector", {})["nimbus.example/zone"] = config["zone"]


class _Bucket:
    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def put(self, key: str, buffers: Sequence[Buffer]) -> None:
        transport.write(self.sign(key, "PUT", lifetime=60), buffers)

    def get(self, key: str) -> memoryview:
        try:
            return memoryview(transport.read(self.sign(key, "GET", lifetime=60)))
        except (FileNotFoundError, IsADirectoryError) as exc:
            raise KeyNotFoundError(f"there is no {key!r} at {self.url}") from exc

    def list(self, prefix: str) -> Iterator[str]:
        root = transport.path_of(self.url)
        return (path.relative_to(root).as_posix() for path in (root / prefix).rglob("*") if path.is_file())

    def delete(self, prefix: str) -> None:
        path = transport.path_of(self.sign(prefix, "PUT", lifetime=60))
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def sign(self, key: str, method: str, *, lifetime: float) -> str:  # noqa: ARG002 - whoever reaches Nimbus may use it
        if any(part in {"", ".", ".."} for part in key.split("/")):
            raise StorageError(f"{key!r} is no key for {self.url}")
        return f"{self.url}/{quote(key)}"
