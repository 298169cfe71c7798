"""A small document backend with Unstructured's API, on loopback: it really cuts the form that it gets."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from privity.testing.served import served

PATH = "/general/v0/general"


@dataclass
class FakeDocumentBackend:
    """What a test sees of the backend."""

    url: str
    forms: list[list[Message]] = field(default_factory=list)
    """The forms that came, cut into their parts by the standard library."""


@contextmanager
def document_backend() -> Iterator[FakeDocumentBackend]:
    """Run a backend for as long as the context lasts."""
    backend = FakeDocumentBackend("")
    server = _Server(backend)
    backend.url = f"http://127.0.0.1:{server.server_port}"
    with served(server):
        yield backend


class _Server(ThreadingHTTPServer):
    def __init__(self, backend: FakeDocumentBackend) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.backend = backend


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path != PATH:
            self._answer(404, {"detail": "Not Found"})
            return
        head = b"Content-Type: " + (self.headers["content-type"] or "").encode() + b"\r\n\r\n"
        form = BytesParser().parsebytes(head + body)
        parts = [part for part in form.get_payload() if isinstance(part, Message)] if form.is_multipart() else []
        if not any(_name(part) == "files" for part in parts):
            self._answer(422, {"detail": "Request parameter `files` is required"})
            return
        self.server.backend.forms.append(parts)
        fields = {_name(part): _content(part).decode() for part in parts if part.get_filename() is None}
        if fields.get("output_format") == "text/csv":
            self._send(200, "text/csv; charset=utf-8", b"type,text\r\n")
            return
        self._answer(200, [_element(part) for part in parts if part.get_filename() is not None])

    def _answer(self, status: int, value: Any) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _name(part: Message) -> object:
    return part.get_param("name", header="content-disposition")


def _content(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _element(part: Message) -> dict[str, Any]:
    text = _content(part).decode(errors="replace")
    return {"type": "Title", "element_id": "1", "text": text, "metadata": {"filename": part.get_filename()}}
