"""One environment, four ways to it: the same versions, the same answer, and what tasks that start together share."""

from __future__ import annotations

from collections import Counter

import pytest

from ascend._core.wire import python_minor
from ascend.building.locks import pins, resolve
from tests.cluster.test_environments import SCIENCE, claim, fit, index, look, packed_uv  # noqa: F401 - fixtures too
from tests.cluster.test_images import place, uv_travels  # noqa: F401 - fixtures
from tests.testcluster.namespaces import temporary_builders

PYTHON = python_minor()
MANY = 20


@pytest.fixture
def namespaces(testcluster, kubernetes, make_image, tmp_path):
    """Return the namespaces in which the builders may build, by their names."""
    settings = tmp_path / "home" / "project" / "ascend.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    with temporary_builders(testcluster, kubernetes, make_image) as (found, lines):
        settings.write_text("\n".join(["[plugins.build]", "keep = 5", *lines]) + "\n")
        yield found


@pytest.mark.network
@pytest.mark.timeout(900, func_only=True)
@pytest.mark.usefixtures("place")
def test_all_ways_lead_to_the_same_versions_and_the_same_answer(make_executor, namespaces):
    lock = pins(resolve(SCIENCE, python=PYTHON, platform="linux/amd64", report=print))
    expected = 2.0, {name: lock[name] for name in SCIENCE}
    for way in ("uv", "layer", "kaniko", "buildkit"):
        where = {"build_namespace": namespaces[way]} if way in namespaces else {}
        settings = {"requirements": SCIENCE, "image_builder": way, "memory": "512Mi", **where}
        future = make_executor(**settings).submit(fit)
        assert future.result(timeout=500) == expected, way
        again = make_executor(**settings).submit(fit)
        assert again.result(timeout=120) == expected, way
        if way != "uv":
            # The second client finds the image, and builds nothing.
            assert again.timeline["environment"].seconds < future.timeline["environment"].seconds / 3, way


@pytest.mark.usefixtures("uv_travels")
def test_many_pods_that_start_together_download_each_package_once(
    make_executor,
    index,  # noqa: F811
    claim,  # noqa: F811
    monkeypatch,
):
    monkeypatch.setenv("ASCEND_INDEX_URLS", index.url)
    resolve(["tiny-base"], python=PYTHON, platform="linux/amd64", report=print, index_urls=(index.url,))
    here = _wheels(index)
    executor = make_executor(requirements=["tiny-base"], image_builder="uv", package_cache=claim)
    futures = [executor.submit(look) for _ in range(MANY)]
    assert {future.result(timeout=300)[:2] for future in futures} == {(42, "1.0")}
    assert _wheels(index) == here + 1


@pytest.mark.usefixtures("uv_travels")
def test_many_pods_that_start_together_pull_their_image_once(
    make_executor,
    own_cluster,
    place,  # noqa: F811
    index,  # noqa: F811
    monkeypatch,
):
    monkeypatch.setenv("ASCEND_INDEX_URLS", index.url)
    # The same content makes the same layer, which the node may have from an earlier run.
    index.add("tiny-base", "1.0", {"tiny_base.py": f"answer = 42  # {place.path}\n"})
    executor = make_executor(requirements=["tiny-base"], image_builder="layer")
    futures = [executor.submit(look) for _ in range(MANY)]
    assert {future.result(timeout=300)[:2] for future in futures} == {(42, "1.0")}
    blobs = f'"GET /v2/{place.repository}/'
    lines = own_cluster.state.log("registry").read_text().splitlines()
    pulls = Counter(
        line.partition("/blobs/")[2].split()[0]
        for line in lines
        if blobs in line and "/blobs/" in line and "containerd/" in line
    )
    assert pulls
    assert set(pulls.values()) == {1}


def _wheels(index):  # noqa: F811
    return sum(path.startswith("/files/") and path.endswith(".whl") for path in index.asked)
