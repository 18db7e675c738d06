"""When images were last used: a Lease for each, which every client renews when it begins to use the image.

Registries do not tell when something was pulled. Who uses ascend may write Leases, and an administrator may read them
in all namespaces. They stay when their runs have gone; ``ascend image gc`` removes them with their images.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ascend._builtin.kubernetes.failures import ApiError
from ascend._builtin.kubernetes.lease import LEASES
from ascend.errors import ClusterError
from ascend.model import LABEL_PREFIX

if TYPE_CHECKING:
    from ascend._builtin.kubernetes.connection import Connection
    from ascend.building.names import ImageName

__all__ = ["IMAGE", "IMAGE_LABEL", "LOOK_AGAIN_SECONDS", "note_use", "usage_name"]

IMAGE_LABEL = f"{LABEL_PREFIX}/image-key"
"""The label of such a Lease: the key of the image."""

IMAGE = f"{LABEL_PREFIX}/image"
"""Its annotation: the image, by its digest."""

LOOK_AGAIN_SECONDS = 3600.0
"""After how long a client that goes on using an image looks whether it is still there, and notes the use again."""

_logger = logging.getLogger("ascend")
_NOT_FOUND, _CONFLICT = 404, 409


def usage_name(key: str) -> str:
    """Return the name of the Lease of the image of *key*."""
    return f"asc-image-{key}"


def note_use(connection: Connection, image: ImageName, key: str) -> None:
    """Note that *image* is used now; what goes wrong is logged only, since the image can be used all the same."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    lease: dict[str, Any] = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": usage_name(key),
            # Not managed-by: nothing that removes what runs have left may remove it.
            "labels": {"app.kubernetes.io/part-of": "ascend", IMAGE_LABEL: key},
            "annotations": {IMAGE: str(image)},
        },
        "spec": {"renewTime": now},
    }
    try:
        _renew_or_create(connection, lease)
    except ClusterError as error:
        _logger.warning("the use of %s was not noted, so `ascend image gc` does not know of it: %s", image, error)


def _renew_or_create(connection: Connection, lease: dict[str, Any]) -> None:
    change = {"metadata": {"annotations": lease["metadata"]["annotations"]}, "spec": lease["spec"]}
    try:
        connection.patch(connection.path("leases", lease["metadata"]["name"], api=LEASES), change)
    except ApiError as error:
        if error.status != _NOT_FOUND:
            raise
        try:
            connection.create(connection.path("leases", api=LEASES), lease)
        except ApiError as conflict:
            # Another client was faster.
            if conflict.status != _CONFLICT:
                raise
