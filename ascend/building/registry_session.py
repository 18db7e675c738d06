"""Requests to one registry: sent again where that helps, with the credentials that it asks for, or a typed error.

Standard library only, since it also runs in the pods of builders. The rules of tokens:
distribution.github.io/distribution/spec/auth/token.
"""

from __future__ import annotations

import json
import re
import ssl
from base64 import b64encode
from http.client import HTTPException
from time import sleep
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from ascend.building.registry_answers import Asked, refusal, unreachable
from ascend.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from http.client import HTTPResponse

    from ascend.building.credentials import Credentials

__all__ = ["Answer", "Call", "Session"]

_HUB, _HUB_SERVER = "docker.io", "registry-1.docker.io"
_SECONDS = 60.0
_PAUSES = (0.3, 1.0, 3.0)
_COME_AGAIN = {408, 429, 502, 503, 504}
_UNAUTHORIZED, _REFUSED = 401, 300
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class Call(NamedTuple):
    """One request. *target* is a path below ``/v2/`` or a whole URL; *body* opens what is sent, of *length* bytes.

    *scopes* are what it needs: pairs of a repository and actions, such as ``pull,push``. Only what *again* says may be
    sent once more after the connection broke.
    """

    method: str
    target: str
    scopes: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...] = ()
    body: Callable[[], IO[bytes]] | None = None
    length: int = 0
    again: bool = True


class Answer(NamedTuple):
    """What a registry answers: its *headers* by their names in small letters, and all that it sent."""

    status: int
    headers: dict[str, str]
    content: bytes
    url: str


class Session:
    """Speaks to the registry called *name*."""

    def __init__(
        self,
        name: str,
        *,
        plain: bool,
        credentials: Callable[[str, str], Credentials | None],
        ca_file: str | None = None,
    ) -> None:
        self.name = name
        server = _HUB_SERVER if name == _HUB else name
        self._base = f"http{'' if plain else 's'}://{server}/v2/"
        self._credentials = credentials
        self._challenge: tuple[str, dict[str, str]] | None = None
        self._tokens: dict[str, str] = {}
        context = ssl.create_default_context()
        if ca_file is not None:
            context.load_verify_locations(ca_file)
        self._opener = build_opener(HTTPSHandler(context=context), _KeepsSecrets())

    def send(self, call: Call, *, expected: Iterable[int] = ()) -> Answer:
        """Return the answer to *call*; `RegistryError` for a refusal whose status is not *expected*."""
        with self.open(call, expected=expected) as response:
            try:
                return _answer(response)
            except (OSError, HTTPException) as exc:
                raise unreachable(self.name, self._base, exc) from exc

    def open(self, call: Call, *, expected: Iterable[int] = ()) -> HTTPResponse:
        """Return the response to *call*, unread."""
        pauses = iter(_PAUSES)
        expected = set(expected)
        while True:
            try:
                response = self._authorized(call)
            except (OSError, HTTPException) as exc:
                pause = next(pauses, None)
                if pause is None or not call.again or _is_untrusted(exc):
                    raise unreachable(self.name, self._base, exc) from exc
                sleep(pause)
                continue
            if response.status < _REFUSED or response.status in expected:
                return response
            pause = next(pauses, None)
            if response.status not in _COME_AGAIN or pause is None or not call.again:
                raise self._refused(call, response)
            response.close()
            sleep(max(pause, _retry_after(response)))

    def read(self, response: HTTPResponse, size: int) -> bytes:
        """Return the next bytes of an open response."""
        try:
            return response.read(size)
        except (OSError, HTTPException) as exc:
            raise unreachable(self.name, self._base, exc) from exc

    def url(self, target: str) -> str:
        """Return the whole URL of *target*."""
        return urljoin(self._base, target)

    def _authorized(self, call: Call) -> HTTPResponse:
        """Send *call* with what it takes, as far as that is known; and once more when the registry has told."""
        response = self._once(call, self._authorization(call))
        if response.status != _UNAUTHORIZED:
            return response
        challenge = _challenge(response.headers.get_all("WWW-Authenticate") or [])
        if challenge is None:
            return response
        self._challenge = challenge
        # A token of before may have run out.
        self._tokens.pop(_scope_text(call), None)
        try:
            authorization = self._authorization(call)
        except BaseException:
            response.close()
            raise
        if authorization is None:
            return response
        response.close()
        return self._once(call, authorization)

    def _once(self, call: Call, authorization: str | None) -> HTTPResponse:
        url = self.url(call.target)
        request = Request(url, method=call.method, headers={"User-Agent": "ascend", **dict(call.headers)})  # noqa: S310 - the registry's own
        # What an upload is sent to may be a storage's signed address.
        if authorization is not None and urlsplit(url).netloc == urlsplit(self._base).netloc:
            request.add_unredirected_header("Authorization", authorization)
        if call.body is None:
            return self._transmit(request)
        with call.body() as body:
            request.data = body
            request.add_header("Content-Length", str(call.length))
            return self._transmit(request)

    def _transmit(self, request: Request) -> HTTPResponse:
        try:
            response: HTTPResponse = self._opener.open(request, timeout=_SECONDS)
        except HTTPError as error:
            # It is a response too.
            return error  # type: ignore[return-value]
        return response

    def _authorization(self, call: Call) -> str | None:
        if self._challenge is None:
            return None
        scheme, parameters = self._challenge
        repository = call.scopes[0][0] if call.scopes else ""
        credentials = self._credentials(self.name, repository)
        if scheme == "basic":
            return _basic(credentials) if credentials is not None and credentials.username else None
        scope = _scope_text(call)
        if scope not in self._tokens:
            self._tokens[scope] = self._fetch_token(parameters, call, credentials)
        return f"Bearer {self._tokens[scope]}"

    def _fetch_token(self, parameters: dict[str, str], call: Call, credentials: Credentials | None) -> str:
        realm, scopes = parameters.get("realm", ""), _scopes(call) or [parameters.get("scope", "")]
        if not realm.startswith(("https://", "http://")):
            msg = f"{self.name} sends for a token to {realm!r}, which is no URL"
            raise RegistryError(msg)
        request = _token_request(realm, parameters.get("service", ""), scopes, credentials)
        with self._transmit(request) as response:
            if response.status >= _REFUSED:
                raise self._refused(call, response)
            try:
                answer: dict[str, Any] = json.loads(response.read())
                return str(answer.get("token") or answer["access_token"])
            except (ValueError, KeyError, AttributeError) as exc:
                msg = f"{realm}, to which {self.name} sends for a token, answers with none"
                raise RegistryError(msg) from exc

    def _refused(self, call: Call, response: HTTPResponse) -> RegistryError:
        with response:
            try:
                answer = _answer(response)
            except (OSError, HTTPException) as exc:
                return unreachable(self.name, self._base, exc)
        repository, actions = call.scopes[-1] if call.scopes else ("", "pull")
        credentials = self._credentials(self.name, repository)
        user = credentials.username if credentials else ""
        return refusal(Asked(self.name, repository, actions, user), answer.status, answer.content)


class _KeepsSecrets(HTTPRedirectHandler):
    """Follows redirections, as to the storage of a registry, which must not see what the registry is shown."""

    def redirect_request(  # noqa: PLR0917 - so it is called
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        authorization = req.unredirected_hdrs.get("Authorization")
        if request is not None and authorization and urlsplit(request.full_url).netloc == urlsplit(req.full_url).netloc:
            request.add_unredirected_header("Authorization", authorization)
        return request


def _answer(response: HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status, headers, response.read(), response.geturl())


def _challenge(headers: list[str]) -> tuple[str, dict[str, str]] | None:
    """Return the scheme that a registry asks for, in small letters, and its parameters; a token before a password."""
    found = {}
    for header in headers:
        scheme, _, rest = header.strip().partition(" ")
        found[scheme.lower()] = dict(_PARAMETER.findall(rest))
    for scheme in ("bearer", "basic"):
        if scheme in found:
            return scheme, found[scheme]
    return None


def _token_request(realm: str, service: str, scopes: list[str], credentials: Credentials | None) -> Request:
    if credentials is not None and credentials.identity_token:
        form = {"grant_type": "refresh_token", "service": service, "client_id": "ascend", "scope": " ".join(scopes)}
        form["refresh_token"] = credentials.identity_token
        return Request(realm, data=urlencode(form).encode(), method="POST")  # noqa: S310 - checked by who calls
    joint = "&" if urlsplit(realm).query else "?"
    query = [("service", service), *(("scope", scope) for scope in scopes if scope)]
    request = Request(f"{realm}{joint}{urlencode(query)}")  # noqa: S310 - as above
    if credentials is not None and credentials.username:
        request.add_unredirected_header("Authorization", _basic(credentials))
    return request


def _basic(credentials: Credentials) -> str:
    return f"Basic {b64encode(f'{credentials.username}:{credentials.password}'.encode()).decode()}"


def _scopes(call: Call) -> list[str]:
    return [f"repository:{repository}:{actions}" for repository, actions in call.scopes]


def _scope_text(call: Call) -> str:
    return " ".join(_scopes(call))


def _is_untrusted(exc: BaseException) -> bool:
    reason = exc.reason if isinstance(exc, URLError) else exc
    return isinstance(reason, ssl.SSLError)


def _retry_after(response: HTTPResponse) -> float:
    text = response.headers.get("Retry-After", "")
    return min(float(text), _SECONDS) if text.isdecimal() else 0.0
