"""The parts of the cluster: how each is called, and the files that it reads."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.testcluster.network import BRIDGE, Network
from tests.testcluster.packages import network_plugins

if TYPE_CHECKING:
    from tests.testcluster.paths import State

API_SERVER = "kube-apiserver"
NODE = "node-1"
API_PORT, REGISTRY_PORT, STORAGE_PORT = 6443, 5000, 9000
SERVICES = "10.91.0.0/16"
_ETCD = "http://127.0.0.1:2379"
_SOCKET = "/run/containerd/containerd.sock"


@dataclass(frozen=True)
class Part:
    """A process of the cluster."""

    name: str
    command: list[str]
    environ: dict[str, str] = field(default_factory=dict)


def server(network: Network) -> str:
    """Return the URL of the API server."""
    return f"https://{network.node}:{API_PORT}"


def registry(network: Network) -> str:
    """Return the one name of the registry, for this machine, containerd and pods."""
    return f"{network.node}:{REGISTRY_PORT}"


def storage(network: Network) -> str:
    """Return the URL of the S3 server, for this machine and pods."""
    return f"http://{network.node}:{STORAGE_PORT}"


def is_ready(node: dict[str, Any]) -> bool:
    """Tell whether a node takes pods."""
    conditions = node.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def before_api(state: State, network: Network) -> list[Part]:
    """Return what needs no API server, and that server."""
    facts = state.facts()
    data = state.folder / "etcd"
    etcd = [
        facts["programs"]["testcluster"],
        "etcd",
        "--data-dir",
        str(data),
        "--unsafe-no-fsync",
        "--log-level",
        "warn",
    ]
    etcd += [
        "--listen-client-urls",
        _ETCD,
        "--advertise-client-urls",
        _ETCD,
        "--listen-peer-urls",
        "http://127.0.0.1:2380",
    ]
    settings = state.folder / "settings"
    minio = [facts["programs"]["minio"], "server", str(state.folder / "minio"), "--quiet"]
    minio += ["--address", f"{network.node}:{STORAGE_PORT}", "--console-address", "127.0.0.1:9001"]
    secrets = {"MINIO_ROOT_USER": facts["access_key"], "MINIO_ROOT_PASSWORD": facts["secret_key"]}
    return [
        Part("etcd", etcd),
        Part("containerd", ["containerd", "--config", str(settings / "containerd.toml")]),
        Part("registry", ["docker-registry", "serve", str(settings / "registry.json")]),
        Part("minio", minio, {**secrets, "MINIO_REGION": "us-east-1", "MINIO_BROWSER": "off", "MINIO_UPDATE": "off"}),
        Part(API_SERVER, [facts["programs"]["testcluster"], "kube-apiserver", *_api_server(state, network)]),
    ]


def after_api(state: State, network: Network) -> list[Part]:
    """Return what talks to the API server."""
    pki, program = state.folder / "pki", state.facts()["programs"]["testcluster"]
    controllers = ["--kubeconfig", f"{pki}/controllers.kubeconfig", "--leader-elect=false", "--concurrent-job-syncs=10"]
    controllers += [f"--service-account-private-key-file={pki}/tokens.key", f"--root-ca-file={pki}/ca.crt"]
    controllers += ["--use-service-account-credentials", "--bind-address=127.0.0.1"]
    scheduler = ["--kubeconfig", f"{pki}/scheduler.kubeconfig", "--leader-elect=false", "--bind-address=127.0.0.1"]
    kubelet = ["--kubeconfig", f"{pki}/node.kubeconfig", "--config", f"{state.folder}/settings/kubelet.json"]
    kubelet += ["--hostname-override", NODE, "--node-ip", network.node]
    return [
        Part("kube-controller-manager", [program, "kube-controller-manager", *controllers]),
        Part("kube-scheduler", [program, "kube-scheduler", *scheduler]),
        Part("kubelet", [program, "kubelet", *kubelet]),
    ]


def _api_server(state: State, network: Network) -> list[str]:
    pki = state.folder / "pki"
    return [
        f"--etcd-servers={_ETCD}",
        f"--bind-address={network.node}",
        f"--advertise-address={network.node}",
        f"--secure-port={API_PORT}",
        f"--service-cluster-ip-range={SERVICES}",
        "--endpoint-reconciler-type=none",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/server.crt",
        f"--tls-private-key-file={pki}/server.key",
        "--anonymous-auth=false",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/kubelet-client.crt",
        f"--kubelet-client-key={pki}/kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki}/tokens.pub",
        f"--service-account-signing-key-file={pki}/tokens.key",
        f"--audit-policy-file={state.folder}/settings/audit.json",
        f"--audit-log-path={state.audit_log}",
        "--audit-log-maxsize=100000",
    ]


def write_settings(state: State, network: Network) -> None:
    """Write the files that parts read."""
    folder = state.folder / "settings"
    name = registry(network)
    _write(folder / "containerd.toml", _containerd(folder, name))
    _write(folder / "certs.d" / name / "hosts.toml", f'server = "http://{name}"\n[host."http://{name}"]\n')
    _write(folder / "cni" / "pods.conflist", json.dumps(_pod_network(network)))
    _write(folder / "registry.json", json.dumps(_registry(state, name)))
    _write(folder / "audit.json", json.dumps(_AUDIT))
    _write(folder / "kubelet.json", json.dumps(_kubelet(state, network)))


def _containerd(folder: Path, registry_name: str) -> str:
    return f"""version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{registry_name}/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{network_plugins()}"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{folder}/certs.d"
"""


def _pod_network(network: Network) -> dict[str, Any]:
    first, last = network.pods
    pods = {"subnet": network.subnet, "rangeStart": first, "rangeEnd": last, "gateway": network.machine}
    addresses = {"type": "host-local", "ranges": [[pods]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": BRIDGE, "mtu": network.mtu, "hairpinMode": True, "ipam": addresses}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}


def _registry(state: State, name: str) -> dict[str, Any]:
    return {
        "version": 0.1,
        # Tests count requests with it.
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": f"{state.folder}/registry"}, "delete": {"enabled": True}},
        "http": {"addr": name},
    }


_PARTS = ["system:apiserver", "system:kube-scheduler", "system:kube-controller-manager"]
_AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": _PARTS},
        {"level": "None", "userGroups": ["system:nodes", "system:serviceaccounts:kube-system"]},
        {"level": "Metadata"},
    ],
}


def _kubelet(state: State, network: Network) -> dict[str, Any]:
    pki = state.folder / "pki"
    resolver, servers = _resolver()
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.node,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{pki}/server.crt",
        "tlsPrivateKeyFile": f"{pki}/server.key",
        "containerRuntimeEndpoint": f"unix://{_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{state.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        # There is no DNS of the cluster, so pods ask whom this machine asks.
        "resolvConf": str(resolver),
        "clusterDNS": servers,
        "maxPods": 250,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        # The disk is this machine's: how full it is must not decide about tests.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {},
    }


def _resolver() -> tuple[Path, list[str]]:
    """Return the file that names the servers that can be reached from another network, and those servers."""
    real = Path("/run/systemd/resolve/resolv.conf")
    path = real if real.exists() else Path("/etc/resolv.conf")
    words = [line.split() for line in path.read_text().splitlines()]
    return path, [line[1] for line in words if line[:1] == ["nameserver"] and "." in line[1]]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
