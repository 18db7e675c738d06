"""The connection to an API server: credentials and pools of the official client, plain JSON on top of them.

Only what is the same in versions 35 to 37 of that client is used: its `Configuration`, and the pools that its
`ApiClient` makes of one. Its typed models take a second to import, and refuse fields that they do not know.
"""

from __future__ import annotations

import json
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

from ascend import __version__
from ascend._builtin.kubernetes.failures import ApiError
from ascend._builtin.kubernetes.stream import Stream
from ascend.errors import ClusterUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tenacity import RetryCallState
    from urllib3 import BaseHTTPResponse

__all__ = ["MERGE_PATCH", "PATIENCE", "STRATEGIC_PATCH", "Connection", "Place"]

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

PATIENCE = 120.0
"""How many seconds a request is repeated while the API server cannot be reached, or asks to come again later."""

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 30.0
_OK, _REDIRECTED, _UNAUTHORIZED, _NOT_FOUND = 200, 300, 401, 404
_COME_AGAIN = {429, 502, 503, 504}
_PAGE = 500
_CALLS, _WATCHES, _LOGS = range(3)
# urllib3 keeps so many connections; more are made, and it warns of each that it closes after use.
_POOL_SIZE = 256


class _Request(NamedTuple):
    method: str
    path: str
    query: Mapping[str, object]
    body: object = None
    content_type: str = "application/json"
    use: int = _CALLS
    read_timeout: float = _READ_SECONDS


@dataclass(frozen=True, slots=True)
class Place:
    """Where the kubeconfig leads: its *context*, `None` inside a cluster, the *server* and the *namespace*."""

    context: str | None
    server: str
    namespace: str


class Connection:
    """Requests to one namespace of one API server; safe to use from many threads."""

    def __init__(self, load: Callable[[], Any], place: Place, patience: float = PATIENCE) -> None:
        """Keep *load*, which returns a fresh `kubernetes.client.Configuration`: credentials change in long runs."""
        self.place = place
        self._load = load
        self.patience = patience
        self._guard = threading.Lock()
        self._clients = self._make_clients()

    @property
    def namespace(self) -> str:
        return self.place.namespace

    def path(self, resource: str, name: str = "", *, api: str = "api/v1", sub: str = "") -> str:
        """Return the path of a resource in the namespace, such as ``pods``, or of one object of it."""
        parts = [api, "namespaces", quote(self.namespace), resource, *filter(None, (quote(name), sub))]
        return "/" + "/".join(parts)

    def get(self, path: str, **query: object) -> dict[str, Any]:
        return self._json(_Request("GET", path, query))

    def create(self, path: str, body: object, **query: object) -> dict[str, Any]:
        return self._json(_Request("POST", path, query, body))

    def patch(self, path: str, body: object, kind: str = MERGE_PATCH) -> dict[str, Any]:
        return self._json(_Request("PATCH", path, {}, body, kind))

    def delete(self, path: str, *, policy: str = "Background") -> bool:
        """Delete an object; false if it is gone already."""
        try:
            self._json(_Request("DELETE", path, {}, {"propagationPolicy": policy}))
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return False
            raise
        return True

    def exchange(
        self, method: str, path: str, body: object = None, **query: object
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        """Make any other request; return the answer and its headers."""
        return self._exchange(_Request(method, path, query, body))

    def items(self, path: str, **query: object) -> tuple[list[dict[str, Any]], str]:
        """Return all objects of a list, page by page, and the resourceVersion to watch from."""
        found: list[dict[str, Any]] = []
        page = self.get(path, limit=_PAGE, **query)
        while True:
            found += page.get("items") or []
            more = page["metadata"].get("continue")
            if not more:
                return found, page["metadata"]["resourceVersion"]
            page = self.get(path, limit=_PAGE, **{**query, "continue": more})

    def watch(self, path: str, *, read_timeout: float, **query: object) -> Stream:
        query["watch"] = "true"
        return Stream(self._once(_Request("GET", path, query, use=_WATCHES, read_timeout=read_timeout)))

    def log(self, pod: str, *, read_timeout: float, **query: object) -> Stream:
        path = self.path("pods", pod, sub="log")
        return Stream(self._once(_Request("GET", path, query, use=_LOGS, read_timeout=read_timeout)))

    def close(self) -> None:
        """Let go of all connections."""
        for client in self._clients:
            client.rest_client.pool_manager.clear()

    def _json(self, request: _Request) -> dict[str, Any]:
        return self._exchange(request)[0]

    def _exchange(self, request: _Request) -> tuple[dict[str, Any], Mapping[str, str]]:
        response = self._patiently(request)
        try:
            answer: dict[str, Any] = json.loads(response.data)
        except ValueError as exc:
            msg = f"what answers at {self.place.server} is no API server: {response.data[:80]!r}"
            raise ClusterUnreachableError(msg) from exc
        return answer, response.headers

    def _patiently(self, request: _Request) -> BaseHTTPResponse:
        """Repeat a request while nothing answers: each is one that may be made twice.

        A Job whose creation is repeated exists already, and its name tells that it is ours.
        """
        from tenacity import Retrying, retry_if_exception, wait_random_exponential  # noqa: PLC0415

        waits = wait_random_exponential(multiplier=0.1, max=10)
        retrying = Retrying(
            retry=retry_if_exception(_is_passing),
            # A server may ask for an hour: who cannot wait for it hears so at once.
            stop=self._is_out_of_patience,
            wait=lambda state: max(waits(state), _retry_after(state.outcome.exception() if state.outcome else None)),
            reraise=True,
        )
        response: BaseHTTPResponse = retrying(self._once, request)
        return response

    def _is_out_of_patience(self, state: RetryCallState) -> bool:
        """Read the patience each time: a run that is closed has less than the requests under way began with."""
        from tenacity import stop_before_delay  # noqa: PLC0415

        return stop_before_delay(self.patience)(state)

    def _once(self, request: _Request) -> BaseHTTPResponse:
        """Send one request, and once more with fresh credentials if they are what is wrong."""
        clients = self._clients
        response = self._send(clients, request)
        if response.status == _UNAUTHORIZED:
            response.drain_conn()
            self._renew(clients)
            response = self._send(self._clients, request)
        if not _OK <= response.status < _REDIRECTED:
            raise ApiError.of(response.status, self._body(response), response.headers, self.place)
        return response

    def _body(self, response: BaseHTTPResponse) -> bytes:
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - here and below: only who talks to a cluster needs it

        try:
            return response.data
        except (HTTPError, OSError) as exc:
            raise self._unreachable(exc) from exc

    def _unreachable(self, exc: Exception) -> ClusterUnreachableError:
        return ClusterUnreachableError(f"the API server at {self.place.server} cannot be reached: {exc}")

    def _send(self, clients: tuple[Any, ...], request: _Request) -> BaseHTTPResponse:
        from urllib3 import Timeout  # noqa: PLC0415
        from urllib3.exceptions import HTTPError  # noqa: PLC0415

        client = clients[request.use]
        headers = {"Accept": "application/json", "User-Agent": f"ascend/{__version__}"}
        headers |= self._authorization(client)
        body = None
        if request.body is not None:
            headers["Content-Type"] = request.content_type
            body = json.dumps(request.body, separators=(",", ":"))
        try:
            response: BaseHTTPResponse = client.rest_client.pool_manager.request(
                request.method,
                client.configuration.host + request.path + (f"?{urlencode(request.query)}" if request.query else ""),
                body=body,
                headers=headers,
                preload_content=request.use == _CALLS,
                timeout=Timeout(connect=_CONNECT_SECONDS, read=request.read_timeout),
                retries=False,
            )
        except (HTTPError, OSError) as exc:
            raise self._unreachable(exc) from exc
        return response

    def _authorization(self, client: Any) -> dict[str, str]:
        # Asking for it runs the hook that renews the tokens of exec plugins and of pods.
        with self._reading_credentials():
            settings = client.configuration.auth_settings() or {}
        bearer = settings.get("BearerToken")
        return {bearer["key"]: bearer["value"]} if bearer and bearer.get("value") else {}

    def _renew(self, stale: tuple[Any, ...]) -> None:
        with self._guard:
            # Another thread may have met the same answer.
            if self._clients is stale:
                with self._reading_credentials():
                    self._clients = self._make_clients()

    @contextmanager
    def _reading_credentials(self) -> Iterator[None]:
        """Take what fails here for passing: a kubeconfig, or the token of a pod, is just being written anew."""
        try:
            yield
        except (
            Exception
        ) as exc:  # its reader lets through what a YAML parser raises, and what a wrong structure leads to
            msg = f"the credentials for {self.place.server} cannot be read: {exc}"
            raise ClusterUnreachableError(msg) from exc

    def _make_clients(self) -> tuple[Any, ...]:
        """Return a client each for calls, watches and logs: streams must not take connections from calls."""
        from kubernetes.client import ApiClient  # noqa: PLC0415 - 0.4 s

        configuration = self._load()
        configuration.connection_pool_maxsize = _POOL_SIZE
        return tuple(ApiClient(configuration) for _ in (_CALLS, _WATCHES, _LOGS))


def _is_passing(exc: BaseException) -> bool:
    if isinstance(exc, ApiError):
        return exc.status in _COME_AGAIN
    return isinstance(exc, ClusterUnreachableError) and not _is_untrusted(exc.__cause__)


def _is_untrusted(exc: BaseException | None) -> bool:
    """Tell whether the server has a certificate that nobody here vouches for, which no time mends."""
    return exc is not None and any(isinstance(each, ssl.SSLCertVerificationError) for each in exc.args)


def _retry_after(exc: BaseException | None) -> float:
    return exc.retry_after if isinstance(exc, ApiError) else 0.0
