"""The contract of clusters, kept on a real one; and every golden Job, as a real API server sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ascend._builtin.kubernetes.cluster import KubernetesCluster
from ascend._builtin.kubernetes.finished import finished
from ascend._core.config.profile import load_profile
from ascend._core.manifest import image_of
from ascend.testing import ClusterContract
from tests.testcluster.api import Api

GOLDEN = sorted((Path(__file__).parents[1] / "unit" / "golden").glob("job-*.json"))
OWNER = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "name": "asc-0badc0de", "uid": "0-1-2-3"}


class TestKubernetesCluster(ClusterContract):
    patience = 120.0

    @pytest.fixture
    def image(self, kubernetes):
        return image_of(kubernetes.environ["ASCEND_BASE_IMAGE"])

    @pytest.fixture
    def cluster(self, kubernetes):
        return KubernetesCluster(load_profile())


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_server_takes_a_golden_job_as_it_is_and_keeps_all_of_it(path, kubernetes):
    job = finished(json.loads(path.read_text()), namespace=kubernetes.name, owner=OWNER)
    api = Api.of_kubeconfig(kubernetes.kubeconfig)
    place = f"apis/batch/v1/namespaces/{kubernetes.name}/jobs?dryRun=All&fieldValidation=Strict"
    echo = api.request("POST", place, job)
    assert missing(job, echo) == []


def test_the_pod_of_a_golden_job_is_restricted_enough(kubernetes):
    for path in GOLDEN:
        job = finished(json.loads(path.read_text()), namespace=kubernetes.name, owner=OWNER)
        template = job["spec"]["template"]
        spec = {name: value for name, value in template["spec"].items() if name != "priorityClassName"}
        pod = {"metadata": {"generateName": "golden-", **template["metadata"]}, "spec": spec}
        pod["spec"].pop("serviceAccountName", None)
        kubernetes.admin.request("POST", f"api/v1/namespaces/{kubernetes.name}/pods?dryRun=All", pod)


def missing(sent, echo, where=""):
    """Return the paths of what was sent and is not, or not the same, in the echo; quantities may be written anew."""
    if isinstance(sent, dict):
        return [each for key in sent for each in missing(sent[key], (echo or {}).get(key), f"{where}.{key}")]
    if isinstance(sent, list):
        pairs = zip(sent, echo or [None] * len(sent), strict=False)
        return [each for n, (mine, theirs) in enumerate(pairs) for each in missing(mine, theirs, f"{where}[{n}]")]
    return [] if sent == echo or sent in ("", 0) else [f"{where}: {sent!r} became {echo!r}"]
