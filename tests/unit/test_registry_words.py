"""What clients of registries in builders say, in the words of Kaniko 1.24 and BuildKit 0.25."""

from __future__ import annotations

import pytest

from ascend import errors
from ascend.building.registry_words import refusal_in

PUSH = "error: failed to solve: failed to push registry.example/team/env:1: "


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (
            'Get "https://registry.example/v2/": x509: certificate signed by unknown authority',
            errors.RegistryUnreachableError,
            "set certificates",
        ),
        (
            'Head "http://registry.example/v2/a/blobs/b": dial tcp: no host',
            errors.RegistryUnreachableError,
            "host",
        ),
        (
            "GET https://registry.example/v2/python/manifests/9: MANIFEST_UNKNOWN: manifest unknown",
            errors.ImageNotFoundError,
            "registry.example has no python",
        ),
        (
            "POST https://registry.example/v2/team/env/blobs/uploads/: DENIED: requested access is denied",
            errors.RegistryDeniedError,
            "refuses to take team/env to the builder",
        ),
        (f"{PUSH}push access denied, authorization failed", errors.RegistryDeniedError, "refuses to take team/env"),
        (f"{PUSH}unexpected status: 507 Insufficient Storage", errors.RegistryFullError, "has no room for team/env"),
        (f"{PUSH}something else", errors.RegistryError, "registry.example failed to take team/env: something else"),
    ],
)
def test_a_refusal_is_the_same_error_as_of_our_own_client(text, kind, words):
    found = refusal_in(text)
    assert type(found) is kind
    assert words in str(found)


def test_what_speaks_of_no_registry_is_none():
    assert refusal_in('process "/bin/sh -c false" did not complete successfully: exit code: 1') is None
