from __future__ import annotations

import json
import ssl
import sys
import urllib.request
from http import HTTPStatus
from types import SimpleNamespace
from urllib.error import HTTPError

import obstore
import pytest
from obstore.store import from_url

from tests.testcluster.api import Api, ApiError
from tests.testcluster.nodes import pretended_node

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def pods(namespace):
    """Return what runs a Python program in a pod as a user's task runs, and waits for its end."""

    def create(name, code, image=None, **spec):
        container = {
            "name": "main",
            "image": image or namespace.environ["ASCEND_BASE_IMAGE"].format(python=PYTHON),
            "command": ["python", "-c", code],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "resources": spec.pop("resources", {"requests": {"cpu": "50m"}}),
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        }
        spec = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
            **spec,
        }
        return namespace.admin.create("pods", {"metadata": {"name": name}, "spec": spec}, namespace.name)

    def phase(name, *wanted):
        return namespace.admin.wait("pods", name, namespace.name, lambda pod: pod["status"].get("phase") in wanted)

    def run(code, **spec):
        create("task", code, **spec)
        pod = phase("task", "Succeeded", "Failed")
        return pod["status"]["phase"], namespace.admin.logs("task", namespace.name)

    return SimpleNamespace(create=create, phase=phase, run=run)


def test_a_pod_runs_as_a_user_with_a_root_that_it_cannot_write(pods):
    code = "import os, sys; print(os.getuid(), '%d.%d' % sys.version_info[:2]); open('/file', 'w')"
    phase, output = pods.run(code)
    assert phase == "Failed"
    assert f"10001 {PYTHON}\n" in output
    assert "Read-only file system" in output


def test_a_pod_that_may_be_root_is_refused(namespace):
    pod = {"metadata": {"name": "root"}, "spec": {"containers": [{"name": "main", "image": "python"}]}}
    with pytest.raises(ApiError, match=r"violates PodSecurity.*restricted"):
        namespace.admin.create("pods", pod, namespace.name)


def test_a_pod_has_the_whole_standard_library_and_this_machines_authorities(pods):
    code = """if True:
        import bz2, ctypes, lzma, readline, sqlite3, ssl, uuid, zlib
        print(len(ssl.create_default_context().get_ca_certs()) > 0)
    """
    assert pods.run(code) == ("Succeeded", "True\n")


@pytest.mark.network
def test_a_pod_installs_packages_from_where_this_machine_does(pods):
    code = """if True:
        import subprocess, sys
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--target", "/tmp/here", "six"]
        subprocess.run(install, check=True)
        sys.path.append("/tmp/here")
        import six
        print(six.__name__)
    """
    phase, output = pods.run(code)
    assert phase == "Succeeded", output
    assert output.endswith("six\n")


def test_a_pod_reads_the_bucket_by_a_signed_address(namespace, storage_url, pods, monkeypatch):
    for name, value in namespace.environ.items():
        monkeypatch.setenv(name, value)
    store = from_url(storage_url, client_options={"allow_http": True})
    obstore.put(store, f"{namespace.name}/greeting", b"hello")
    import datetime as dt

    read = obstore.sign(store, "GET", f"{namespace.name}/greeting", dt.timedelta(hours=1))
    write = obstore.sign(store, "PUT", f"{namespace.name}/answer", dt.timedelta(hours=1))
    code = f"""if True:
        from urllib.request import Request, urlopen
        data = urlopen({read!r}).read()
        urlopen(Request({write!r}, data.upper(), method="PUT"))
    """
    assert pods.run(code) == ("Succeeded", "")
    assert bytes(obstore.get(store, f"{namespace.name}/answer").bytes()) == b"HELLO"


def test_the_user_may_create_jobs_but_no_pods(namespace):
    user = Api.of_kubeconfig(namespace.kubeconfig)
    assert user.find("jobs", namespace.name) == []
    with pytest.raises(ApiError, match=r"cannot create resource \\\"pods\\\""):
        user.create("pods", {"metadata": {"name": "pod"}}, namespace.name)
    with pytest.raises(ApiError, match="cannot list resource"):
        user.find("jobs", "default")


def test_what_carries_the_label_of_ascend_is_left(namespace):
    user = Api.of_kubeconfig(namespace.kubeconfig)
    assert namespace.left() == []
    labels = {"app.kubernetes.io/managed-by": "ascend"}
    user.create("secrets", {"metadata": {"name": "call", "labels": labels}}, namespace.name)
    assert namespace.left() == ["secrets/call"]


class TestOwnCluster:
    @pytest.fixture(autouse=True)
    def _own(self, own_cluster):
        """Run only where the cluster is this machine's own."""

    def test_the_audit_log_has_each_request_of_the_user_once(self, namespace):
        user = Api.of_kubeconfig(namespace.kubeconfig)
        assert namespace.audit() == []
        user.find("jobs", namespace.name)
        with pytest.raises(ApiError):
            user.get("secrets", "call", namespace.name)
        seen = [
            (each["verb"], each["objectRef"]["resource"], each["responseStatus"]["code"]) for each in namespace.audit()
        ]
        assert seen == [("list", "jobs", 200), ("get", "secrets", 403)]

    @pytest.mark.parametrize("port", [6443, 10250])
    def test_nobody_is_served_without_a_name(self, testcluster, port):
        host = testcluster.target["server"].rpartition(":")[0]
        stranger = ssl._create_unverified_context()
        with pytest.raises(HTTPError) as refused:
            urllib.request.urlopen(f"{host}:{port}/pods", context=stranger)
        with refused.value as answer:
            assert answer.code == HTTPStatus.UNAUTHORIZED

    def test_a_pod_that_asks_for_a_gpu_waits_for_a_node_that_has_one(self, namespace, pods, change_node, eventually):
        kind = {"node.kubernetes.io/instance-type": namespace.name}
        limits = {"limits": {"nvidia.com/gpu": "1", "cpu": "50m"}}
        pods.create("task", "print('on a GPU')", resources=limits, nodeSelector=kind)

        def reason():
            pod = namespace.admin.get("pods", "task", namespace.name)
            return [
                each["message"] for each in pod["status"].get("conditions", []) if each.get("reason") == "Unschedulable"
            ]

        assert "didn't match Pod's node affinity/selector" in eventually(reason)[0]
        with change_node(labels=kind, gpus=2):
            pods.phase("task", "Succeeded")

    def test_pretended_nodes_take_pods_that_ask_for_what_they_have(self, namespace, pods, pretend):
        kind = {"node.kubernetes.io/instance-type": namespace.name}
        names = [f"{namespace.name}-{number}" for number in range(3)]
        nodes = [pretended_node(name, labels=kind, capacity={"nvidia.com/gpu": "8"}) for name in names]
        with pretend(nodes):
            limits = {"limits": {"nvidia.com/gpu": "8"}}
            tolerations = [{"key": "pretended", "operator": "Exists"}]
            for number in range(3):
                pods.create(f"task-{number}", "", resources=limits, nodeSelector=kind, tolerations=tolerations)
            on = {pods.phase(f"task-{number}", "Running", "Succeeded")["spec"]["nodeName"] for number in range(3)}
        assert on == set(names)

    def test_the_image_for_science_has_scikit_learn(self, pods, science_image):
        assert pods.run("import sklearn.linear_model; print('fine')", image=science_image) == ("Succeeded", "fine\n")

    def test_exports_are_what_a_client_reads(self, namespace):
        assert namespace.environ["KUBECONFIG"] == str(namespace.kubeconfig)
        assert json.loads(namespace.kubeconfig.read_text())["contexts"][0]["context"]["namespace"] == namespace.name
