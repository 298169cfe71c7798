"""A web application asked without a socket."""

import json
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

from privity.http import Headers, header
from privity.transport.web import WebApp


@dataclass(slots=True)
class Got:
    """What a client of the application got."""

    status: int = 0
    headers: Headers = ()
    body: bytes = b""
    pieces: list[bytes] = field(default_factory=list)
    """The body as it was sent."""

    def header(self, name: bytes) -> bytes | None:
        """Return the first header under a name in lower case."""
        return header(self.headers, name)

    def json(self) -> Any:
        """Return the body's JSON value."""
        return json.loads(self.body)


async def ask_app(app: WebApp, method: str, path: str, headers: Headers = (), body: bytes = b"") -> Got:
    """Send one request and return its answer."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    got = Got()

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        got.status = message.get("status", got.status)
        got.headers = [*got.headers, *message.get("headers", ())]
        if piece := message.get("body", b""):
            got.pieces.append(piece)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"new=1",
        "headers": [*headers, (b"content-length", str(len(body)).encode())],
    }
    await app(scope, receive, send)
    got.body = b"".join(got.pieces)
    return got
