"""The upstream, on a bare protocol, so that it costs as little as possible.

On one port it plays an engine, in plain: for nginx, and for a real inference proxy. On the other one it plays a whole
deployment, secret service included, encrypted: for the proxy. Requests are not decrypted: their first value says which
secret and which nonce the answer needs.

`python -m bench.stub PLAIN_PORT SEALED_PORT IDENTITY.pem` serves until its standard input ends.
"""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, cast

import uvloop

from bench.sealed import LAST_EVENT, Secrets, StreamedAnswer, WholeAnswer
from bench.traffic import (
    CHAT_PATH,
    UPLOAD_PATH,
    chat_answer,
    event,
    models_body,
    upload_answer,
    upload_models_body,
    wanted_stream,
)
from privity.protocol.mesh import Identity

PHASES = 20
"""Streams of one interval are spread over this many moments of it, as those of different users are."""

KEPT_BYTES = 64 * 1024
"""Bytes of a request that are looked at; the rest of an upload is only counted."""

UPLOADS = "/uploads"
"""Below this path the deployment has one model, which takes uploads."""

_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    b"X-Accel-Buffering: no\r\n\r\n"  # switches nginx's buffering off, for streams alone
)
_LAST_CHUNK = b"\r\n0\r\n\r\n"


def _whole(body: bytes, status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    return head + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_MODELS = _whole(models_body())
_UPLOAD_MODELS = _whole(upload_models_body())
_UNKNOWN = _whole(b'{"error":{"message":"no such route"}}', b"404 Not Found")
_NO_SECRET = _whole(b'{"error":{"message":"no secret for ID"}}', b"500 Internal Server Error")


class Answers(Protocol):
    """What a port answers."""

    def whole(self, path: str, body: bytes) -> bytes:
        """Return an answer with its head."""

    def events(self, body: bytes, count: int) -> Iterator[bytes]:
        """Return the events of a stream, and last what ends it."""


class PlainAnswers:
    """An engine's."""

    def __init__(self) -> None:
        self._wholes = {CHAT_PATH: _whole(chat_answer()), UPLOAD_PATH: _whole(upload_answer()), "/v1/models": _MODELS}
        self._event = event()

    def whole(self, path: str, body: bytes) -> bytes:  # noqa: ARG002  # the protocol's signature
        """Return what was worked out before."""
        return self._wholes.get(path, _UNKNOWN)

    def events(self, body: bytes, count: int) -> Iterator[bytes]:  # noqa: ARG002  # the same
        """Return the same event again and again."""
        for _ in range(count):
            yield self._event
        yield LAST_EVENT


class SealedAnswers:
    """A deployment's."""

    def __init__(self, identity: Identity) -> None:
        self._secrets = Secrets(identity)
        self._wholes = {
            CHAT_PATH: WholeAnswer(CHAT_PATH, chat_answer()),
            UPLOAD_PATH: WholeAnswer(UPLOAD_PATH, upload_answer()),
        }
        self._stream = StreamedAnswer(CHAT_PATH, event()[len(b"data: ") : -2])

    def whole(self, path: str, body: bytes) -> bytes:
        """Seal an answer, agree on a secret, or list the models."""
        if path == "/privatemode/v1/secret":
            return _whole(self._secrets.agree(body))
        if path in {"/v1/models", UPLOADS + "/v1/models"}:
            return _UPLOAD_MODELS if path.startswith(UPLOADS) else _MODELS
        answer = self._wholes.get(path.removeprefix(UPLOADS))
        sealer = self._secrets.sealer(body)
        if answer is None:
            return _UNKNOWN
        return _NO_SECRET if sealer is None else answer.seal(sealer)

    def events(self, body: bytes, count: int) -> Iterator[bytes]:
        """Seal each event when it is asked for."""
        sealer = self._secrets.sealer(body)
        if sealer is None:
            raise ValueError("a stream is wanted for a secret that nobody agreed on")
        return self._stream.seal(sealer, count)


class Stub(asyncio.Protocol):
    """One connection: one request after the other."""

    _streams = 0

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._missing = 0
        self._tail: bytes | None = None
        self._events: Iterator[bytes] = iter(())
        self._left = 0
        self._interval = 0.0
        self._next = 0.0
        self._paused = False
        self._scheduled = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take in the connection."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer the request that is complete."""
        if len(self._buffer) < KEPT_BYTES:
            self._buffer += data
        if self._tail is not None:
            self._tail = (self._tail + data)[-len(_LAST_CHUNK) :]
        elif self._missing:
            self._missing -= len(data)
        elif not self._begin(data):
            return
        if self._missing or (self._tail is not None and self._tail != _LAST_CHUNK):
            return
        request, self._buffer, self._tail = self._buffer, b"", None
        head, _, body = request.partition(b"\r\n\r\n")
        if self._transport is not None:
            self._answer(self._transport, head.split(b" ", 2)[1].partition(b"?")[0].decode(), body)

    def _begin(self, data: bytes) -> bool:
        """Read a head, and so what is to come; return whether it is complete."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self._buffer[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        self._missing = max(0, end + 4 + length - len(self._buffer))
        if b"\r\ntransfer-encoding: chunked" in head:
            self._tail = data[-len(_LAST_CHUNK) :]
        return True

    def _answer(self, transport: asyncio.Transport, path: str, body: bytes) -> None:
        stream = wanted_stream(body) if path == CHAT_PATH else None
        if stream is None:
            transport.write(self._answers.whole(path, body))
            return
        count, milliseconds = stream
        self._events, self._left = self._answers.events(body, count), count
        self._interval = milliseconds / 1000
        transport.write(_STREAM_HEAD)
        if not milliseconds:
            self._schedule()
            return
        Stub._streams += 1
        self._next = self._loop.time() + self._interval * (1 + Stub._streams % PHASES / PHASES)
        self._loop.call_at(self._next, self._tick)

    def _go_on(self) -> None:
        """Send one event in one system call, as an engine does, and come again in the loop's next turn."""
        self._scheduled = False
        if not self._paused and self._send():
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._go_on)

    def _tick(self) -> None:
        if self._send():
            self._next += self._interval
            self._loop.call_at(self._next, self._tick)

    def _send(self) -> bool:
        """Send the next event, the last one together with the end; return whether another one follows."""
        if self._transport is None or not self._left:
            return False
        self._left -= 1
        event_bytes = _chunk(next(self._events))
        self._transport.write(event_bytes if self._left else event_bytes + _chunk(next(self._events)) + b"0\r\n\r\n")
        return self._left > 0

    def pause_writing(self) -> None:
        """Wait for a slow reader."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on with a stream at full speed."""
        self._paused = False
        if self._left and not self._interval:
            self._schedule()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Stop the stream."""
        self._transport = None


async def _serve(plain_port: int, sealed_port: int, identity: Identity) -> None:
    loop = asyncio.get_running_loop()
    plain, sealed = PlainAnswers(), SealedAnswers(identity)
    async with (
        await loop.create_server(lambda: Stub(sealed), "127.0.0.1", sealed_port, backlog=1024),
        await loop.create_server(lambda: Stub(plain), "127.0.0.1", plain_port, backlog=1024),
    ):
        await loop.run_in_executor(None, sys.stdin.buffer.read)


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2]), Identity.from_pem(Path(sys.argv[3]).read_bytes())))
