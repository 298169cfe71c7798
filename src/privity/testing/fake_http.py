"""An HTTP client whose server is a function: the in-memory twin of `privity.transport.http_client`."""

import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from privity.errors import UpstreamError, UpstreamProtocolError
from privity.http import Headers


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request as it would have gone out."""

    method: str
    url: str
    headers: Headers
    body: bytes
    head_timeout: float | None
    repeat: bool = True

    def json(self) -> Any:
        """Return the body's JSON value."""
        return json.loads(self.body)


@dataclass(slots=True)
class FakeResponse:
    """An answer in pieces; an `UpstreamError` among them is raised in its place."""

    status: int
    headers: Headers
    pieces: list[bytes | UpstreamError]
    closed: bool = field(default=False, init=False)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the pieces."""
        for piece in self.pieces:
            if isinstance(piece, UpstreamError):
                raise piece
            yield piece

    async def read(self, limit: int) -> bytes:
        """Return all pieces as one."""
        body = b"".join([piece async for piece in self.chunks()])
        if len(body) > limit:
            raise UpstreamProtocolError("too long")
        return body

    async def aclose(self) -> None:
        """Take note that it was closed."""
        self.closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


Server = Callable[[SentRequest], FakeResponse]
"""Answers a request, or raises an `UpstreamError`."""


class FakeHttpClient:
    """Sends nothing: `server` answers. What was sent is in `sent`, the answers are in `answers`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.sent: list[SentRequest] = []
        self.answers: list[FakeResponse] = []

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes | AsyncIterator[bytes] = b"",
        head_timeout: float | None = None,
        repeat: bool = True,
    ) -> FakeResponse:
        """Return the server's answer."""
        whole = body if isinstance(body, bytes) else b"".join([piece async for piece in body])
        request = SentRequest(method, url, list(headers), whole, head_timeout, repeat)
        self.sent.append(request)
        response = self._server(request)
        self.answers.append(response)
        return response


def json_response(value: object, status: int = 200) -> FakeResponse:
    """Return a whole JSON answer."""
    body = json.dumps(value).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    return FakeResponse(status, head, [body])


def event_response(events: Iterable[object], *, done: bool = True) -> FakeResponse:
    """Return an event stream, one piece an event; without `done` it ends before its time."""
    pieces: list[bytes | UpstreamError] = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]
    if done:
        pieces.append(b"data: [DONE]\n\n")
    return FakeResponse(200, [(b"content-type", b"text/event-stream")], pieces)
