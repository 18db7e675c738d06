"""Requirements on a real cluster: locked here, installed by each pod on a stock image, under the restricted profile."""

from __future__ import annotations

import base64
import ipaddress
import json
import zlib
from importlib.metadata import version
from pathlib import Path

import pytest

from ascend.errors import ContainerConfigError, EnvironmentBuildError
from tests.package_index import package_index, wheel
from tests.testcluster.namespaces import temporary_claim

FILES = {"tiny_base.py": "answer = 42\n"}
SCIENCE = ["numpy", "pandas", "scikit-learn"]


def by_value(function):
    """Return *function* as a script's own one, which no pod can import."""
    function.__module__ = "__main__"
    return function


@by_value
def look():
    import importlib.metadata
    import os
    import subprocess
    import sys

    import tiny_base  # type: ignore[import-not-found]

    child = "import tiny_base; print(tiny_base.answer)"
    said = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout
    return tiny_base.answer, importlib.metadata.version("tiny-base"), said, "ASCEND_NETRC" in os.environ


@by_value
def fit():
    from importlib.metadata import version

    import numpy as np
    import pandas as pd  # type: ignore[import-untyped,import-not-found,unused-ignore]
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame({"x": np.arange(10.0), "y": 2.0 * np.arange(10.0) + 1.0})
    model = LinearRegression().fit(frame[["x"]], frame["y"])
    return round(float(model.coef_[0]), 6), {name: version(name) for name in ("numpy", "pandas", "scikit-learn")}


@pytest.fixture
def index(own_cluster, kubernetes, monkeypatch):
    """An index that this machine serves to the pods, too."""
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    # The registry is on the node, and this machine's end of the cable is next to it.
    node = ipaddress.ip_address(kubernetes.environ["ASCEND_BASE_IMAGE"].partition(":")[0])
    with package_index(str(node + 1)) as made:
        made.add("tiny-base", "1.0", FILES)
        yield made


@pytest.fixture(scope="session")
def packed_uv():
    from uv import find_uv_bin

    return zlib.compress(Path(find_uv_bin()).read_bytes(), 1)


@pytest.fixture
def make(make_executor, index, bucket, packed_uv, tmp_path):
    """Return a function that makes executors for the index; uv travels by the bucket, since the index has none."""
    kept = tmp_path / f"home/ascend_cache_dir/uv/{version('uv')}-x86_64-unknown-linux-musl.zlib"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(packed_uv)

    def make(**settings):
        usual = {"index_urls": [index.url], "requirements": ["tiny-base"], "storage": bucket}
        return make_executor(**{**usual, **settings})

    return make


def netrc_secret(namespace, name, index, password):
    content = f"machine {index.netloc.partition(':')[0]} login ada password {password}\n"
    data = {"netrc": base64.b64encode(content.encode()).decode()}
    namespace.admin.create("secrets", {"metadata": {"name": name}, "data": data}, namespace.name)


@pytest.mark.network
@pytest.mark.timeout(300, func_only=True)
def test_a_call_has_its_science_on_a_stock_image_without_any_storage(make_executor):
    executor = make_executor(requirements=SCIENCE)
    first = executor.submit(fit)
    coefficient, versions = first.result()
    assert coefficient == 2.0
    assert first.timeline["install"].seconds > 0
    assert executor.submit(fit).result() == (coefficient, versions)


@pytest.mark.network
@pytest.mark.timeout(300, func_only=True)
def test_a_call_has_its_science_where_uv_travels_by_the_storage(make_executor, bucket):
    assert make_executor(requirements=SCIENCE, storage=bucket).submit(fit).result()[0] == 2.0


def test_an_index_of_ones_own_is_used_here_and_there(make):
    future = make().submit(look)
    assert future.result() == (42, "1.0", "42\n", False)
    assert [phase.name for phase in future.timeline.phases][-4:] == ["install", "load", "run", "return"]


def test_a_changed_wheel_is_refused(make, index):
    make().submit(look).result()
    filename, changed = wheel("tiny-base", "1.0", {"tiny_base.py": "answer = 'stolen'\n"})
    index.files["tiny-base"][filename] = changed
    with pytest.raises(EnvironmentBuildError, match=r"[Hh]ash mismatch(.|\n)*not the one that was locked"):
        make(retries=2).submit(look).result()


@pytest.mark.timeout(300, func_only=True)
def test_an_index_that_is_down_is_an_error_and_no_failure_of_the_function(make, index):
    make().submit(look).result()
    index.stop()
    future = make(retries=2).submit(look)
    with pytest.raises(EnvironmentBuildError, match="does not reach the package index: index_urls names one"):
        future.result()
    assert future.attempts == 1


def test_an_index_that_needs_a_password_gets_it_from_a_secret(make, index, kubernetes, tmp_path, monkeypatch):
    index.password = "correct"
    here = tmp_path / "netrc"
    here.write_text(f"machine {index.netloc.partition(':')[0]} login ada password correct\n")
    here.chmod(0o600)
    monkeypatch.setenv("NETRC", str(here))
    with pytest.raises(EnvironmentBuildError, match="index_secret names a Secret of the namespace"):
        make().submit(look).result()
    netrc_secret(kubernetes, "package-index", index, "correct")
    assert make(index_secret="package-index").submit(look).result() == (42, "1.0", "42\n", False)
    netrc_secret(kubernetes, "wrong-index", index, "wrong")
    with pytest.raises(EnvironmentBuildError, match="the package index wants other credentials"):
        make(index_secret="wrong-index").submit(look).result()


def test_credentials_of_this_machine_reach_no_object_of_the_cluster(make, index, kubernetes, monkeypatch):
    index.password = "correct-horse"
    monkeypatch.setenv("UV_INDEX_URL", f"http://ada:correct-horse@{index.netloc}/simple")
    seen = []
    executor = make(index_urls=None)
    with pytest.raises(EnvironmentBuildError, match="index_secret names a Secret of the namespace"):
        executor.submit(look).result()
    for kind in ("jobs", "secrets", "pods"):
        for each in kubernetes.admin.find(kind, kubernetes.name, ""):
            seen.append(json.dumps(each))
            seen += [base64.b64decode(value).decode(errors="replace") for value in each.get("data", {}).values()]
    assert seen
    assert [text for text in seen if "correct-horse" in text] == []


def test_a_secret_that_is_not_there_is_named(make):
    with pytest.raises(ContainerConfigError, match="nowhere"):
        make(index_secret="nowhere").submit(look).result()


def test_what_has_no_solution_never_reaches_the_cluster(make, kubernetes):
    with pytest.raises(EnvironmentBuildError, match="there is no version of tiny-base==9"):
        make(requirements=["tiny-base==9"]).submit(look).result()
    assert kubernetes.admin.find("jobs", kubernetes.name, "") == []


def test_many_tasks_that_start_together_have_the_same_versions(make):
    assert {version for _, version, *_ in make().map(by_value(lambda _: look()), range(4))} == {"1.0"}


@pytest.fixture
def claim(own_cluster, kubernetes):
    """A claim for a folder of the node that every pod may write to."""
    with temporary_claim(kubernetes) as name:
        yield name


def test_pods_with_a_package_cache_download_once(make, index, claim):
    executor = make(package_cache=claim)
    assert executor.submit(look).result()[0] == 42
    before = len([path for path in index.asked if path.startswith("/files/")])
    assert executor.submit(look).result()[0] == 42
    assert len([path for path in index.asked if path.startswith("/files/")]) == before
