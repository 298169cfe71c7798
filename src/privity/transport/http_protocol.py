"""uvicorn's HTTP protocol, bounded in bytes and in time: no client can hold more, or for longer, than it is given."""

import asyncio
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, cast

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from privity.errors import ApiError, InvalidRequestError, RequestTimeoutError, UnavailableError
from privity.transport.open_files import max_connections
from privity.transport.tls import is_from

MAX_HEAD_BYTES = 64 * 1024
"""Bytes of a request's line and headers: API keys and tokens are far shorter; httptools itself has no limit."""

WRITE_BUFFER_BYTES = 64 * 1024
"""Bytes of answers that wait for a slow client, beyond which the next one waits where it comes from. uvloop's own limit
is the same in clear, but eight times as much under TLS."""

HANDSHAKE_SECONDS = 10.0
"""Until a client's handshake with TLS must be over. It counts as no connection yet, and asyncio gives it a minute."""

HEAD_SECONDS = 30.0
"""Until a request's head must be there, from its first byte or a connection's beginning: most are one packet."""

BODY_STALL_SECONDS = 60.0
BODY_STEP_BYTES = 16 * 1024
"""For how long a body may make no progress, and what counts as some: the worst radio links send as much in a minute."""

STALL_SECONDS = 120.0
"""For which a client may take none of the bytes that wait for it: then its answer gives up its place at the engine."""

_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)
_HEAD_TOO_LONG = f"The request's head is over the limit of {MAX_HEAD_BYTES} bytes."


@dataclass(frozen=True, slots=True)
class Limits:
    """What the clients of one listener may hold, and for how long."""

    connections: int = field(default_factory=max_connections)
    handshake_seconds: float = HANDSHAKE_SECONDS
    head_seconds: float = HEAD_SECONDS
    body_seconds: float = BODY_STALL_SECONDS
    stall_seconds: float = STALL_SECONDS


class JoiningTransport:
    """A transport that sends an answer's head together with its body: uvicorn writes them apart, at a system call each.

    A head waits for the next write, or for the event loop's next turn, so that a stream's head is not held up.

    Attributes:
        written: bytes so far.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""
        self.written = 0

    def write(self, data: bytes) -> None:
        """Send `data`, after a head that waits; let it wait where it begins like a head itself."""
        self.written += len(data)
        if self._head:
            data, self._head = self._head + data, b""
            self._transport.write(data)
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def _flush(self) -> None:
        if self._head:
            data, self._head = self._head, b""
            self._transport.write(data)

    def close(self) -> None:
        """Close the connection after what waits."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


_Wait = Literal["head", "body", "taking"]
"""What a client is waited for: a request's head, its body, or that it takes what was written."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits on all that a client sends or leaves, and errors in OpenAI's form.

    Args:
        limits: what clients may hold.
        client_name: the one name that clients' certificates must have; None asks for none. Nothing is read from others.
        arguments: uvicorn's own.
    """

    _in_message = False
    """Whether a request has begun and not ended: what comes then is no head, or not its beginning."""
    _outside_body = 0
    """Bytes since the last piece of a body or end of a message: a head that goes on, trailers, chunk extensions."""
    _heads = 0
    """Heads that are complete."""
    _body_bytes = 0
    """Bytes of all bodies."""

    def __init__(self, limits: Limits, client_name: str | None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._limits = limits
        self._client_name = client_name
        self._awaited: tuple[_Wait, int, float] | None = None
        """What the client was last waited for, how far it had come with that, and since when."""

    # What asyncio and httptools call

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own type
        """Take the client in, unless it is the wrong one, or one too many."""
        transport.set_write_buffer_limits(WRITE_BUFFER_BYTES)
        super().connection_made(cast("asyncio.Transport", JoiningTransport(transport, self.loop)))
        if self._client_name is not None and not is_from(transport, self._client_name):
            self.transport.abort()
        elif len(self.connections) > self._limits.connections:
            self._refuse(UnavailableError("There are too many connections here. Try again in a moment.", code="busy"))

    def data_received(self, data: bytes) -> None:
        """Read what the client sends."""
        if self.transport.is_closing():  # TLS may hold what came together with the handshake
            return
        if not self._in_message and b"pgrade" in data:
            data = _without_upgrade(data)
        self._outside_body += len(data)
        super().data_received(data)
        if self._outside_body > MAX_HEAD_BYTES:
            self._refuse(_invalid(_HEAD_TOO_LONG))

    def on_headers_complete(self) -> None:
        """Take in that the head is there."""
        self._heads += 1
        if self._outside_body > MAX_HEAD_BYTES and self._head_size() > MAX_HEAD_BYTES:
            self._refuse(_invalid(_HEAD_TOO_LONG))
            raise ValueError(_HEAD_TOO_LONG)  # ends the parsing: httptools reports it as a request that isn't valid
        super().on_headers_complete()
        self.headers = []  # what comes now are trailers, which are no headers

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def on_message_begin(self) -> None:
        """Take in that a head begins."""
        self._in_message = True
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """Take in a piece of the body."""
        self._outside_body = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take in that the body is there."""
        self._in_message = False
        self._outside_body = 0
        super().on_message_complete()

    # Refusals

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's text is of no use to a client
        """Refuse what isn't HTTP."""
        self._refuse(_invalid("The request isn't valid HTTP."))

    def _refuse(self, error: ApiError) -> None:
        if self.transport.is_closing():
            return
        if not self._is_answering():  # no second answer in the midst of the first
            body = msgspec.json.encode(error.body())
            status = b"HTTP/1.1 %d %b\r\n" % (error.status, HTTPStatus(error.status).phrase.encode())
            fields = b"content-type: application/json\r\nx-content-type-options: nosniff\r\nconnection: close\r\n"
            own = b"".join(b"%b: %b\r\n" % each for each in error.headers)
            self.transport.write(status + fields + own + b"content-length: %d\r\n\r\n" % len(body) + body)
        self.transport.close()

    def _is_answering(self) -> bool:
        cycle: Any = self.cycle  # None at first, whatever uvicorn's types say
        return cycle is not None and cycle.response_started and not cycle.response_complete

    # Clients that keep us waiting

    def look(self, now: float) -> None:
        """Cut off a client that has kept us waiting for too long; to be called about once a second.

        Args:
            now: seconds of a clock that never goes back.
        """
        wait = self._wait()
        if wait is None:
            self._awaited = None
            return
        what, progress = wait
        if self._awaited is None or self._awaited[0] != what or progress > self._awaited[1]:
            self._awaited = what, progress, now
        elif now - self._awaited[2] >= self._seconds_for(what):
            self._cut_off(what)

    def _wait(self) -> tuple[_Wait, int] | None:
        """Return what the client must do, and how far it has come with that; None where it need do nothing."""
        if unsent := self.transport.get_write_buffer_size():
            return "taking", cast("JoiningTransport", self.transport).written - unsent
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete:
            is_idle = self.timeout_keep_alive_task is not None  # uvicorn closes it in its time
            return None if is_idle else ("head", self._heads)
        return (
            ("body", self._heads + self._body_bytes // BODY_STEP_BYTES)
            if cycle.more_body and not self.flow.read_paused
            else None
        )

    def _seconds_for(self, what: _Wait) -> float:
        match what:
            case "head":
                return self._limits.head_seconds
            case "body":
                return self._limits.body_seconds
            case _:
                return self._limits.stall_seconds

    def _cut_off(self, what: _Wait) -> None:
        if what == "taking" or self.transport.is_closing():
            self.transport.abort()
        elif what == "head" and not self._in_message:  # nobody asked for anything
            self.transport.close()
        else:
            self._refuse(RequestTimeoutError(f"The request's {what} didn't come in time."))


def _invalid(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, code="invalid_http")


def _without_upgrade(data: bytes) -> bytes:
    """Return a request without the offer to change protocols, which a server may ignore (RFC 9110 section 7.8).

    Java's HTTP client offers HTTP/2 on each plain request; httptools would take the body for the other protocol's.
    """
    head, blank_line, body = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"", head) + blank_line + body
