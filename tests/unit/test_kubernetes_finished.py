"""What a Job gets on Kubernetes only."""

from __future__ import annotations

from copy import deepcopy

import pytest

from ascend._builtin.kubernetes.finished import finished

OWNER = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "name": "asc-0badc0de", "uid": "u-1"}


def job(env=(), limits=None, deadline=None, retries=0, waiting="600"):
    container = {"name": "main", "env": list(env), "resources": {"limits": limits or {}}}
    pod = {"containers": [container], **({} if deadline is None else {"activeDeadlineSeconds": deadline})}
    meta = {"name": "asc-0badc0de-1", "annotations": {"ascend.dev/queue-timeout": waiting}}
    return {"metadata": meta, "spec": {"backoffLimitPerIndex": retries, "template": {"spec": pod}}}


def variables(manifest):
    made = finished(manifest, namespace="crystals", owner=OWNER)
    return {each["name"]: each.get("value") for each in made["spec"]["template"]["spec"]["containers"][0]["env"]}


def test_it_is_in_the_namespace_and_goes_with_the_run():
    made = finished(job(), namespace="crystals", owner=OWNER)

    assert made["metadata"]["namespace"] == "crystals"
    assert made["metadata"]["ownerReferences"] == [OWNER]


def test_what_is_given_is_left_as_it_was():
    given = job(limits={"cpu": "1"}, deadline=60)
    before = deepcopy(given)

    finished(given, namespace="crystals", owner=OWNER)

    assert given == before


def test_the_task_is_not_process_1_unless_somebody_wants_that():
    own = job()
    own["spec"]["template"]["spec"]["shareProcessNamespace"] = False

    shared = [finished(each, namespace="n", owner=OWNER)["spec"]["template"]["spec"] for each in (job(), own)]

    assert [each["shareProcessNamespace"] for each in shared] == [True, False]


def test_what_libraries_write_goes_where_the_pod_may_write():
    found = variables(job())

    assert found["HOME"] == "/ascend/work"
    assert found["ASCEND_RECEIPT"] == "/dev/termination-log"


def test_a_variable_of_the_users_stays_and_comes_after_ours():
    own = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "t", "key": "k"}}}
    made = finished(job([{"name": "HOME", "value": "/data"}, own]), namespace="n", owner=OWNER)

    env = made["spec"]["template"]["spec"]["containers"][0]["env"]
    assert env[-2:] == [{"name": "HOME", "value": "/data"}, own]
    assert [each["name"] for each in env].count("HOME") == 1


@pytest.mark.parametrize(
    ("cpu", "threads"),
    [("1", "1"), ("4", "4"), ("500m", "1"), ("1500m", "2"), ("2.5", "3"), ("0.1", "1"), (8, "8"), (None, None)],
)
def test_libraries_start_as_many_threads_as_there_are_cores_for_it(cpu, threads):
    found = variables(job(limits={} if cpu is None else {"cpu": cpu}))

    assert found.get("OMP_NUM_THREADS") == found.get("OPENBLAS_NUM_THREADS") == threads


@pytest.mark.parametrize(("retries", "bound"), [(0, 600 + 60 + 900), (2, 600 + 3 * 60 + 900)])
def test_a_job_whose_attempts_end_ends_itself(retries, bound):
    made = finished(job(deadline=60, retries=retries), namespace="n", owner=OWNER)

    assert made["spec"]["activeDeadlineSeconds"] == bound


def test_a_job_without_a_timeout_has_no_deadline_and_a_given_one_stays():
    given = job(deadline=60)
    given["spec"]["activeDeadlineSeconds"] = 5

    assert "activeDeadlineSeconds" not in finished(job(), namespace="n", owner=OWNER)["spec"]
    assert finished(given, namespace="n", owner=OWNER)["spec"]["activeDeadlineSeconds"] == 5
