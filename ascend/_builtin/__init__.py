"""The plugin that ships with ascend: its hooks, which decline before they import anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ascend.hookspecs import hookimpl

if TYPE_CHECKING:
    from ascend.interfaces import Cluster, ImageBuilder, Serializer, Storage
    from ascend.model import Profile

_OBJECT_STORES = ("s3://", "gs://", "az://", "abfs://", "abfss://", "http://", "https://")


@hookimpl
def ascend_cluster(name: str, profile: Profile) -> Cluster | None:
    """Serve ``kubernetes`` and ``local``."""
    if name == "kubernetes":
        from ascend._builtin.kubernetes.cluster import KubernetesCluster  # noqa: PLC0415 - only for those who asked for it

        return KubernetesCluster(profile)
    if name == "local":
        from ascend._builtin.local import LocalCluster  # noqa: PLC0415 - as above

        return LocalCluster()
    return None


@hookimpl
def ascend_storage(url: str) -> Storage | None:
    """Serve folders and the object stores of the large clouds."""
    if url.startswith("file:"):
        from ascend._builtin.directory import DirectoryStorage  # noqa: PLC0415 - as above

        return DirectoryStorage(url)
    if url.startswith(_OBJECT_STORES):
        from ascend._builtin.object_store import ObjectStorage  # noqa: PLC0415 - as above

        return ObjectStorage(url)
    return None


@hookimpl
def ascend_image_builder(name: str, profile: Profile, storage: Storage | None) -> ImageBuilder | None:
    """Serve ``virtualenv``, ``uv``, ``layer`` and ``prebuilt``."""
    if name == "virtualenv":
        from ascend._builtin.uv_environment import UvEnvironments  # noqa: PLC0415 - as above

        return UvEnvironments(profile=profile)
    if name == "uv":
        from ascend._builtin.uv_install import UvInstalls  # noqa: PLC0415 - as above

        return UvInstalls(profile)
    if name == "layer":
        from ascend._builtin.layer import layer_builder  # noqa: PLC0415 - as above

        return layer_builder(profile, storage)
    if name == "prebuilt":
        from ascend._builtin.prebuilt import PrebuiltImages  # noqa: PLC0415 - as above

        return PrebuiltImages()
    return None


@hookimpl
def ascend_serializer(name: str) -> Serializer | None:
    """Serve ``cloudpickle``."""
    if name != "cloudpickle":
        return None
    from ascend._builtin.cloudpickle import CloudpickleSerializer  # noqa: PLC0415 - as above

    return CloudpickleSerializer()
