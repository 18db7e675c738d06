"""The promises of `ascend.interfaces.ImageBuilder`."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from ascend._core.manifest import default_image
from ascend.errors import EnvironmentBuildError
from ascend.interfaces import ImageBuilder
from ascend.model import Environment, Image

_THREADS = 8
_PATIENCE = 60.0
_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


class ImageBuilderContract:
    """What every image builder promises. Override ``builder``, and ``possible`` and ``impossible`` as it needs."""

    @pytest.fixture
    def builder(self) -> ImageBuilder:
        """Return a builder that has built nothing yet."""
        raise NotImplementedError

    @pytest.fixture
    def possible(self) -> Environment:
        """Return an environment that can be had."""
        return Environment((), _PYTHON, default_image())

    @pytest.fixture
    def impossible(self) -> Environment:
        """Return an environment that cannot be had."""
        return Environment(("ascend-contract==0", "ascend-contract==1"), _PYTHON, default_image())

    def test_it_is_an_image_builder(self, builder: ImageBuilder) -> None:
        """It has what the protocol asks for, and a name."""
        assert isinstance(builder, ImageBuilder)
        assert builder.name

    def test_it_returns_an_image(self, builder: ImageBuilder, possible: Environment) -> None:
        """The same for the same environment, with a reference; a lock has a hash for every line that it pins."""
        image = builder.ensure(possible, _ignore)
        assert isinstance(image, Image)
        assert image.reference
        pinned = [line for line in image.lock.splitlines() if "==" in line]
        assert image.lock.count("--hash=") >= len(pinned)
        assert builder.ensure(possible, _ignore) == image

    def test_many_threads_get_one_image(self, builder: ImageBuilder, possible: Environment) -> None:
        """An environment that many ask for at once is built once."""
        barrier = Barrier(_THREADS)

        def ask(_: int) -> Image:
            barrier.wait(_PATIENCE)
            return builder.ensure(possible, _ignore)

        with ThreadPoolExecutor(_THREADS) as threads:
            assert len(set(threads.map(ask, range(_THREADS)))) == 1

    def test_it_reports_lines(self, builder: ImageBuilder, possible: Environment) -> None:
        """What a waiting user is told has no line breaks in it."""
        lines: list[str] = []
        builder.ensure(possible, lines.append)
        assert all(line and "\n" not in line for line in lines)

    def test_it_can_be_closed_twice(self, builder: ImageBuilder) -> None:
        """Also before anybody has asked it for anything."""
        builder.close()
        builder.close()

    def test_what_cannot_be_had_is_an_error(
        self, builder: ImageBuilder, possible: Environment, impossible: Environment
    ) -> None:
        """Every time, and the error names what was asked for; who makes sure of nothing leaves that to the runner."""
        if not builder.ensure(possible, _ignore).complete:
            assert builder.ensure(impossible, _ignore) == Image(impossible.base_image, complete=False)
            return
        for _ in range(2):
            with pytest.raises(EnvironmentBuildError, match=impossible.requirements[0]):
                builder.ensure(impossible, _ignore)


def _ignore(line: str) -> None:
    """Take a line and do nothing with it."""
