"""A small client of the API server, for the harness and for tests."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import urllib3

if TYPE_CHECKING:
    from pathlib import Path

Object = dict[str, Any]

GROUPS = {
    "clusterroles": "apis/rbac.authorization.k8s.io/v1",
    "configmaps": "api/v1",
    "events": "api/v1",
    "jobs": "apis/batch/v1",
    "leases": "apis/coordination.k8s.io/v1",
    "limitranges": "api/v1",
    "namespaces": "api/v1",
    "nodes": "api/v1",
    "persistentvolumeclaims": "api/v1",
    "persistentvolumes": "api/v1",
    "pods": "api/v1",
    "resourcequotas": "api/v1",
    "rolebindings": "apis/rbac.authorization.k8s.io/v1",
    "roles": "apis/rbac.authorization.k8s.io/v1",
    "secrets": "api/v1",
    "serviceaccounts": "api/v1",
}
"""The kinds of objects that tests use, and where each lies."""


class ApiError(Exception):
    """The API server refused a request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """Reads and writes objects: ``api.get("pods", "name", namespace="team")``."""

    def __init__(self, server: str, http: urllib3.PoolManager, headers: dict[str, str] | None = None) -> None:
        self.server = server
        self._http = http
        self._headers = headers or {}

    @classmethod
    def of_kubeconfig(cls, path: Path) -> Api:
        """Return a client for a kubeconfig file of this cluster, which holds a certificate or a token."""
        content = json.loads(path.read_text())
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        headers = {}
        if "token" in user:
            headers["Authorization"] = f"Bearer {user['token']}"
        else:
            with tempfile.NamedTemporaryFile() as file:
                for data in ("client-certificate-data", "client-key-data"):
                    file.write(base64.b64decode(user[data]))
                file.flush()
                context.load_cert_chain(file.name)
        http = urllib3.PoolManager(ssl_context=context, maxsize=4, retries=False, timeout=60)
        return cls(cluster["server"], http, headers)

    def request(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Any:
        """Return what the server answers to a request; raise ``ApiError`` if it refuses."""
        data = None if body is None else json.dumps(body)
        headers = {**self._headers, "Content-Type": content}
        answer = self._http.request(method, f"{self.server}/{path}", body=data, headers=headers)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise ApiError(answer.status, answer.data.decode(errors="replace"))
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        return json.loads(answer.data) if is_json else answer.data.decode()

    def get(self, kind: str, name: str, namespace: str = "") -> Object:
        """Return an object."""
        return self.request("GET", _path(kind, namespace, name))

    def find(self, kind: str, namespace: str = "", selector: str = "") -> list[Object]:
        """Return the objects of a kind: in a namespace, or in all."""
        query = urlencode({"labelSelector": selector})
        return self.request("GET", f"{_path(kind, namespace)}?{query}")["items"]

    def create(self, kind: str, body: Object, namespace: str = "") -> Object:
        """Create an object and return it as the server has it."""
        return self.request("POST", _path(kind, namespace), body)

    def patch(self, kind: str, name: str, body: Any, namespace: str = "", part: str = "") -> Object:
        """Merge *body* into an object, or into its *part*, such as ``status``."""
        path = _path(kind, namespace, name) + (f"/{part}" if part else "")
        return self.request("PATCH", path, body, "application/merge-patch+json")

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        """Delete an object, and what it owns."""
        self.request("DELETE", _path(kind, namespace, name), {"propagationPolicy": "Background"})

    def logs(self, pod: str, namespace: str) -> str:
        """Return what a pod has printed."""
        return str(self.request("GET", f"{_path('pods', namespace, pod)}/log"))

    def wait(self, kind: str, name: str, namespace: str, condition: Any, timeout: float = 60) -> Object:
        """Return an object as soon as *condition* holds for it."""
        end = time.monotonic() + timeout
        while not condition(found := self.get(kind, name, namespace)):
            if time.monotonic() > end:
                raise TimeoutError(f"{kind} {name} did not get there; its status is {json.dumps(found.get('status'))}")
            time.sleep(0.05)
        return found

    def ready(self) -> bool:
        """Tell whether the server serves."""
        try:
            self.request("GET", "readyz")
        except (ApiError, urllib3.exceptions.HTTPError):
            return False
        return True


def _path(kind: str, namespace: str, name: str = "") -> str:
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"{GROUPS[kind]}{inside}/{kind}" + (f"/{name}" if name else "")
