"""A namespace of a test's own, and in it a user who may do what ascend needs and nothing else."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.testcluster.api import Api, ApiError, Object
from tests.testcluster.certificates import kubeconfig_of
from tests.testcluster.cluster import RESTRICTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.testcluster.access import Access

USER = "ascend-user"
_PATIENCE = 60.0
# What each builder needs its namespace to allow, and its settings beside the image of this cluster.
_BUILDERS = {"kaniko": ("baseline", 'executor = "upstream"'), "buildkit": ("privileged", 'mode = "rootless"')}
_ENFORCE = "pod-security.kubernetes.io/enforce"
RULES = [
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "get", "list", "watch", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "delete"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["events", "resourcequotas", "limitranges"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "patch", "delete"]},
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "verbs": ["create", "get", "list", "patch", "delete"],
    },
]
"""What a user of ascend may do."""


@dataclass(frozen=True)
class Namespace:
    """A namespace, its user and its administrator."""

    name: str
    kubeconfig: Path
    """The user's."""
    admin: Api
    environ: dict[str, str]
    """All that the environment of a client must say."""
    _audit_log: Path | None = field(default=None, repr=False)

    def audit(self) -> list[Object]:
        """Return the user's requests so far, each as the audit log has it last."""
        if not self._audit_log:
            raise LookupError("this cluster's audit log cannot be read from here")
        user = f"system:serviceaccount:{self.name}:{USER}"
        with self._audit_log.open() as lines:
            events = [json.loads(line) for line in lines if user in line and line.endswith("\n")]
        return list({event["auditID"]: event for event in events if event["user"]["username"] == user}.values())

    def left(self) -> list[str]:
        """Return the names of what ascend has left here."""
        kinds = ("jobs", "pods", "leases", "secrets")
        selector = "app.kubernetes.io/managed-by=ascend"
        return [
            f"{kind}/{each['metadata']['name']}"
            for kind in kinds
            for each in self.admin.find(kind, self.name, selector)
        ]


@contextlib.contextmanager
def temporary_namespace(access: Access, folder: Path) -> Iterator[Namespace]:
    """Make a namespace that enforces the standard ``restricted``, with a user whose files lie in *folder*."""
    api = access.api
    meta: dict[str, Any] = {"generateName": "ascend-test-", "labels": RESTRICTED}
    name = api.create("namespaces", {"metadata": meta})["metadata"]["name"]
    try:
        _create_user(api, name)
        path = folder / "kubeconfig"
        path.touch(mode=0o600)
        path.write_text(kubeconfig_of(access.target, {"token": _token(api, name)}, name))
        # Pods are refused until the controllers have made it.
        _wait_for_account(api, name, "default")
        environ = {**access.environ, "KUBECONFIG": str(path), "ASCEND_NAMESPACE": name}
        yield Namespace(name, path, api, environ, access.state.audit_log if access.state else None)
    finally:
        # Without their time to end in peace, so that the next test has the cores.
        api.request("DELETE", f"api/v1/namespaces/{name}/pods", {"gracePeriodSeconds": 0})
        api.delete("namespaces", name)


@contextlib.contextmanager
def temporary_build_namespace(access: Access, namespace: Namespace, level: str) -> Iterator[str]:
    """Make a namespace for builds that enforces *level*, in which the user of *namespace* may do the same as there."""
    api = access.api
    meta: dict[str, Any] = {"generateName": "ascend-build-", "labels": {**RESTRICTED, _ENFORCE: level}}
    name: str = api.create("namespaces", {"metadata": meta})["metadata"]["name"]
    try:
        _allow(api, name, namespace.name)
        _wait_for_account(api, name, "default")
        yield name
    finally:
        api.request("DELETE", f"api/v1/namespaces/{name}/pods", {"gracePeriodSeconds": 0})
        api.delete("namespaces", name)


@contextlib.contextmanager
def temporary_builders(
    access: Access, namespace: Namespace, make_image: Callable[[str], str]
) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Make what the builders' plugins need; yield the namespace of each by its name, and the lines of their settings.

    *make_image* returns the reference of the image of a builder.
    """
    found, lines = {}, []
    with contextlib.ExitStack() as stack:
        for name, (level, setting) in _BUILDERS.items():
            lines += [f"[plugins.{name}]", f'image = "{make_image(name)}"', setting]
            found[name] = stack.enter_context(temporary_build_namespace(access, namespace, level))
        yield found, lines


@contextlib.contextmanager
def temporary_claim(namespace: Namespace, name: str = "packages") -> Iterator[str]:
    """Make a claim for a folder of the node that every pod of *namespace* may write to, on a cluster of our own."""
    folder = Path("/var/tmp", namespace.name)
    folder.mkdir()
    folder.chmod(0o777)
    modes = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    spec = {
        **modes,
        "capacity": {"storage": "1Gi"},
        "hostPath": {"path": str(folder)},
        "claimRef": {"namespace": namespace.name, "name": name},
    }
    wanted = {**modes, "resources": {"requests": {"storage": "1Gi"}}}
    namespace.admin.create("persistentvolumes", {"metadata": {"name": namespace.name}, "spec": spec})
    try:
        claim = {"metadata": {"name": name}, "spec": wanted}
        namespace.admin.create("persistentvolumeclaims", claim, namespace.name)
        yield name
    finally:
        namespace.admin.delete("persistentvolumes", namespace.name)
        shutil.rmtree(folder)


def _create_user(api: Api, namespace: str) -> None:
    api.create("serviceaccounts", {"metadata": {"name": USER}}, namespace)
    _allow(api, namespace, namespace)


def _allow(api: Api, namespace: str, home: str) -> None:
    """Let the user of the namespace *home* do in *namespace* what ascend needs."""
    api.create("roles", {"metadata": {"name": USER}, "rules": RULES}, namespace)
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": USER}
    subject = {"kind": "ServiceAccount", "name": USER, "namespace": home}
    api.create("rolebindings", {"metadata": {"name": USER}, "roleRef": role, "subjects": [subject]}, namespace)


def _token(api: Api, namespace: str) -> str:
    path = f"api/v1/namespaces/{namespace}/serviceaccounts/{USER}/token"
    return str(api.request("POST", path, {"spec": {"expirationSeconds": 7200}})["status"]["token"])


def _wait_for_account(api: Api, namespace: str, name: str) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            api.get("serviceaccounts", name, namespace)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND or time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return
