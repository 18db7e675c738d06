"""Checks of what becomes a part of the pod: volumes, names of objects, labels and patches."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from posixpath import normpath
from typing import Any

from ascend._core.config.checks import UnfitError, check_memory, check_text, shown
from ascend._core.manifest_patch import patched
from ascend.model import LABEL_PREFIX, Volume

_OBJECT = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_OBJECT_LENGTH = 253
_LABEL_LENGTH = 63
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_LABELS_OF_OTHERS = {
    f"{LABEL_PREFIX}/": "ascend finds its own Jobs by such labels",
    "batch.kubernetes.io/": "Kubernetes writes such labels itself",
    "app.kubernetes.io/managed-by": "it says ascend",
}
_OUR_FOLDERS = ("/ascend", "/tmp")  # noqa: S108 - the pod's own
_VOLUME_EXAMPLE = '{claim = "datasets"} or {memory = "2Gi"}'


def _is_object_name(text: str) -> bool:
    return len(text) <= _OBJECT_LENGTH and _OBJECT.fullmatch(text) is not None


def check_object_name(value: object) -> str:
    text = check_text(value)
    if not _is_object_name(text):
        raise UnfitError(f"must be the name of a Kubernetes object, such as 'team-a.batch', not {shown(text)}")
    return text


def check_queue(value: object) -> str:
    text = check_object_name(value)
    if len(text) > _LABEL_LENGTH:
        raise UnfitError(f"must have at most {_LABEL_LENGTH} characters, since it becomes a label, not {len(text)}")
    return text


def check_labels(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise UnfitError(f"must be a table of labels, not {shown(value)}")
    for key, text in value.items():
        _check_label_key(key)
        if not isinstance(text, str) or not _LABEL_VALUE.fullmatch(text):
            rule = f"at most {_LABEL_LENGTH} letters, digits and inner dashes, dots and underscores"
            raise UnfitError(f"must have values of {rule}, and {key} is {shown(text)}")
    return dict(value)


def _check_label_key(key: object) -> None:
    if not isinstance(key, str) or not _is_label_key(key):
        raise UnfitError(f"must have keys such as 'team' or 'example.com/team', not {shown(key)}")
    for taken, reason in _LABELS_OF_OTHERS.items():
        if key == taken or (taken.endswith("/") and key.startswith(taken)):
            raise UnfitError(f"must not have {key}: {reason}")


def _is_label_key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    return name != "" and _LABEL_VALUE.fullmatch(name) is not None and (not slash or _is_object_name(prefix))


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


def check_job_patch(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise UnfitError(f"must be a table with parts of a Job, not {shown(value)}")
    patch: dict[str, Any] = _plain("it", value)
    ours = {"labels": {f"{LABEL_PREFIX}/run": "run"}}
    marks = {"metadata": {"name": "job", **ours}, "spec": {"template": {"metadata": ours}}}
    left = patched(marks, patch)
    if patched(left, marks) != left:
        raise UnfitError(f"must leave the name and the label {LABEL_PREFIX}/run alone: ascend finds the Job by them")
    return patch


def _plain(where: str, value: object) -> Any:
    """Return a copy of *value*, of which JSON can be made."""
    inside = "" if where == "it" else f"{where}."
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise UnfitError(f"must have strings as keys, and {where} has {shown(key)}")
        return {key: _plain(f"{inside}{key}", each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(f"{where}[{number}]", each) for number, each in enumerate(value)]
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and isfinite(value)):
        return value
    raise UnfitError(f"must hold what JSON can, and {where} is {shown(value)}")
