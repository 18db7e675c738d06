"""The builder `auto`: what it takes meanwhile, when it begins to build, and what it takes afterwards."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ascend._builtin.auto_images import AutoImages, uses_before_image
from ascend.errors import ClusterUnreachableError, ConfigError, ImageBuildError, RegistryDeniedError
from ascend.model import Environment, Image, Profile

PANDAS = Environment(("pandas",), "3.13", "python:3.13-slim")
POLARS = Environment(("polars",), "3.13", "python:3.13-slim")


class Quick:
    name = "quick"

    def ensure(self, environment, report):
        return Image(
            environment.base_image, lock=f"{environment.requirements[0]}==1" if environment.requirements else ""
        )

    def close(self):
        self.closed = True


class Oven:
    """A baker whose builds end when the test says so."""

    def __init__(self, *, there=(), fails=False, refusal=None):
        self.there, self.fails, self.refusal = set(there), fails, refusal
        self.asked, self.begun = [], []
        self.may_end = threading.Event()

    def find(self, environment, report):
        self.asked.append(environment)
        if self.refusal:
            raise self.refusal
        return Image("baked") if environment in self.there else None

    def ensure(self, environment, report):
        self.begun.append(environment)
        report("a line of its log")
        assert self.may_end.wait(60)
        if self.fails:
            raise ImageBuildError("the registry is full")
        self.there.add(environment)
        return Image("baked")


class World:
    def __init__(self, folder, uses=2, **oven):
        self.oven, self.said = Oven(**oven), []
        self.folder, self.uses, self.now = folder, uses, 0.0
        self.client()

    def client(self):
        """Become another client with the same cache."""
        self.builder = AutoImages(Quick(), self.oven, uses=self.uses, folder=self.folder, clock=lambda: self.now)

    def call(self, environment=PANDAS):
        return self.builder.ensure(environment, self.said.append)

    def baked(self):
        self.oven.may_end.set()
        for thread in threading.enumerate():
            if thread.name == "ascend-bake":
                thread.join(60)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.baked()


def test_the_second_use_has_an_image_built_and_waits_for_nothing(world):
    assert [world.call().lock, world.oven.begun] == ["pandas==1", []]
    assert world.call().lock == world.call().lock == "pandas==1"
    world.baked()
    assert world.oven.begun == [PANDAS]
    assert world.call() == Image("baked")
    assert world.said == [
        "an image of pandas is built meanwhile; later tasks will need no installation",
        "the image of pandas is there: tasks start from it now",
    ]


def test_every_environment_is_counted_for_itself(world):
    world.call()
    world.call(POLARS)
    world.baked()
    assert world.oven.begun == []


def test_uses_of_earlier_clients_count(world):
    world.call()
    world.client()
    world.call()
    world.baked()
    assert world.oven.begun == [PANDAS]


def test_many_threads_begin_one_build(world):
    with ThreadPoolExecutor(16) as threads:
        images = list(threads.map(lambda _: world.call(), range(64)))
    assert {image.lock for image in images} == {"pandas==1"}
    world.baked()
    assert world.oven.begun == [PANDAS]


def test_an_image_that_somebody_has_built_is_taken_at_once_and_asked_for_once(tmp_path):
    world = World(tmp_path, there=[PANDAS])
    assert [world.call() for _ in range(3)] == [Image("baked")] * 3
    assert (world.oven.asked, world.oven.begun) == ([PANDAS], [])


def test_an_image_that_goes_on_being_used_is_looked_for_again_and_built_again_once_it_has_gone(world):
    world.call()
    world.call()
    world.baked()
    assert [world.call() for _ in range(3)] == [Image("baked")] * 3
    asked = len(world.oven.asked)
    world.now = 3600.0
    assert world.call() == Image("baked")
    assert len(world.oven.asked) == asked + 1
    world.oven.there.clear()
    assert world.call() == Image("baked")
    world.now = 7200.0
    assert world.call().lock == "pandas==1"
    world.baked()
    assert world.oven.begun == [PANDAS, PANDAS]
    assert world.call() == Image("baked")


def test_an_image_that_cannot_be_built_is_said_and_needed_by_nobody(tmp_path, caplog):
    world = World(tmp_path, uses=1, fails=True)
    with caplog.at_level(logging.WARNING, "ascend"):
        world.call()
        world.baked()
    assert "no image of pandas was built, tasks go on installing it: the registry is full" in caplog.text
    assert world.call().lock == "pandas==1"
    world.baked()
    assert world.oven.begun == [PANDAS]


@pytest.mark.parametrize("kind", [RegistryDeniedError, ClusterUnreachableError])
def test_an_image_that_cannot_be_looked_for_is_said_once_and_needed_by_nobody(tmp_path, caplog, kind):
    world = World(tmp_path, uses=1, refusal=kind("it does not know you"))
    with caplog.at_level(logging.WARNING, "ascend"), ThreadPoolExecutor(8) as threads:
        images = list(threads.map(lambda _: world.call(), range(32)))
    assert {image.lock for image in images} == {"pandas==1"}
    assert [record.getMessage() for record in caplog.records] == [
        "whether there is an image of pandas cannot be told, tasks go on installing it: it does not know you"
    ]
    assert (world.oven.asked, world.oven.begun) == ([PANDAS], [])


def test_a_setting_that_is_wrong_is_the_error_of_every_call(tmp_path):
    world = World(tmp_path, refusal=ConfigError("python is in no allowed registry"))
    for _ in range(2):
        with pytest.raises(ConfigError, match="no allowed registry"):
            world.call()


def test_who_leaves_lets_its_builds_go_on(world):
    world.call()
    world.call()
    world.builder.close()
    world.baked()
    assert world.call() == Image("baked")


def test_without_a_registry_nothing_is_built(tmp_path):
    builder = AutoImages(Quick(), None, folder=tmp_path / "uses")
    assert [builder.ensure(PANDAS, print).lock for _ in range(3)] == ["pandas==1"] * 3
    assert not (tmp_path / "uses").exists()


@pytest.mark.parametrize("uses", [0, -1, True, "2", 1.5])
def test_a_number_of_uses_that_makes_no_sense_is_refused(uses):
    with pytest.raises(ConfigError, match="uses in"):
        uses_before_image(Profile(plugin_config={"auto": {"uses": uses}}))


def test_an_unknown_setting_is_refused():
    with pytest.raises(ConfigError, match="no setting 'after'"):
        uses_before_image(Profile(plugin_config={"auto": {"after": 2}}))
    assert uses_before_image(Profile(plugin_config={"auto": {"uses": 5}})) == 5
    assert uses_before_image(Profile()) == 2
