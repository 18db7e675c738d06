"""What to do about what uv and pip say when an installation in a pod fails."""

from __future__ import annotations

import re

__all__ = ["remedy_of"]

_REMEDIES = {
    r"hash mismatch|do not match the hashes": (
        "a file in the package index is not the one that was locked: find out who changed it, or lock anew"
    ),
    # A port may have the same digits.
    r"(?<!:)\b40[13]\b|unauthorized|forbidden": (
        "the package index wants other credentials: index_secret names a Secret of the namespace whose key netrc has "
        "them"
    ),
    r"invalid peer|certificate": (
        "the pod does not trust the package index: certificates names a file with the authorities to trust"
    ),
    r"matching platform tag|no wheels with a matching|no usable wheels|building from source is": (
        "it has no wheel for this pod: take another version, platform or base_image, or an image_builder that builds "
        "from source"
    ),
    r"failed to fetch|error sending request|dns error|connection|timed out|temporary failure": (
        "the pod does not reach the package index: index_urls names one that it reaches, and env can hold a proxy"
    ),
    r"no space left": "the pod's disk is full: ask for a node_type with more, or an image with the requirements",
}


def remedy_of(words: str) -> str:
    """Return the advice about *words* as the end of a message; nothing if there is none."""
    for signs, advice in _REMEDIES.items():
        if re.search(signs, words, re.IGNORECASE):
            return f"\n{advice}"
    return ""
