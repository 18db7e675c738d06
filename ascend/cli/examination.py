"""The checks of `ascend doctor`, in the order in which they depend on each other."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from time import time
from typing import TYPE_CHECKING, Any

from ascend._builtin.kubernetes.failures import ApiError, refused
from ascend._builtin.kubernetes.features import JOBS, missing_features
from ascend._core.plugins.asking import Plugins
from ascend.cli.findings import (
    Finding,
    check_clock,
    check_pod,
    check_quota,
    check_rights,
    check_version,
    required_rights,
)
from ascend.cli.kubernetes import in_time, open_connection
from ascend.cli.sample import check_image, sample_job
from ascend.cli.state import server_time
from ascend.errors import AscendError, ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ascend._builtin.kubernetes.connection import Connection
    from ascend.interfaces import Storage
    from ascend.model import Profile

__all__ = ["examine"]

_ASKERS = 8
_STORAGE_SECONDS = 30.0
_LINK_SECONDS = 60.0
_FORBIDDEN, _NOT_FOUND = 403, 404
_REVIEW = "apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_WHO = "apis/authentication.k8s.io/v1/selfsubjectreviews"


def examine(profile: Profile) -> Iterator[Finding]:
    """Yield what each check finds; what depends on one that failed is skipped."""
    examination = _Examination(profile)
    # Each needs those whose names stand behind it.
    steps: tuple[tuple[str, Callable[[], Finding], tuple[str, ...]], ...] = (
        ("configuration", examination.configuration, ()),
        ("API server", examination.server, ("configuration",)),
        ("version", examination.version, ("API server",)),
        ("clock", examination.clock, ("API server",)),
        ("credentials", examination.credentials, ("API server",)),
        ("namespace", examination.namespace, ("credentials",)),
        ("permissions", examination.permissions, ("namespace",)),
        ("features", examination.features, ("version", "permissions")),
        ("pod security", examination.pod_security, ("features",)),
        ("quota", examination.quota, ("permissions",)),
        ("storage", examination.storage, ()),
        ("image", examination.image, ()),
    )
    failed: set[str] = set()
    for name, check, needed in steps:
        lacking = [each for each in needed if each in failed]
        finding = Finding(name, "skipped", f"needs what failed: {lacking[0]}") if lacking else _look(name, check)
        if finding.state in {"failed", "skipped"}:
            failed.add(name)
        yield finding
    examination.close()


class _Examination:
    """What the checks learn from one another."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._connection: Connection | None = None
        self._version: dict[str, Any] = {}
        self._times: tuple[float | None, float] = (None, 0.0)
        self._level: str | None = None
        self._user = "NAME"

    @property
    def _api(self) -> Connection:
        if self._connection is None:
            msg = "a check was made before what it depends on"
            raise RuntimeError(msg)
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def configuration(self) -> Finding:
        self._connection = open_connection(self._profile, patience=0)
        place = self._connection.place
        context = f"context {place.context!r}" if place.context else "the service account of this pod"
        text = f"profile {self._profile.name!r}: {context}, namespace {place.namespace!r}"
        if self._profile.cluster != "kubernetes":
            remedy = 'set cluster = "kubernetes" (ASCEND_CLUSTER) to run tasks there'
            text = f"{text}; but its cluster is {self._profile.cluster!r}"
            return Finding("configuration", "warning", text, remedy)
        return Finding("configuration", "ok", text)

    def server(self) -> Finding:
        place = self._api.place
        before = time()
        try:
            self._version, headers = self._api.exchange("GET", "/version")
            self._times = (server_time(headers), (before + time()) / 2)
        except ApiError as error:
            # It answers, which is what is asked here; some tell their version to nobody they do not know.
            return Finding("API server", "ok", f"{place.server} answers ({error.status} for its version)")
        except ClusterError as error:
            remedy = (
                "start the cluster, the VPN or the proxy that leads there, or choose another context (ASCEND_CONTEXT)"
            )
            if "CERTIFICATE_VERIFY_FAILED" in str(error) or "certificate" in str(error):
                remedy = "get a new kubeconfig of that cluster: its certificate-authority-data is of another one"
            return Finding("API server", "failed", str(error), remedy)
        return Finding("API server", "ok", f"{place.server} answers, and its certificate is the right one")

    def version(self) -> Finding:
        return check_version(self._version)

    def clock(self) -> Finding:
        return check_clock(*self._times)

    def credentials(self) -> Finding:
        who = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        try:
            answer = self._api.create(f"/{_WHO}", who)
        except ApiError as error:
            if error.status in {_FORBIDDEN, _NOT_FOUND}:
                return Finding("credentials", "unknown", f"the API server does not say who you are: {error.message}")
            raise refused(error, "ask who you are") from error
        info = answer["status"]["userInfo"]
        if info.get("username") == "system:anonymous":
            return Finding("credentials", "failed", "the API server does not know you", "log in to the cluster again")
        self._user = info.get("username", self._user)
        return Finding("credentials", "ok", f"you are {self._user!r} there")

    def namespace(self) -> Finding:
        name = self._api.namespace
        try:
            found = self._api.get(f"/api/v1/namespaces/{name}")
        except ApiError as error:
            if error.status == _FORBIDDEN:
                return Finding("namespace", "unknown", f"you may not look at {name!r} itself; the next checks use it")
            raise refused(error, "read the namespace") from error
        self._level = (found["metadata"].get("labels") or {}).get("pod-security.kubernetes.io/enforce")
        if found["metadata"].get("deletionTimestamp"):
            return Finding("namespace", "failed", f"{name!r} is being deleted", "set another namespace")
        return Finding("namespace", "ok", f"{name!r} exists")

    def permissions(self) -> Finding:
        rights = list(required_rights())
        with ThreadPoolExecutor(_ASKERS) as pool:
            answers = list(pool.map(self._may, rights))
        return check_rights(dict(zip(rights, answers, strict=True)), self._api.namespace, self._user)

    def features(self) -> Finding:
        missing = missing_features(self._api)
        if missing:
            text = f"the API server drops {', '.join(missing)} of a Job"
            return Finding("features", "failed", text, "switch these features on, or upgrade the cluster")
        return Finding("features", "ok", "Jobs keep everything that ascend sets")

    def pod_security(self) -> Finding:
        job = sample_job(self._profile, self._api.namespace)
        path = self._api.path("jobs", api=JOBS)
        try:
            _, headers = self._api.exchange("POST", path, job, dryRun="All", fieldValidation="Strict")
        except ApiError as error:
            return check_pod(self._level, (), error.message)
        # 299 - "text": RFC 7234, 5.5.
        warnings = [each.split('"', 1)[-1].rstrip('"') for each in _all(headers, "Warning")]
        return check_pod(self._level, warnings, None)

    def quota(self) -> Finding:
        quotas, _ = self._api.items(self._api.path("resourcequotas"))
        limits, _ = self._api.items(self._api.path("limitranges"))
        pod = sample_job(self._profile, self._api.namespace)["spec"]["template"]["spec"]
        return check_quota(quotas, limits, pod)

    def storage(self) -> Finding:
        url = self._profile.storage
        if url is None:
            text = "none is set: calls up to 64 KB and answers up to 6 MB travel through the API server"
            return Finding("storage", "ok", text)
        storage = Plugins.load(self._profile).storage(url, self._profile)
        problems: list[AscendError] = []
        if not in_time(lambda: _try_storage(storage, self._profile, problems), _STORAGE_SECONDS):
            text = f"{storage.url} has not answered within {_STORAGE_SECONDS:.0f} s"
            return Finding("storage", "failed", text, "correct storage (ASCEND_STORAGE), its endpoint or the network")
        if problems:
            remedy = "correct storage (ASCEND_STORAGE) or its credentials; see the documentation of the storage"
            return Finding("storage", "failed", str(problems[0]), remedy)
        return Finding("storage", "ok", f"{storage.url} takes, gives, signs and deletes; from here, not seen from pods")

    def image(self) -> Finding:
        return check_image(self._profile)

    def _may(self, right: tuple[str, str, str]) -> bool:
        group, resource, verb = right
        resource, _, sub = resource.partition("/")
        attributes = {"namespace": self._api.namespace, "verb": verb, "group": group, "resource": resource}
        if sub:
            attributes["subresource"] = sub
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        return bool(self._api.create(f"/{_REVIEW}", review)["status"].get("allowed"))


def _look(name: str, check: Callable[[], Finding]) -> Finding:
    """Make a check; what it raises is what it found."""
    try:
        return check()
    except AscendError as error:
        # Our errors end with what to do.
        return Finding(name, "failed", str(error))


def _try_storage(storage: Storage, profile: Profile, problems: list[AscendError]) -> None:
    # Below what tasks of this user write: rights are often given for a part of a bucket.
    key = f"projects/{profile.project}/users/{profile.user}/doctor/{secrets.token_hex(8)}"
    content = b"ascend doctor"
    try:
        storage.put(key, [content])
        try:
            if bytes(storage.get(key)) != content:
                problems.append(ClusterError(f"{storage.url} gives something else than was put there"))
            storage.sign(key, "GET", lifetime=_LINK_SECONDS)
        finally:
            storage.delete(key)
    except AscendError as error:
        problems.append(error)


def _all(headers: Any, name: str) -> list[str]:
    values: list[str] = headers.getlist(name) if hasattr(headers, "getlist") else [headers.get(name, "")]
    return [value for value in values if value]
