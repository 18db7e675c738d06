"""A web server on this machine that answers as an API server would, by a script: one answer a request."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit


class Request(NamedTuple):
    method: str
    path: str
    query: dict
    headers: dict
    body: object


class ApiServer:
    """Gives the *answers* one after the other, and the last one again and again; keeps the *requests*."""

    def __init__(self, certificate=None):
        """Speak TLS if there is a *certificate*, the paths of one and of its key."""
        self.requests = []
        self.answers = []
        self._guard = threading.Lock()
        # Streams end with the server, however the test ended.
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.script = self
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.tls = context
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http{'s' * bool(certificate)}://127.0.0.1:{self._server.server_port}"

    def next(self, request):
        with self._guard:
            self.requests.append(request)
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def close(self):
        self.closing.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    # Closing it waits for all of them.
    daemon_threads = False
    tls = None

    def __init__(self, *args):
        self.open = []
        super().__init__(*args)

    def finish_request(self, request, client_address):
        # In the connection's own thread: a client may never end its handshake.
        with contextlib.suppress(OSError):
            if self.tls is not None:
                request = self.tls.wrap_socket(request, server_side=True)
            with request:
                self.open.append(request)
                super().finish_request(request, client_address)

    def hang_up(self):
        """End the connections that clients keep."""
        for each in self.open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self):
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        headers = {name.lower(): value for name, value in self.headers.items()}
        target = url.path if not url.netloc else f"{url.scheme}://{url.netloc}{url.path}"
        request = Request(self.command, target, dict(parse_qsl(url.query)), headers, body)
        self.server.script.next(request)(self)

    do_GET = do_HEAD = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - http.server calls them so

    def log_message(self, *args):
        """Keep quiet."""


def answer(body, status=200, **headers):
    """Answer with JSON, or with bytes as they are."""

    def send(handler):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return send


def refusal(status, reason, message, details=None, **headers):
    """Answer with a Status object, as API servers refuse."""
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    return answer({**body, "reason": reason, "details": details or {}, "code": status}, status, **headers)


def stream(*chunks, then="end"):
    """Answer with *chunks*; *then* they ``end``, the connection ``break``s, or it is ``silent``."""

    def send(handler):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for chunk in chunks:
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        if then == "end":
            handler.wfile.write(b"0\r\n\r\n")
            return
        if then == "silent":
            handler.server.script.closing.wait()
        _hang_up(handler)

    return send


def drop(handler):
    """Do not answer at all."""
    _hang_up(handler)


def _hang_up(handler):
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def kubeconfig(server_url, user=None, **cluster):
    """Return the text of a kubeconfig that leads to the server; JSON is YAML."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "there", "cluster": {"server": server_url, **cluster}}],
            "users": [{"name": "ada", "user": user or {"token": "t0"}}],
            "contexts": [{"name": "lab", "context": {"cluster": "there", "user": "ada", "namespace": "crystals"}}],
            "current-context": "lab",
        }
    )
