"""The cluster kubernetes before, between and after its Jobs, on a web server of this machine."""

from __future__ import annotations

import threading

import pytest

from ascend._builtin.kubernetes.cluster import KubernetesCluster
from ascend.errors import ClusterError, PermissionDeniedError
from ascend.model import JobStatus, Profile
from tests.unit.api_server import ApiServer, answer, kubeconfig, refusal, stream

FIELDS = ("backoffLimitPerIndex", "maxFailedIndexes", "podFailurePolicy", "podReplacementPolicy", "completionMode")
JOB = {
    "metadata": {"name": "asc-1", "annotations": {}},
    "spec": {"template": {"spec": {"containers": [{"name": "main", "image": "python:3.13-slim", "env": []}]}}},
}


class Routes(ApiServer):
    """An API server whose answers go by method and kind of object."""

    def __init__(self):
        super().__init__()
        empty = answer({"metadata": {"resourceVersion": "1"}, "items": []})
        self.routes = {
            ("POST", "jobs"): answer({"metadata": {"uid": "u-2"}, "spec": dict.fromkeys(FIELDS, "kept")}),
            ("POST", "leases"): answer({"metadata": {"uid": "u-1"}}, 201),
            ("DELETE", "leases"): answer({}),
            ("DELETE", "jobs"): answer({}),
            ("GET", "jobs"): empty,
            ("GET", "pods"): empty,
            ("GET", "events"): empty,
            ("WATCH", "jobs"): stream(then="silent"),
            ("WATCH", "pods"): stream(then="silent"),
        }

    def next(self, request):
        self.requests.append(request)
        return self.routes[
            "WATCH" if "watch" in request.query else request.method,
            request.path.split("/")[6 if "apis" in request.path else 5],
        ]

    def made(self, method):
        return [each.path.rpartition("/")[2] for each in self.requests if each.method == method]


@pytest.fixture
def server():
    made = Routes()
    yield made
    made.close()


@pytest.fixture
def cluster(server, tmp_path, leaves_nothing):
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig(server.url))
    made = KubernetesCluster(Profile(plugin_config={"kubernetes": {"kubeconfig": str(path), "unreachable_timeout": 2}}))
    yield made
    made.close()


def test_a_run_that_was_opened_leaves_nothing_when_it_is_closed(server, cluster):
    cluster.open("0badc0de")
    cluster.create_job(JOB)

    cluster.close()
    cluster.close()

    (end,) = cluster.watch()
    assert (end.job_name, end.phase, end.reason, end.final) == ("asc-1", "failed", "Deleted", True)
    assert server.made("DELETE") == ["asc-1", "asc-0badc0de"]


@pytest.mark.parametrize("kind", ["pods", "jobs"])
def test_a_run_that_may_not_watch_is_not_opened_and_can_be_closed(server, cluster, kind):
    words = f'{kind} is forbidden: User "ada" cannot list resource "{kind}" in the namespace "crystals"'
    server.routes["GET", kind] = refusal(403, "Forbidden", words)

    with pytest.raises(PermissionDeniedError, match="watch pods and Jobs"):
        cluster.open("0badc0de")
    cluster.close()

    assert set(server.made("DELETE")) == {"asc-0badc0de"}
    assert list(cluster.watch()) == []


def test_a_job_that_was_created_though_its_answer_was_lost_is_expected(server, cluster):
    cluster.open("0badc0de")
    owner = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "name": "asc-0badc0de", "uid": "u-1"}
    server.routes["POST", "jobs"] = refusal(409, "AlreadyExists", 'jobs.batch "asc-1" already exists')
    server.routes["GET", "jobs"] = answer({"metadata": {"name": "asc-1", "uid": "u-2", "ownerReferences": [owner]}})

    cluster.create_job(JOB)
    cluster.close()

    assert [each.job_name for each in cluster.watch()] == ["asc-1"]


def test_a_job_of_somebody_else_does_not_stand_for_ours(server, cluster):
    cluster.open("0badc0de")
    server.routes["POST", "jobs"] = refusal(409, "AlreadyExists", 'jobs.batch "asc-1" already exists')
    server.routes["GET", "jobs"] = answer({"metadata": {"name": "asc-1", "uid": "u-2"}})

    with pytest.raises(ClusterError, match=r"409 AlreadyExists.*already exists"):
        cluster.create_job(JOB)
    cluster.close()

    assert list(cluster.watch()) == []


def test_of_a_job_that_was_refused_nothing_is_told(server, cluster):
    cluster.open("0badc0de")
    server.routes["POST", "jobs"] = refusal(422, "Invalid", 'Job.batch "asc-1" is invalid: spec.x: Invalid value')

    with pytest.raises(Exception, match="cannot create the Job asc-1"):
        cluster.create_job(JOB)
    cluster.close()

    assert list(cluster.watch()) == []


def test_a_watch_that_is_refused_ends_the_run(server, cluster):
    server.routes["WATCH", "pods"] = refusal(403, "Forbidden", "no longer")
    cluster.open("0badc0de")

    with pytest.raises(ClusterError, match="no longer"):
        list(cluster.watch())


def test_events_that_nobody_hears_hold_up_nobody(server, cluster):
    server.routes["WATCH", "pods"] = refusal(403, "Forbidden", "no longer")
    cluster.open("0badc0de")
    with pytest.raises(ClusterError):
        list(cluster.watch())

    def shout():
        for _ in range(20_000):
            cluster._put(JobStatus("asc-1", "pending"))

    thread = threading.Thread(target=shout)
    thread.start()
    thread.join(60)

    assert not thread.is_alive()


def test_what_is_closed_takes_no_jobs(cluster):
    with pytest.raises(ClusterError, match="closed"):
        cluster.create_job(JOB)
    cluster.delete_job("asc-1")
    cluster.open("0badc0de")
    cluster.close()
    with pytest.raises(ClusterError, match="closed"):
        cluster.place("runner.zip", b"")
    cluster.delete_job("asc-1")


def test_a_job_whose_deletion_failed_is_deleted_when_the_server_is_back(server, cluster, eventually, monkeypatch):
    monkeypatch.setattr("ascend._builtin.kubernetes.run._AGAIN_SECONDS", 0.1)
    server.routes["DELETE", "jobs"] = refusal(500, "InternalError", "etcdserver: leader changed")
    cluster.open("0badc0de")
    cluster.create_job(JOB)

    cluster.delete_job("asc-1")
    eventually(lambda: server.made("DELETE").count("asc-1") >= 2)
    server.routes["DELETE", "jobs"] = answer({})
    before = server.made("DELETE").count("asc-1")
    eventually(lambda: server.made("DELETE").count("asc-1") > before)
    eventually(lambda: not cluster._run._failed)


def test_a_closed_run_shortens_the_patience_of_requests_under_way(server, cluster, monkeypatch):
    monkeypatch.setattr("ascend._builtin.kubernetes.run._LAST_PATIENCE", 0.1)
    server.routes["DELETE", "jobs"] = refusal(503, "ServiceUnavailable", "come again")
    cluster.open("0badc0de")
    cluster.create_job(JOB)
    cluster._run.connection.patience = 60
    cluster.delete_job("asc-1")

    thread = threading.Thread(target=cluster.close)
    thread.start()
    thread.join(30)

    assert not thread.is_alive()
