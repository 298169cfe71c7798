"""A web application asked without a socket."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from privity.http import Headers, header
from privity.transport.web_app import WebApp


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


async def ask_app(
    app: WebApp, method: str, path: str, headers: Headers = (), body: bytes = b"", query: bytes = b"new=1"
) -> Got:
    """Send one request and return its answer. The path is decoded, as a listener hands it on."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    got = Got()

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        got.status = message.get("status", got.status)
        got.headers = [*got.headers, *message.get("headers", ())]
        if piece := message.get("body", b""):
            got.pieces.append(piece)

    await app(_scope(method, path, [*headers, (b"content-length", str(len(body)).encode())], query), receive, send)
    got.body = b"".join(got.pieces)
    return got


def _scope(method: str, path: str, headers: Headers, query: bytes) -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "query_string": query, "headers": headers}


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event."""

    id: str
    name: str
    data: Any
    """Its JSON value."""


class Listener:
    """A client of an answer that comes in pieces, which are sent no faster than they are taken."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue(1)

    async def piece(self) -> bytes:
        """Return the next piece; it is empty at the end."""
        message = await self.messages.get()
        assert message["type"] == "http.response.body"
        body: bytes = message.get("body", b"")
        return body

    async def event(self) -> Event:
        """Return the next event, past the comments."""
        while (piece := await self.piece()).startswith(b":"):
            pass
        fields = dict(line.split(": ", 1) for line in piece.decode().strip().split("\n"))
        return Event(fields["id"], fields["event"], json.loads(fields["data"]))


@asynccontextmanager
async def listening_to(
    app: WebApp, path: str, headers: Headers = (), query: bytes = b""
) -> AsyncIterator[tuple[Listener, Got]]:
    """Ask for an answer that comes in pieces; leave it with the context. What was got is its head alone."""
    listener = Listener()

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    task = asyncio.get_running_loop().create_task(
        app(_scope("GET", path, headers, query), receive, listener.messages.put)
    )
    try:
        head = await listener.messages.get()
        yield listener, Got(head["status"], head["headers"])
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
