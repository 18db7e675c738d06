"""Run now, bake later: tasks install what they need until their image is there, and their timelines show it."""

from __future__ import annotations

from time import monotonic

import pytest

from tests.cluster.test_environments import index, packed_uv  # noqa: F401 - fixtures
from tests.cluster.test_images import place, tiny, uv_travels  # noqa: F401 - fixtures


@pytest.fixture
def settings(tiny):  # noqa: F811 - the fixture
    return {"requirements": tiny.requirements, "image_builder": "auto", "memory": "256Mi"}


def installs(future):
    assert future.result(timeout=300)
    return "install" in {phase.name for phase in future.timeline.phases}


@pytest.mark.timeout(600, func_only=True)
def test_calls_install_until_their_image_is_there(make_executor, settings):
    executor = make_executor(**settings)
    assert [installs(executor.submit(len, [1])) for _ in range(2)] == [True, True]
    end = monotonic() + 300
    while installs(executor.submit(len, [1])):
        assert monotonic() < end, "no image came"
    assert not installs(make_executor(**settings).submit(len, [1]))
