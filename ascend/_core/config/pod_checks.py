"""Checks of what becomes a part of the pod: volumes, names of objects, labels and patches."""

from __future__ import annotations

import re
from collections.abc import Mapping
from posixpath import normpath

from ascend._core.config.checks import UnfitError, check_memory, shown
from ascend.model import Volume

_OBJECT = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_OBJECT_LENGTH = 253
_OUR_FOLDERS = ("/ascend", "/tmp")  # noqa: S108 - the pod's own
_VOLUME_EXAMPLE = '{claim = "datasets"} or {memory = "2Gi"}'


def _is_object_name(text: str) -> bool:
    return len(text) <= _OBJECT_LENGTH and _OBJECT.fullmatch(text) is not None


def check_volumes(value: object) -> dict[str, Volume]:
    if not isinstance(value, Mapping):
        raise UnfitError(f"must be a table of volumes by their paths, not {shown(value)}")
    for path in value:
        _check_mount_path(path)
    return {path: _volume(path, each) for path, each in value.items()}


def _check_mount_path(path: object) -> None:
    if not isinstance(path, str) or not path.startswith("/") or path.startswith("//") or normpath(path) != path:
        raise UnfitError(f"must have absolute paths without '.', '..' and double slashes, not {shown(path)}")
    if path == "/" or ":" in path:
        raise UnfitError(f"must have paths below / and without colons, not {shown(path)}")
    for folder in _OUR_FOLDERS:
        if f"{path}/".startswith(f"{folder}/"):
            raise UnfitError(f"must leave {folder} to ascend, which keeps its own files there: {shown(path)}")


def _volume(path: str, value: object) -> Volume:
    volume = value
    if isinstance(value, Mapping):
        if not {*value} <= {"claim", "memory", "read_only"}:
            raise UnfitError(f"must have claim or memory, and perhaps read_only, at {path}, not {shown(value)}")
        volume = Volume(**value)
    if not isinstance(volume, Volume):
        raise UnfitError(f"must have volumes such as {_VOLUME_EXAMPLE}, and {path} is {shown(value)}")
    if (volume.claim is None) == (volume.memory is None):
        raise UnfitError(f"must have either a claim or memory at {path}, as in {_VOLUME_EXAMPLE}")
    _check_fields(path, volume)
    return volume


def _check_fields(path: str, volume: Volume) -> None:
    # What users write in Python has the types that they gave it.
    claim: object = volume.claim
    if claim is not None and not (isinstance(claim, str) and _is_object_name(claim)):
        raise UnfitError(f"must name a PersistentVolumeClaim at {path}, not {shown(claim)}")
    if volume.memory is not None:
        try:
            check_memory(volume.memory)
        except UnfitError:
            problem = f"must have a size with its unit such as '2Gi' as memory at {path}, not {shown(volume.memory)}"
            raise UnfitError(problem) from None
    read_only: object = volume.read_only
    if not isinstance(read_only, bool):
        raise UnfitError(f"must have true or false as read_only at {path}, not {shown(read_only)}")
