"""A package index of the tests' own: real wheels over HTTP (PEP 503), behind a password if asked."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def wheel(name, version, files, *, requires=(), extras=None):
    """Return name and content of a wheel with *files*, the same bytes for the same arguments."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {each}" for each in requires]
    for extra, needed in (extras or {}).items():
        metadata += [f"Provides-Extra: {extra}", *(f'Requires-Dist: {each} ; extra == "{extra}"' for each in needed)]
    content = {
        **files,
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{path},sha256={_digest(text.encode())},{len(text.encode())}" for path, text in content.items()]
    content[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in content.items():
            archive.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), text)
    return f"{module}-{version}-py3-none-any.whl", target.getvalue()


def _digest(content):
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


class Index:
    """What is served: *files* by distribution and name. With *password* nobody else is let in."""

    def __init__(self, server, address, password=None):
        self._server = server
        self.files = {}
        self.password = password
        self.asked = []
        self.netloc = f"{address}:{server.server_port}"

    @property
    def url(self):
        return f"http://{self.netloc}/simple"

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def add(self, name, version, files, **options):
        filename, content = wheel(name, version, files, **options)
        self.files.setdefault(name, {})[filename] = content
        return filename

    def answer(self, path):
        parts = path.strip("/").split("/")
        if parts[0] == "simple" and len(parts) == 2 and parts[1] in self.files:
            # Without the hashes of its files, as many an index: what was changed is seen only by the lock.
            links = [f'<a href="/files/{parts[1]}/{name}">{name}</a>' for name in self.files[parts[1]]]
            return "text/html", f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()
        if parts[0] == "files" and len(parts) == 3 and parts[2] in self.files.get(parts[1], {}):
            return "application/octet-stream", self.files[parts[1]][parts[2]]
        return None


@contextmanager
def package_index(address="127.0.0.1", password=None):
    """Serve an index on *address* for a while."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            index.asked.append(self.path)
            given = self.headers.get("Authorization", "")
            if index.password and given != "Basic " + base64.b64encode(f"ada:{index.password}".encode()).decode():
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="index"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            found = index.answer(self.path)
            self.send_response(200 if found else 404)
            kind, content = found or ("text/plain", b"")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer((address, 0), Handler) as server:
        index = Index(server, address, password)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()
