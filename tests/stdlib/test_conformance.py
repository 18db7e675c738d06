"""The standard library's own tests of its executors, each run against `AscendExecutor` on the local cluster."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.stdlib import conformance_run
from tests.stdlib.suite import RUNNER, SuiteMissingError, find_suite
from tests.stdlib.unsuited import ON_KUBERNETES

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent
LIMIT = 60.0  # seconds for one test of the suite; the slowest needs about five


def run_suite(*options: str, cluster: str = "local", environ: Mapping[str, str] | None = None) -> str:
    """Run the suite's runner and return what it prints, whatever its verdict."""
    command = [sys.executable, str(RUNNER), f"factory:{cluster}", "--testsuite", str(find_suite()), "--path", str(HERE)]
    environment = {**os.environ, **(environ or {}), "ASCEND_CLUSTER": cluster}
    return subprocess.run(
        [*command, *options], check=False, text=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ).stdout


def listed() -> dict[str, str]:
    """Return every test of the suite, with what the runner does with it."""
    rows = [line.split()[:2] for line in run_suite("--list").splitlines() if not line.startswith("#")]
    return {name: what for what, name, *_ in rows if what in {"run", "excluded"}}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "stock_test" in metafunc.fixturenames:
        try:
            names = [name for name, what in listed().items() if what == "run"]
        except SuiteMissingError:
            names = ["the suite is missing"]
        metafunc.parametrize("stock_test", names)


def test_the_suite_of_this_python_is_here() -> None:
    what = list(listed().values())
    assert what.count("run") >= 68


def assert_passes(
    stock_test: str, folder: Path, cluster: str = "local", environ: Mapping[str, str] | None = None, *options: str
) -> None:
    """Run one test of the suite, and look at its verdict."""
    report = folder / "report.json"
    given = ["--only", stock_test, "--timeout", str(LIMIT), "--json", str(report), "--verbose", *options]
    output = run_suite(*given, cluster=cluster, environ=environ)
    assert report.exists(), output
    (result,) = json.loads(report.read_text())["results"]
    # A note means that processes or threads were left behind; a skip, that the executor lacks something.
    assert (result["status"], result["note"]) == ("PASS", ""), output


@pytest.mark.timeout(3 * LIMIT)
def test_standard_library(stock_test: str, tmp_path: Path) -> None:
    assert_passes(stock_test, tmp_path)


def test_every_test_that_is_not_run_is_listed_with_its_reason() -> None:
    in_code = dict(conformance_run.NEVER)
    in_code |= {f"{group}.{name}": why for (group, name), why in conformance_run.EXCLUDED.items()}
    nowhere, _, on_kubernetes = (HERE / "NOT_APPLICABLE.md").read_text().partition("\n## On Kubernetes\n")
    assert rows_of(nowhere) == in_code
    assert rows_of(on_kubernetes) == ON_KUBERNETES


def rows_of(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\| `(.+?)` \| (.+?) \|$", text, re.MULTILINE))
