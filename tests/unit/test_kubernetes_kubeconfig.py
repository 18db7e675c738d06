"""The way to a cluster: files, contexts, namespaces, and the service account of a pod."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ascend._builtin.kubernetes.kubeconfig import connect
from ascend.errors import ConfigError
from tests.testcluster.certificates import Authority
from tests.unit.api_server import ApiServer, answer, kubeconfig


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch):
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


def config(*contexts, current="", server="https://one.example:6443"):
    """Return a kubeconfig; a context is a name, or a name and a namespace."""
    found = []
    for each in contexts:
        name, _, namespace = each.partition("/")
        place = {"cluster": f"{name}-cluster", "user": "ada", **({"namespace": namespace} if namespace else {})}
        found.append({"name": name, "context": place})
    clusters = [{"name": f"{each.partition('/')[0]}-cluster", "cluster": {"server": server}} for each in contexts]
    users = [{"name": "ada", "user": {"token": "t"}}]
    written = {"apiVersion": "v1", "kind": "Config", "clusters": clusters, "users": users, "contexts": found}
    return json.dumps({**written, "current-context": current})


@pytest.fixture
def file(tmp_path):
    """Return a function that writes a kubeconfig and returns its path."""

    def write(text, name="config"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


# Files.


def test_without_any_file_the_error_says_what_to_set():
    with pytest.raises(ConfigError, match=r"no kubeconfig at .*\.kube.config.*set KUBECONFIG.*ASCEND_CLUSTER=local"):
        connect()


def test_a_file_that_is_named_and_not_there_is_named():
    with pytest.raises(ConfigError, match="no kubeconfig at /nowhere/config"):
        connect(kubeconfig="/nowhere/config")


def test_the_file_in_the_home_is_found():
    folder = Path.home() / ".kube"
    folder.mkdir()
    (folder / "config").write_text(config("lab", current="lab"))

    assert connect().place.context == "lab"


def test_the_variable_stands_before_the_home_and_an_argument_before_the_variable(file, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", file(config("variable", current="variable"), "a"))
    argument = file(config("argument", current="argument"), "b")

    assert connect().place.context == "variable"
    assert connect(kubeconfig=argument).place.context == "argument"


def test_several_files_are_one_and_missing_ones_are_passed_over(file, monkeypatch):
    first, second = file(config("lab/crystals"), "a"), file(config("home", current="lab"), "b")
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([first, "", "/nowhere/config", second]))

    assert connect().place.context == "lab"
    assert connect().namespace == "crystals"
    assert connect("home").namespace == "default"


@pytest.mark.parametrize("text", ["", "{", "[]", "contexts: 5", "a: b", "\x00"])
def test_a_file_that_is_no_kubeconfig_is_named(file, text):
    path = file(text)

    with pytest.raises(ConfigError, match="kubeconfig") as caught:
        connect(kubeconfig=path)

    assert path in str(caught.value)


def test_a_context_without_its_cluster_is_an_error_of_the_file(file):
    path = file(config("lab", current="lab").replace("lab-cluster", "other", 1))

    with pytest.raises(ConfigError, match=r"cannot be used.*(lab-cluster|other)"):
        connect(kubeconfig=path)


# Contexts and namespaces.


def test_an_unknown_context_is_told_with_those_that_exist(file):
    with pytest.raises(ConfigError, match="has no context 'lap': there are home, lab"):
        connect("lap", kubeconfig=file(config("lab", "home", current="lab")))


@pytest.mark.parametrize("text", [config("lab", "home"), config("lab", "home", current="")])
def test_without_a_current_context_one_must_be_named(file, text):
    path = file(text)

    with pytest.raises(ConfigError, match=r"no current context: set context \(ASCEND_CONTEXT\).*home, lab"):
        connect(kubeconfig=path)
    assert connect("home", kubeconfig=path).place.context == "home"


def test_a_current_context_that_does_not_exist_is_told(file):
    with pytest.raises(ConfigError, match="has no context 'gone': there are lab"):
        connect(kubeconfig=file(config("lab", current="gone")))


def test_no_contexts_at_all_are_none(file):
    with pytest.raises(ConfigError, match="has no context 'lab': there are none"):
        connect("lab", kubeconfig=file(config()))


def test_a_namespace_that_is_named_stands_before_that_of_the_context(file):
    path = file(config("lab/crystals", "home", current="lab"))

    assert connect(kubeconfig=path).namespace == "crystals"
    assert connect(kubeconfig=path, namespace="mine").namespace == "mine"
    assert connect("home", kubeconfig=path).namespace == "default"


def test_the_place_names_context_and_server(file):
    place = connect(kubeconfig=file(config("lab", current="lab", server="https://two.example/k8s/"))).place

    assert (place.context, place.server) == ("lab", "https://two.example/k8s")


# On the way.


def test_requests_go_through_the_proxy_of_the_kubeconfig(file):
    proxy = ApiServer()
    proxy.answers = [answer({"ok": True})]
    connection = connect(kubeconfig=file(kubeconfig("http://nowhere.example", **{"proxy-url": proxy.url})))
    try:
        assert connection.get("/version") == {"ok": True}
    finally:
        connection.close()
        proxy.close()

    assert proxy.requests[0].path == "http://nowhere.example/version"


def test_a_token_file_is_read(file, tmp_path):
    server = ApiServer()
    server.answers = [answer({})]
    (tmp_path / "token").write_text("from-a-file")
    connection = connect(kubeconfig=file(kubeconfig(server.url, {"tokenFile": str(tmp_path / "token")})))
    try:
        connection.get("/version")
    finally:
        connection.close()
        server.close()

    assert server.requests[0].headers["authorization"] == "Bearer from-a-file"


# In a pod.


@pytest.fixture
def pod(tmp_path, monkeypatch):
    """Return the folder of a service account, in the environment of a pod whose API server is here."""
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    authority = Authority(tmp_path)
    authority.issue("server", "api", names=("127.0.0.1",))
    server = ApiServer((tmp_path / "server.crt", tmp_path / "server.key"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", server.url.rpartition(":")[2])
    (folder / "ca.crt").write_bytes((tmp_path / "ca.crt").read_bytes())
    (folder / "token").write_text("of-the-pod")
    (folder / "namespace").write_text("jobs\n")
    server.answers = [answer({"ok": True})]
    yield folder, server
    server.close()


def test_in_a_pod_its_service_account_is_used(pod):
    folder, server = pod
    connection = connect(service_account=folder)
    try:
        assert connection.get("/version") == {"ok": True}
    finally:
        connection.close()

    assert (connection.place.context, connection.place.server, connection.namespace) == (None, server.url, "jobs")
    assert server.requests[0].headers["authorization"].lower() == "bearer of-the-pod"
    assert connect(namespace="mine", service_account=folder).namespace == "mine"


def test_a_kubeconfig_stands_before_the_service_account(pod, file):
    folder, _ = pod

    assert connect(kubeconfig=file(config("lab", current="lab")), service_account=folder).place.context == "lab"


@pytest.mark.parametrize("missing", ["token", "ca.crt", "namespace"])
def test_a_pod_without_a_whole_service_account_says_so(pod, missing):
    folder, _ = pod
    (folder / missing).unlink()

    with pytest.raises(ConfigError, match="this pod has no service account"):
        connect(service_account=folder)
