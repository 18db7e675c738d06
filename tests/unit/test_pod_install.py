"""What is installed when a task starts, on the cluster ``local``: the same runner as in a pod."""

from __future__ import annotations

import os
import re
import shutil
import sys
import zlib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from ascend.errors import ClusterError, ConfigError, EnvironmentBuildError
from tests.package_index import package_index, wheel

FILES = {"tiny_base.py": "answer = 42\n", "tiny_base.pth": "tiny_more\n", "tiny_more/deep.py": ""}


@pytest.fixture(scope="session")
def packed_uv():
    return zlib.compress(Path(uv_program()).read_bytes(), 1)


@pytest.fixture
def index(monkeypatch, tmp_path, packed_uv):
    """An index of this test, a uv on PATH as an image may have one, and in the cache the one that travels."""
    kept = tmp_path / f"home/ascend_cache_dir/uv/{version('uv')}-x86_64-unknown-linux-musl.zlib"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(packed_uv)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("PATH", f"{Path(uv_program()).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with package_index() as made:
        made.add("tiny-base", "1.0", FILES)
        yield made


def uv_program():
    from uv import find_uv_bin

    return find_uv_bin()


@pytest.fixture
def make(make_executor, index):
    """Return a function that makes executors, each with a run that has downloaded nothing, and the lock of the day."""

    def make(**settings):
        usual = {"image_builder": "uv", "index_urls": [index.url], "requirements": ["tiny-base"]}
        return make_executor(**{**usual, **settings})

    return make


def look():
    import importlib.metadata
    import subprocess

    import deep  # type: ignore[import-not-found]
    import tiny_base  # type: ignore[import-not-found]

    child = "import tiny_base; print(tiny_base.answer)"
    said = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout
    return tiny_base.answer, importlib.metadata.version("tiny-base"), deep.__name__, said


def test_what_a_function_imports_is_installed_before_it_is_called(make):
    future = make().submit(look)
    assert future.result() == (42, "1.0", "deep", "42\n")
    names = [phase.name for phase in future.timeline.phases]
    assert names == ["queue", "environment", "pack", "start", "install", "load", "run", "return"]
    assert future.timeline["install"].seconds > 0


def test_uv_travels_with_tasks_whose_image_has_none(make, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert shutil.which("uv") is None
    assert make().submit(look).result()[0] == 42


def test_nothing_is_compiled_while_it_is_installed(make):
    def compiled():
        import pathlib

        import tiny_base

        return [path.name for path in pathlib.Path(tiny_base.__file__).parent.rglob("tiny_more/*.pyc")]

    assert make().submit(compiled).result() == []


def test_scripts_are_on_the_path(make):
    assert make().submit(os.environ.__getitem__, "PATH").result().split(os.pathsep)[0].endswith("/bin")


def test_all_tasks_of_an_executor_have_the_same_versions(make, index):
    import importlib.metadata

    executor = make()
    assert executor.submit(importlib.metadata.version, "tiny-base").result() == "1.0"
    index.add("tiny-base", "1.1", {"tiny_base.py": "answer = 43\n"})
    assert executor.submit(importlib.metadata.version, "tiny-base").result() == "1.0"


def test_a_changed_wheel_is_refused(make, index):
    make().submit(look).result()
    filename, changed = wheel("tiny-base", "1.0", {**FILES, "tiny_base.py": "answer = 'stolen'\n"})
    index.files["tiny-base"][filename] = changed
    with pytest.raises(EnvironmentBuildError, match=r"[Hh]ash mismatch(.|\n)*not the one that was locked: find out"):
        make().submit(look).result()


def test_a_failed_installation_is_not_tried_again(make, index):
    make().submit(look).result()
    index.files.clear()
    future = make(retries=3).submit(look)
    with pytest.raises(EnvironmentBuildError, match=r"the call of look was not made(.|\n)*tiny-base"):
        future.result()
    assert future.attempts == 1


def test_an_index_that_is_down_is_an_error_with_the_remedy(make, index):
    make().submit(look).result()
    index.stop()
    with pytest.raises(EnvironmentBuildError, match="does not reach the package index: index_urls names one"):
        make().submit(look).result()


def test_an_index_that_wants_a_password_is_an_error_with_the_remedy(make, index):
    make().submit(look).result()
    index.password = "secret"
    with pytest.raises(EnvironmentBuildError, match="wants other credentials: index_secret names a Secret"):
        make().submit(look).result()


def test_a_task_without_requirements_installs_nothing(make):
    future = make(requirements=[]).submit(abs, -1)
    assert future.result() == 1
    assert "install" not in [phase.name for phase in future.timeline.phases]


def test_what_cannot_be_resolved_is_the_error_of_every_future(make):
    broken = make(requirements=["tiny-base==9"])
    for future in [broken.submit(abs, -1) for _ in range(3)]:
        with pytest.raises(EnvironmentBuildError, match=re.escape("there is no version of tiny-base==9")):
            future.result()


def test_credentials_in_an_index_url_are_refused(make):
    with pytest.raises(ConfigError, match=re.escape("no credentials, as the URL of index.example does")) as caught:
        make(index_urls=["https://ada:secret@index.example/simple"])
    assert "secret@" not in str(caught.value)


def test_a_secret_for_the_index_is_nothing_for_the_local_cluster(make):
    with pytest.raises(ClusterError, match="ASCEND_NETRC is a Secret of Kubernetes"):
        make(index_secret="package-index").submit(abs, -1).result()


def test_certificates_that_are_not_there_are_an_error(make):
    with pytest.raises((ConfigError, EnvironmentBuildError), match=re.escape("/nowhere.pem")):
        make(certificates="/nowhere.pem").submit(abs, -1).result()


def test_this_process_has_none_of_it():
    assert find_spec("tiny_base") is None
