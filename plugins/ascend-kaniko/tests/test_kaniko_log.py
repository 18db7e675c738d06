from __future__ import annotations

from pathlib import Path

import pytest

from ascend import errors
from ascend_kaniko.log import failure_of

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
    """Return what is read from a log of version 1.24.0."""
    return failure_of((LOGS / f"{name}.log").read_text().splitlines(), DOCKERFILES.get(name, BASE))


@pytest.mark.parametrize(
    ("name", "step", "message"),
    [
        ("fail", "line 9: RUN echo 'about to fail' && exit 3", "its command ended with exit status 3"),
        ("parse", "line 3: RUNN false", "unknown instruction: RUNN (did you mean RUN?)"),
        ("copy", "line 2: COPY missing.txt /tmp/", "missing.txt: no such file or directory"),
        (
            "oom",
            'line 2: RUN python -c "x = bytearray(400 << 20); print(len(x))"',
            "its command ended with signal: killed",
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
        ("push-full", errors.RegistryFullError, "ascend image gc"),
        ("push-none", errors.RegistryUnreachableError, "connection refused"),
    ],
)
def test_what_a_registry_refused_is_an_error_of_its_own(name, kind, words):
    found = failure(name)
    assert type(found.cause) is kind
    assert words in str(found.cause)


def test_an_executor_that_was_killed_has_the_step_that_it_was_at():
    lines = [line for line in (LOGS / "fail.log").read_text().splitlines() if not line.startswith("error")]
    assert failure_of(lines, DOCKERFILES["fail"]).step == "line 9: RUN echo 'about to fail' && exit 3"
    assert failure_of([], DOCKERFILES["fail"]) == ("", "", None)
