from __future__ import annotations

from ascend.errors import EnvironmentBuildError, ImageBuildError


def test_a_failed_build_says_what_failed_and_is_a_failure_of_the_environment():
    error = ImageBuildError("line 2 failed", step="RUN false", lines=("exit 1",), dockerfile="FROM a\nRUN false\n")
    assert isinstance(error, EnvironmentBuildError)
    assert (str(error), error.step, error.lines) == ("line 2 failed", "RUN false", ("exit 1",))
    assert error.dockerfile.startswith("FROM")
