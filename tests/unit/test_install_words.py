from __future__ import annotations

import pytest

from ascend._core.install_words import remedy_of


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("error: Hash mismatch for `six==1.17.0`", "find out who changed it"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "find out who changed it"),
        ("could not be queried due to a lack of valid authentication credentials (401 Unauthorized)", "index_secret"),
        ("ERROR: HTTP error 403 while getting https://packages.example/six.whl", "index_secret"),
        ("cause: invalid peer certificate: UnknownIssuer", "certificates names a file"),
        ("has no wheels with a matching platform tag (e.g., `manylinux_2_28_x86_64`)", "no wheel for this pod"),
        ("Failed to fetch: `http://10.0.0.1:40123/simple/six/`", "index_urls names one"),
        ("Failed to fetch: `http://10.0.0.1:401/simple/six/`", "index_urls names one"),
        ("No space left on device (os error 28)", "disk is full"),
    ],
)
def test_what_installers_say_has_a_remedy(words, advice):
    assert advice in remedy_of(words)


def test_there_is_no_advice_about_what_nobody_knows():
    assert remedy_of("it said nothing") == ""
