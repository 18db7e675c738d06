"""Golden files: what a test makes is compared with a file that a reviewer reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden files anew from what the tests make"
    )


@pytest.fixture
def golden(request):
    """Return a function that compares a value with the file of that name in ``golden/``, or writes it."""
    folder = Path(__file__).parent / "golden"

    def check(name, value):
        path = folder / f"{name}.json"
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8")
        assert json.loads(path.read_text(encoding="utf-8")) == json.loads(text), (
            f"{path.name} differs; if that is meant, run pytest with --update-golden and review the difference"
        )

    return check
