"""A package index on loopback with the wheels that a test puts there."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


def build_wheel(name: str, version: str, members: Mapping[str, bytes]) -> bytes:
    """Return a wheel that holds the members and the least metadata that pip takes."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    files = {
        **members,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return buffer.getvalue()


class FakeIndex:
    """The simple repository API (PEP 503) over HTTP.

    Attributes:
        requests: every path asked for, in order.
        status: if set, the status of every answer.
        stalled: set as soon as a wheel's answer waits in its middle; see `stall`.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.status: int | None = None
        self.stalled = threading.Event()
        self._stalling = False
        self._go_on = threading.Event()
        self._wheels: dict[str, dict[str, bytes]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """The address for PIP_INDEX_URL."""
        return f"http://127.0.0.1:{self._server.server_port}/simple"

    @property
    def downloads(self) -> int:
        """How many times a wheel was asked for."""
        return sum(path.endswith(".whl") for path in self.requests)

    def add(self, name: str, version: str, members: Mapping[str, bytes]) -> str:
        """Put a wheel there, and return its SHA-256 in hex."""
        wheel = build_wheel(name, version, members)
        self._wheels.setdefault(name, {})[f"{name.replace('-', '_')}-{version}-py3-none-any.whl"] = wheel
        return hashlib.sha256(wheel).hexdigest()

    def stall(self, *, on: bool) -> None:
        """Let every wheel's answer wait in its middle, or let the waiting ones go on."""
        self._stalling = on
        if on:
            self._go_on.clear()
        else:
            self._go_on.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, path: str) -> tuple[int, bytes]:
        parts = path.strip("/").split("/")
        if self.status is not None:
            return self.status, b""
        if len(parts) == 2 and parts[0] == "simple" and parts[1] in self._wheels:
            links = "".join(f'<a href="/files/{parts[1]}/{file}">{file}</a>' for file in self._wheels[parts[1]])
            return 200, f"<!DOCTYPE html><html><body>{links}</body></html>".encode()
        if len(parts) == 3 and parts[0] == "files" and parts[2] in self._wheels.get(parts[1], {}):
            return 200, self._wheels[parts[1]][parts[2]]
        return 404, b""

    def _wait(self) -> None:
        if self._stalling:
            self.stalled.set()
            self._go_on.wait()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        index = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                index.requests.append(self.path)
                status, body = index._answer(self.path)
                self.send_response(status)
                self.send_header("content-type", "text/html" if self.path.startswith("/simple") else "application/zip")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                half = len(body) // 2
                try:
                    self.wfile.write(body[:half])
                    if self.path.endswith(".whl"):
                        self.wfile.flush()
                        index._wait()
                    self.wfile.write(body[half:])
                except OSError:  # the client was killed
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class calls it so
                """Stay silent."""

        return Handler
