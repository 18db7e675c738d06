"""Merges a part of a Kubernetes object over the whole, as ``kubectl patch`` does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ascend.model import Manifest

__all__ = ["patched"]

# What tells the items of a list apart: mounts are many of one volume, all else that has a name has it once.
_ITEM_KEYS = ("mountPath", "name")


def patched(manifest: Mapping[str, Any], patch: Mapping[str, Any]) -> Manifest:
    """Return *manifest* with *patch* over it; neither is changed.

    Tables are merged and `None` removes. Lists are merged by ``mountPath`` or ``name`` where all items have it;
    all else replaces what is there.
    """
    merged = dict(manifest)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _over(merged.get(key), value)
    return merged


def _over(below: object, value: object) -> object:
    if isinstance(value, Mapping):
        return patched(below if isinstance(below, Mapping) else {}, value)
    if isinstance(value, list):
        return _list_over(below if isinstance(below, list) else [], value)
    return value


def _list_over(below: list[Any], patch: list[Any]) -> list[Any]:
    items = [*below, *patch]
    key = next((each for each in _ITEM_KEYS if all(_has(item, each) for item in items)), None)
    if key is None or not patch:
        return [_over(None, item) for item in patch]
    merged = {item[key]: item for item in below}
    for item in patch:
        merged[item[key]] = patched(merged.get(item[key], {}), item)
    return list(merged.values())


def _has(item: object, key: str) -> bool:
    return isinstance(item, Mapping) and isinstance(item.get(key), str)
