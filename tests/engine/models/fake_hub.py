"""A hub on this computer: answers the requests that a real one answers, and notes them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

REPOSITORY = "owner/name"
COMMIT = "c0ffee" + "0" * 34
LARGE = (".safetensors", ".ckpt", ".bin")


class FakeHub:
    """One repository.

    Attributes:
        files: name -> content that is sent.
        described: name -> content whose hash and size are told; as `files` where it has none.
        stop_after: name -> bytes after which the line breaks, once.
        ranges: whether the host of the large files can begin elsewhere than at the start.
        token: without which the repository is not shown.
        code: X-Error-Code of a refusal.
        requests: (method, path, headers) as they came.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.described: dict[str, bytes] = {}
        self.stop_after: dict[str, int] = {}
        self.ranges = True
        self.token = ""
        self.code = ""
        self.requests: list[tuple[str, str, dict[str, str]]] = []

    def listing(self) -> bytes:
        rows = [self._row(name, self.described.get(name, c)) for name, c in self.files.items()]
        return json.dumps({"id": REPOSITORY, "sha": COMMIT, "siblings": rows}).encode()

    def _row(self, name: str, content: bytes) -> dict:
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        row: dict = {"rfilename": name, "size": len(content), "blobId": git}
        if name.endswith(LARGE):
            sha256 = hashlib.sha256(content).hexdigest()
            row |= {"lfs": {"sha256": sha256, "size": len(content), "pointerSize": 134}}
        return row

    def asked(self, name: str) -> list[dict[str, str]]:
        """The headers of each request for a file's content, at its last host."""
        way = "/cdn/" if name.endswith(LARGE) else "/resolve/"
        return [
            h for m, path, h in self.requests if m == "GET" and way in path and path.endswith(name)
        ]


@contextmanager
def serving(hub: FakeHub) -> Iterator[str]:
    """The hub's address while it runs."""

    class Handler(_Handler):
        fake = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    fake: FakeHub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.fake.requests.append((self.command, path, headers))
        known = f"Bearer {self.fake.token}" == headers.get("authorization")
        if path.startswith("/cdn/"):
            self._content(path.removeprefix("/cdn/"))
        elif self.fake.token and not known:
            self._send(401, b"", {"X-Error-Code": self.fake.code} if self.fake.code else {})
        elif path in {f"/api/models/{REPOSITORY}", f"/api/models/{REPOSITORY}/revision/v1"}:
            blobs = parse_qs(parts.query).get("blobs", ["false"])[0].lower()
            self._send(200 if blobs == "true" else 400, self.fake.listing())
        elif path.startswith(f"/api/models/{REPOSITORY}/revision/"):
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif path.startswith(f"/{REPOSITORY}/resolve/"):
            self._resolve(path.split("/", 5)[5])
        else:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

    def _resolve(self, name: str) -> None:
        content = self.fake.described.get(name, self.fake.files.get(name))
        if content is None:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        elif name.endswith(LARGE):  # as the real one: to another host, with the facts beside
            port = self.server.server_address[1]
            sha256 = hashlib.sha256(content).hexdigest()
            self._send(302, b"", {
                "Location": f"http://localhost:{port}/cdn/{name}", "X-Repo-Commit": COMMIT,
                "X-Linked-ETag": f'"{sha256}"', "X-Linked-Size": str(len(content)),
            })  # fmt: skip
        else:
            self._content(name)

    def _content(self, name: str) -> None:
        content = self.fake.files[name]
        etag = hashlib.sha1(content).hexdigest()
        more = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        start = self.headers.get("Range", "")
        if not start or not self.fake.ranges:
            self._send(200, content, more, self.fake.stop_after.pop(name, None))
            return
        first = int(start.removeprefix("bytes=").rstrip("-"))
        more["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        self._send(206, content[first:], more)

    def _send(
        self, code: int, body: bytes, headers: dict | None = None, stop: int | None = None
    ) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:stop])
        if stop is not None:
            self.wfile.flush()
            self.connection.shutdown(2)
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass
