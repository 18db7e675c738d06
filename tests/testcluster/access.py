"""How tests reach a cluster: this machine's own, or the one that a kubeconfig file's context names."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import urllib3

from tests.testcluster import cluster
from tests.testcluster.api import Api
from tests.testcluster.paths import ROOT, ClusterError, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

USED = ("KUBECONFIG", "ASCEND_NAMESPACE")
"""What a namespace of a test's own replaces."""


@dataclass(frozen=True)
class Access:
    """A cluster as its administrator sees it, and what a user's environment must say."""

    api: Api
    target: dict[str, Any]
    """What a kubeconfig file says of the cluster."""
    environ: dict[str, str]
    """What the environment of a client must say, beside the kubeconfig file and the namespace."""
    state: State | None = None
    """The state, if the cluster is this machine's own."""


def own_access(state: State) -> Access:
    """Start or join the cluster of this machine."""
    up = subprocess.run(
        [sys.executable, "-m", "tests.testcluster", "up"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if up.returncode:
        raise ClusterError(up.stderr.strip().rpartition("error: ")[2])
    target = json.loads(state.kubeconfig.read_text())["clusters"][0]["cluster"]
    environ = {name: value for name, value in cluster.exports(state).items() if name not in USED}
    return Access(Api.of_kubeconfig(state.kubeconfig), target, environ, state)


@contextlib.contextmanager
def context_access(context: str, environ: Mapping[str, str]) -> Iterator[Access]:
    """Reach the cluster of *context*, in whatever way its kubeconfig file says, through kubectl."""
    if not shutil.which("kubectl"):
        raise ClusterError(f"kubectl is missing, and the context {context} is reached through it; install kubectl")
    command = ["kubectl", "--context", context]
    view = subprocess.run(
        [*command, "config", "view", "--minify", "--flatten", "--raw", "--output", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    if view.returncode:
        raise ClusterError(f"there is no context {context}: {view.stderr.strip()}")
    with subprocess.Popen([*command, "proxy", "--port=0"], stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout
            place = proxy.stdout.readline().rpartition(" ")[2].strip()
            if not place:
                raise ClusterError(f"kubectl proxy does not start for the context {context}; see its own words above")
            api = Api(f"http://{place}", urllib3.PoolManager(maxsize=4, retries=False, timeout=60))
            yield Access(api, json.loads(view.stdout)["clusters"][0]["cluster"], _of_tests(environ))
        finally:
            proxy.terminate()


def _of_tests(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the variables ``ASCEND_TEST_*`` say, under the names that a client reads, and the bucket's."""
    named = {
        name.replace("_TEST_", "_", 1): value
        for name, value in environ.items()
        if name.startswith("ASCEND_TEST_") and name != "ASCEND_TEST_CONTEXT"
    }
    return named | {name: value for name, value in environ.items() if name.startswith("AWS_")}
