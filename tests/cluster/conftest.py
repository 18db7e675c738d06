"""A Kubernetes cluster for tests: this machine's own, or the one that ``ASCEND_TEST_CONTEXT`` names."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ascend import AscendExecutor
from ascend._core.wire import python_minor
from tests.testcluster import access, cluster
from tests.testcluster.build import KWOK
from tests.testcluster.namespaces import temporary_namespace
from tests.testcluster.nodes import changed_node, pretended_nodes
from tests.testcluster.paths import ROOT, ClusterError, State

# Tests do not see these: tests/conftest.py hides the settings of this machine.
_ENVIRON = dict(os.environ)
_HERE = Path(__file__).parent
_PATIENCE = 60.0


def pytest_collection_modifyitems(items):
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker("cluster")
            # The first may have to start the cluster, or even to build it.
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(func_only=True))


@pytest.fixture(scope="session")
def environ():
    """Return the environment of this machine's user, for what the harness does in processes of its own."""
    return dict(_ENVIRON)


@pytest.fixture(scope="session")
def testcluster():
    """Return the access to a cluster, which is started if none runs, and stays: ``make cluster-down`` stops it."""
    try:
        if context := _ENVIRON.get("ASCEND_TEST_CONTEXT"):
            with access.context_access(context, _ENVIRON) as found:
                yield found
        else:
            yield access.own_access(State.of_this_clone())
    except ClusterError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.fixture(scope="session")
def own_cluster(testcluster):
    """Return the access to this machine's own cluster, for what only its owner can do."""
    if not testcluster.state:
        pytest.skip("needs what only the owner of a cluster has: nodes to change, and the audit log")
    return testcluster


@pytest.fixture
def namespace(testcluster, tmp_path):
    """Return a namespace of the test's own that enforces ``restricted``, with a user who may do what ascend needs."""
    with temporary_namespace(testcluster, tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def change_node(own_cluster):
    """Return what changes the node for a while: ``with change_node(labels=..., taints=..., gpus=...): ...``."""
    return functools.partial(changed_node, own_cluster.state, own_cluster.api)


@pytest.fixture(scope="session")
def pretend(own_cluster):
    """Return what adds pretended nodes: ``with pretend(nodes): ...``."""
    with cluster.lock():
        kwok = KWOK.path()
    return functools.partial(pretended_nodes, kwok, own_cluster.state, own_cluster.api)


@pytest.fixture(scope="session")
def make_image(own_cluster, environ):
    """Return what makes an image in the registry of this machine's own cluster, and returns its reference."""

    def make(name):
        # In a process that sees the folders of its user, where what it compiles is kept, and not those of a test.
        command = [sys.executable, "-m", "tests.testcluster", "image", name, "--python", python_minor()]
        done = subprocess.run(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.strip()

    return make


@pytest.fixture(scope="session")
def science_image(make_image):
    """Return an image with scikit-learn for this Python."""
    return make_image("science")


@pytest.fixture(scope="session")
def debian_image(make_image):
    """Return an image with apt for this Python."""
    return make_image("debian")


@pytest.fixture
def kubernetes(namespace, monkeypatch):
    """Stand in the shell of a user of *namespace*; nothing of ascend may be left there in the end."""
    for name, value in namespace.environ.items():
        # Only the tests that say so have a bucket.
        if name != "ASCEND_STORAGE":
            monkeypatch.setenv(name, value)
    yield namespace
    end = time.monotonic() + _PATIENCE
    while left := namespace.left():
        assert time.monotonic() < end, f"left behind: {left}"
        time.sleep(0.1)


@pytest.fixture
def storage_url(namespace):
    """Return the URL of the storage that this machine and pods reach."""
    url = namespace.environ.get("ASCEND_STORAGE")
    if url is None:
        pytest.fail("there is no bucket: set ASCEND_TEST_STORAGE and its AWS_* variables", pytrace=False)
    return url


@pytest.fixture
def bucket(storage_url, kubernetes):
    """Return the URL of a storage that pods reach too, with its credentials in the environment."""
    return f"{storage_url}/{kubernetes.name}"


@pytest.fixture
def make_executor(kubernetes, leaves_nothing):
    """Return a function that makes executors on the cluster; all are shut down after the test."""
    made = []

    def make(**settings):
        made.append(AscendExecutor(**{"progress": False, "queue_timeout": 60.0, **settings}))
        return made[-1]

    yield make
    for executor in made:
        executor._run.shutdown(wait=True, cancel_futures=True, kill=True)


@pytest.fixture
def executor(make_executor):
    """Return an executor on the cluster, without any storage."""
    return make_executor()
