"""What the doctor finds in the answers of a cluster, and the Role that it prints."""

from __future__ import annotations

import json

import pytest
import yaml  # type: ignore[import-untyped] # publishes none; the official client brings it
from click.testing import CliRunner

from ascend.cli.findings import (
    check_clock,
    check_pod,
    check_quota,
    check_rights,
    check_version,
    quantity,
    required_rights,
)
from ascend.cli.group import root
from ascend.cli.role import RULES, Subject, role_yaml


@pytest.mark.parametrize(
    ("version", "state"),
    [("v1.29.0", "ok"), ("v1.35.4-gke.100", "ok"), ("v2.0.1", "ok"), ("v1.28.15", "failed"), ("odd", "unknown")],
)
def test_a_version_is_judged(version, state):
    assert check_version({"gitVersion": version}).state == state


def test_all_rights_are_enough():
    found = check_rights(dict.fromkeys(required_rights(), True), "n", "ada")
    assert (found.state, found.text) == ("ok", "all 25 rights of the Role")


def test_missing_rights_are_named_with_the_command_that_grants_them():
    rights = dict.fromkeys(required_rights(), True)
    rights["batch", "jobs", "create"] = rights["", "pods/log", "get"] = False
    found = check_rights(rights, "n", "ada lovelace")
    assert (found.state, found.text) == ("failed", "not allowed: jobs: create; pods/log: get")
    assert "ascend doctor --role -n n --to 'user:ada lovelace' | kubectl apply -f -" in found.remedy


def test_a_refused_pod_fails_and_a_warning_warns():
    assert check_pod("restricted", (), None).state == "ok"
    assert check_pod("restricted", ["would violate"], None).state == "warning"
    assert (found := check_pod(None, (), "admission webhook denied")).state == "failed"
    assert found.text == "admission webhook denied"


def quota_of(used, hard):
    return [{"metadata": {"name": "q"}, "status": {"used": used, "hard": hard}}]


def pod_with(**resources):
    return {"containers": [{"resources": {"requests": resources, "limits": resources}}]}


@pytest.mark.parametrize(
    ("used", "hard", "pod", "state"),
    [
        ({"pods": "3"}, {"pods": "10"}, pod_with(), "ok"),
        ({"pods": "10"}, {"pods": "10"}, pod_with(), "warning"),
        ({"requests.cpu": "1500m"}, {"requests.cpu": "2"}, pod_with(cpu="500m"), "ok"),
        ({"requests.cpu": "1501m"}, {"requests.cpu": "2"}, pod_with(cpu="500m"), "warning"),
        ({"requests.cpu": "0"}, {"requests.cpu": "2"}, pod_with(cpu="3"), "failed"),
        ({"memory": "0"}, {"memory": "1Gi"}, pod_with(memory="2Gi"), "failed"),
        ({"limits.memory": "0"}, {"limits.memory": "1Gi"}, pod_with(), "failed"),
        ({"requests.nvidia.com/gpu": "0"}, {"requests.nvidia.com/gpu": "0"}, pod_with(), "ok"),
        ({"services": "9"}, {"services": "1"}, pod_with(), "ok"),
    ],
)
def test_a_quota_is_compared_with_one_task(used, hard, pod, state):
    assert check_quota(quota_of(used, hard), [], pod).state == state


def test_a_limit_range_gives_a_pod_what_it_leaves_open():
    limits = [{"spec": {"limits": [{"type": "Container", "default": {"memory": "512Mi"}}]}}]
    hard = {"limits.memory": "1Gi", "requests.memory": "1Gi"}
    assert check_quota(quota_of(dict.fromkeys(hard, "0"), hard), limits, pod_with()).state == "ok"


def test_no_quota_is_fine():
    assert check_quota([], [], pod_with()).text == "no ResourceQuota limits tasks"


@pytest.mark.parametrize(("here", "state"), [(104.9, "ok"), (105, "warning"), (95, "warning")])
def test_clocks_may_differ_by_less_than_five_seconds(here, state):
    assert check_clock(100, here).state == state


def test_a_clock_that_nobody_tells_is_unknown():
    assert check_clock(None, 100).state == "unknown"


@pytest.mark.parametrize(
    ("text", "number"), [("1", 1), ("500m", 0.5), ("1Gi", 2**30), ("2k", 2000), ("1e3", 1000), ("much", 0)]
)
def test_a_quantity_is_a_number(text, number):
    assert quantity(text) == number


def test_the_role_is_yaml_with_all_rights():
    role = yaml.safe_load(role_yaml("n"))
    assert (role["kind"], role["metadata"]["namespace"]) == ("Role", "n")
    assert role["rules"] == [
        {"apiGroups": [rule.group], "resources": list(rule.resources), "verbs": list(rule.verbs)} for rule in RULES
    ]


def test_the_role_lets_nobody_read_secrets_or_make_pods():
    rights = set(required_rights())
    assert not {("", "secrets", "get"), ("", "secrets", "list"), ("", "pods", "create")} & rights


def test_every_subject_has_a_binding_of_its_own():
    subjects = [Subject("User", 'o"dd: name'), Subject("Group", "team/x"), Subject("ServiceAccount", "alice")]
    _, *bindings = yaml.safe_load_all(role_yaml("n", subjects))
    assert len({each["metadata"]["name"] for each in bindings}) == 3
    assert [each["subjects"][0]["name"] for each in bindings] == ['o"dd: name', "team/x", "alice"]
    assert bindings[2]["subjects"] == [{"kind": "ServiceAccount", "name": "alice", "namespace": "n"}]


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("ASCEND_CLUSTER", "kubernetes")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("ASCEND_STORAGE", raising=False)


@pytest.mark.usefixtures("nowhere")
def test_the_role_needs_no_cluster():
    done = CliRunner().invoke(root, ["doctor", "--role", "-n", "n", "--to", "serviceaccount:m:alice"])
    _, binding = yaml.safe_load_all(done.stdout)
    assert binding["subjects"][0]["namespace"] == "m"


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("to", ["alice", "user:", "robot:alice"])
def test_a_subject_has_a_kind_and_a_name(to):
    done = CliRunner().invoke(root, ["doctor", "--role", "-n", "n", "--to", to])
    assert done.exit_code == 2
    assert "user:NAME" in done.stderr


@pytest.mark.usefixtures("nowhere")
def test_without_a_kubeconfig_all_that_depends_on_it_is_skipped(monkeypatch):
    monkeypatch.setenv("ASCEND_BASE_IMAGE", "elsewhere.example/python:3.13")
    monkeypatch.setenv("ASCEND_ALLOWED_REGISTRIES", "registry.example")
    done = CliRunner().invoke(root, ["doctor", "--json"])
    states = {each["check"]: each["state"] for each in json.loads(done.stdout)}
    assert done.exit_code == 1
    assert states["configuration"] == "failed"
    assert {states[name] for name in ("API server", "credentials", "permissions", "quota")} == {"skipped"}
    assert states["storage"] == "ok"


@pytest.mark.usefixtures("nowhere")
def test_completion_is_quiet_without_a_cluster():
    environ = {"_ASCEND_COMPLETE": "bash_complete", "COMP_WORDS": "ascend jobs logs as", "COMP_CWORD": "3"}
    done = CliRunner().invoke(root, env=environ, prog_name="ascend", complete_var="_ASCEND_COMPLETE")
    assert (done.output.strip(), done.exit_code) == ("", 0)
