from __future__ import annotations

from pathlib import Path

import pytest

from ascend import errors
from ascend_buildkit.log import failure_of

LOGS = Path(__file__).parent / "logs"
BASE = "FROM 10.90.0.1:5000/python:3.13-slim\n"
DOCKERFILES = {
    "fail": (
        f"{BASE}ENV A=1\n\nRUN echo fine && \\\n    # nothing\n    echo still\n\n"
        "# comment\nRUN echo 'about to fail' && \\\n    exit 3\n"
    ),
    "parse": f"{BASE}RUN true\nRUNN false\n",
    "copy": f"{BASE}COPY missing.txt /tmp/\n",
    "base": "FROM 10.90.0.1:5000/nobody:1\nRUN true\n",
    "oom": f'{BASE}RUN python -c "x = bytearray(400 << 20); print(len(x))"\n',
}


def failure(name):
    """Return what is read from a log of version 0.25.1."""
    return failure_of((LOGS / f"{name}.log").read_text().splitlines(), DOCKERFILES.get(name, BASE))


@pytest.mark.parametrize(
    ("name", "step", "message"),
    [
        ("fail", "line 9: RUN echo 'about to fail' && exit 3", "did not complete successfully: exit code: 3"),
        ("parse", "line 3: RUNN false", "unknown instruction: RUNN (did you mean RUN?)"),
        ("copy", "line 2: COPY missing.txt /tmp/", '"/missing.txt": not found'),
        (
            "oom",
            'line 2: RUN python -c "x = bytearray(400 << 20); print(len(x))"',
            "did not complete successfully: exit code: 137",
        ),
    ],
)
def test_the_step_that_failed_has_its_line(name, step, message):
    found = failure(name)
    assert found.step == step
    assert found.message.endswith(message)
    assert found.cause is None


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("base", errors.ImageNotFoundError, "10.90.0.1:5000 has no nobody"),
        ("push-auth", errors.RegistryDeniedError, "10.90.0.2:5602 refuses to take team/x"),
        ("push-ro", errors.RegistryReadOnlyError, "it is read-only"),
        # This client keeps the registry's reason for itself.
        ("push-full", errors.RegistryError, "failed to take team/x: unknown: unknown error"),
        ("push-none", errors.RegistryUnreachableError, "connection refused"),
    ],
)
def test_what_a_registry_refused_is_an_error_of_its_own(name, kind, words):
    found = failure(name)
    assert type(found.cause) is kind
    assert words in str(found.cause)


def test_a_log_without_an_error_says_nothing():
    assert failure_of(["#1 [internal] load build definition"], DOCKERFILES["fail"]) == ("", "", None)
