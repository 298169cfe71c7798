"""Requests and answers as a role sees them, on bare ASGI: bounded bodies, errors in the API's own form."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from privity.errors import ApiError, ClientGoneError, PayloadTooLargeError, UnavailableError, UnsupportedMediaError
from privity.http import Headers, header
from privity.protocol.event_stream import encode_event
from privity.streams import Stream
from privity.transport.error_forms import encode_error, wants_events

MAX_BODY = 128 * 1024 * 1024
"""Bytes of a request (wire-protocol.md section 9)."""

MAX_HELD_BYTES = 1024 * 1024 * 1024
"""Bytes of bodies that one listener holds at once: eight of the largest. To decrypt them takes some times that."""

DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 1.0
"""What is still read from a client that was refused in the middle of its request, and for how long."""

JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream")
NO_SNIFFING = (b"x-content-type-options", b"nosniff")
PLAIN = (b"privatemode-encrypted", b"false")
"""What an answer bears that is plain where an encrypted one could be expected (wire-protocol.md section 2)."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is all there."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class StreamReply:
    """An answer that comes in pieces. `chunks` is closed whatever happens."""

    status: int
    headers: Headers
    chunks: Stream[bytes]
    keep_alive: float | None = None
    """Seconds without a chunk until a comment is sent; for event streams whose chunks are whole events."""
    last_words: Callable[[ApiError], bytes] | None = None
    """What ends the stream where it must end before its time; None just cuts it."""


class Room:
    """The bytes of bodies that may be held at the same time."""

    def __init__(self, size: int = MAX_HELD_BYTES) -> None:
        self._left = size

    def take(self, size: int) -> None:
        """Take in so many bytes more. Raises `UnavailableError` where there is no room for them."""
        if size > self._left:
            raise UnavailableError("Too much is being sent here at the moment. Try again soon.", code="busy")
        self._left -= size

    def give_back(self, size: int) -> None:
        """Let so many bytes go."""
        self._left += size


@dataclass(slots=True)
class Request:
    """A request whose head has arrived."""

    method: str
    path: str
    """Decoded."""
    query: bytes
    headers: Headers
    receive: Receive
    room: Room = field(default_factory=Room)
    """Where its body is held."""
    tail: str = ""
    """What follows a route that ends in a slash."""
    complete: bool = field(default=False, init=False)
    only_waits: bool = field(default=False, init=False)
    """Whether its client waits for news, so that a listener that stops ends it at once."""
    _received: int = field(default=0, init=False)
    _held: int = field(default=0, init=False)

    @property
    def parameters(self) -> dict[str, str]:
        """The query's parameters, each with its first value."""
        pairs = parse_qsl(self.query.decode("latin-1"), keep_blank_values=True)
        return dict(reversed(pairs))

    @property
    def content_length(self) -> int | None:
        """Bytes of the body, where the client says so."""
        value = header(self.headers, b"content-length")
        return int(value) if value is not None else None

    @property
    def has_unread_body(self) -> bool:
        """Whether bytes may come that nobody will read."""
        announced = self.content_length or header(self.headers, b"transfer-encoding")
        return not self.complete and bool(announced)

    async def stream(self, limit: int) -> AsyncIterator[bytes]:
        """Yield the body's pieces.

        Raises:
            PayloadTooLargeError: more than `limit` bytes.
            ClientGoneError: the client left before its end.
        """
        self.check_length(limit)
        while not self.complete:
            if piece := await self._next_piece(limit):
                yield piece

    async def body(self, limit: int) -> bytes:
        """Return the whole body, for which there is room until `release`.

        Raises:
            PayloadTooLargeError: more than `limit` bytes.
            UnavailableError: there is no room for it beside those of others.
            ClientGoneError: the client left before its end.
        """
        self.check_length(limit)
        pieces: list[bytes] = []
        while not self.complete:
            piece = await self._next_piece(limit)
            self.room.take(len(piece))
            self._held += len(piece)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def release(self) -> None:
        """Give the body's room back."""
        self.room.give_back(self._held)
        self._held = 0

    async def _next_piece(self, limit: int) -> bytes:
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        piece: bytes = message.get("body", b"")
        self.complete = not message.get("more_body", False)
        self._received += len(piece)
        if self._received > limit:
            raise _too_large(limit)
        return piece

    async def drain(self, seconds: float) -> None:
        """Throw away what still comes, within limits.

        Closing a connection with unread bytes resets it, and a client that is still sending never sees its answer.
        """
        with contextlib.suppress(TimeoutError, ClientGoneError, PayloadTooLargeError):
            async with asyncio.timeout(seconds):
                while not self.complete:
                    await self._next_piece(DRAIN_BYTES)

    def check_length(self, limit: int) -> None:
        """Raise `PayloadTooLargeError` where the client announces more than `limit` bytes."""
        if (self.content_length or 0) > limit:
            raise _too_large(limit)


Handler = Callable[[Request], Awaitable[Reply | StreamReply]]
Check = Callable[[Headers], None]
Routes = Mapping[str, Mapping[str, Handler]]
"""Path → method → handler. A path that ends in a slash takes all below it. HEAD is answered by GET's handler."""


def json_reply(value: object, status: int = 200, headers: Headers = ()) -> Reply:
    """Return `value` as a JSON answer."""
    return Reply(status, [JSON, *headers], msgspec.json.encode(value))


def error_reply(error: ApiError, request: Request) -> Reply:
    """Return an error in the API's own form, as an event where the client wants events (wire-protocol.md section 9)."""
    body = encode_error(error, request.path, request.headers)
    kind = JSON
    if wants_events(request.headers):
        kind, body = EVENTS, encode_event(body, b"error")
    return Reply(error.status, [kind, NO_SNIFFING, *error.headers], body)


def _too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(f"The body is over the limit of {limit} bytes.")


def require_json(request: Request) -> None:
    """Raise `UnsupportedMediaError` where the body claims to be something other than JSON."""
    kind = header(request.headers, b"content-type")
    if kind is not None and kind.split(b";")[0].strip().lower() != b"application/json":
        raise UnsupportedMediaError("This endpoint takes JSON: send the header `Content-Type: application/json`.")
