"""What events say about Jobs that have no pods: one request for all of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ascend._builtin.kubernetes.diagnosis import failed_create
from ascend.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ascend._builtin.kubernetes.connection import Connection
    from ascend._builtin.kubernetes.diagnosis import Diagnosis

__all__ = ["refusals_of"]

_logger = logging.getLogger("ascend")
_REFUSED = "involvedObject.kind=Job,reason=FailedCreate"


def refusals_of(connection: Connection, job_names: Sequence[str]) -> dict[str, Diagnosis]:
    """Return why the given Jobs get no pods, as far as events say it."""
    try:
        events, _ = connection.items(connection.path("events"), fieldSelector=_REFUSED)
    except ClusterError as error:
        _logger.debug("events cannot be read: %s", error)
        return {}
    found = {}
    for name in job_names:
        diagnosis = failed_create(each for each in events if each["involvedObject"]["name"] == name)
        if diagnosis is not None:
            found[name] = diagnosis
    return found
