"""A model hub on loopback with the files that a test puts there."""

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote, urlsplit

COMMIT: Final = "0123456789abcdef0123456789abcdef01234567"
"""The commit that `main` of every repository points to."""

_API: Final = re.compile(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?")
_RESOLVE: Final = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass(frozen=True)
class Request:
    """One request that the hub got."""

    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass
class _Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class FakeHub:
    """The part of a hub's HTTP interface that downloads need.

    Attributes:
        requests: every request, in order.
        wrong_digest: announce a SHA-256 that no file has.
        cuts: close the connection in the middle of the body, that many times.
        stall: instead wait there until the test ends; `stalled` is set when it does.
        token: if set, whoever does not send it gets 401.
        gated: answer file requests as for a model whose terms nobody accepted.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.wrong_digest = False
        self.cuts = 0
        self.stall = False
        self.stalled = threading.Event()
        self.token: str | None = None
        self.gated = False
        self._end = threading.Event()
        self._repos: dict[str, dict[str, bytes]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """The address for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def downloads(self) -> list[Request]:
        """The requests for a file's bytes."""
        return [request for request in self.requests if request.method == "GET" and "/resolve/" in request.path]

    def add(self, repo: str, file: str, data: bytes) -> None:
        """Put a file there."""
        self._repos.setdefault(repo, {})[file] = data

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: Request) -> _Answer:
        path = unquote(urlsplit(request.path).path)
        if self.token is not None and request.authorization != f"Bearer {self.token}":
            return _Answer(401, {"x-error-message": "Invalid username or password."})
        if match := _API.fullmatch(path):
            return self._info(match[1], match[2] or "main")
        if match := _RESOLVE.fullmatch(path):
            return self._file(match[1], match[2], match[3], request.range)
        return _Answer(404)

    def _refusal(self, repo: str, revision: str) -> _Answer | None:
        if repo not in self._repos:
            return _Answer(404, {"x-error-code": "RepoNotFound"})
        if revision not in ("main", COMMIT):
            return _Answer(404, {"x-error-code": "RevisionNotFound"})
        return None

    def _info(self, repo: str, revision: str) -> _Answer:
        if refusal := self._refusal(repo, revision):
            return refusal
        info = {
            "id": repo,
            "sha": COMMIT,
            "createdAt": "2024-01-02T03:04:05.000Z",
            "tags": ["gguf", "license:apache-2.0"],
            "siblings": [{"rfilename": file} for file in self._repos[repo]],
        }
        return _Answer(200, {"content-type": "application/json"}, json.dumps(info).encode())

    def _file(self, repo: str, revision: str, file: str, wanted: str | None) -> _Answer:
        if refusal := self._refusal(repo, revision):
            return refusal
        if self.gated:
            return _Answer(403, {"x-error-code": "GatedRepo"})
        if file not in self._repos[repo]:
            return _Answer(404, {"x-error-code": "EntryNotFound", "x-repo-commit": COMMIT})
        data = self._repos[repo][file]
        digest = "0" * 64 if self.wrong_digest else hashlib.sha256(data).hexdigest()
        headers = {
            "etag": f'"{digest}"',
            "x-linked-etag": f'"{digest}"',
            "x-linked-size": str(len(data)),
            "x-repo-commit": COMMIT,
            "accept-ranges": "bytes",
        }
        if wanted is None:
            return _Answer(200, headers, data)
        start = int(wanted.removeprefix("bytes=").split("-")[0])
        headers["content-range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return _Answer(206, headers, data[start:])

    def _pause(self) -> bool:
        """In the middle of a body: wait if told to, and return whether to close the connection."""
        if self.stall:
            self.stalled.set()
            self._end.wait()
        self.cuts -= 1
        return self.cuts >= 0

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._serve(body=False)

            def do_GET(self) -> None:
                self._serve(body=True)

            def _serve(self, *, body: bool) -> None:
                request = Request(self.command, self.path, self.headers.get("range"), self.headers.get("authorization"))
                hub.requests.append(request)
                answer = hub._answer(request)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                if body:
                    self._send(answer.body, pause=request in hub.downloads)

            def _send(self, body: bytes, *, pause: bool) -> None:
                half = len(body) // 2
                try:
                    self.wfile.write(body[:half])
                    self.wfile.flush()
                    if pause and hub._pause():
                        self.close_connection = True
                        return
                    self.wfile.write(body[half:])
                except OSError:  # the client was killed
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class calls it so
                """Stay silent."""

        return Handler
