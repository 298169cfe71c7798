"""The upstream: plays an inference proxy, on a bare protocol, so that it costs as little as possible.

`python -m bench.stub PORT` serves until its standard input ends.
"""

import asyncio
import sys
from typing import cast

import uvloop

from bench.traffic import chat_answer, event, models_body, wanted_stream

PHASES = 20
"""Streams of one interval are spread over this many moments of it, as those of different users are."""

_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    b"X-Accel-Buffering: no\r\n\r\n"  # switches nginx's buffering off, for streams alone
)


def _whole(body: bytes, status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    return head + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_MODELS = _whole(models_body())
_CHAT = _whole(chat_answer())
_UNKNOWN = _whole(b'{"error":{"message":"no such route"}}', b"404 Not Found")
_EVENT = _chunk(event())
_LAST = _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Stub(asyncio.Protocol):
    """One connection: one request after the other, each with a content-length or without a body."""

    _streams = 0

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
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
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._transport is None:
            return
        head = self._buffer[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
        if head.startswith(b"post /v1/chat/completions "):
            self._chat(self._transport, body)
        else:
            self._transport.write(_MODELS if head.startswith(b"get /v1/models ") else _UNKNOWN)

    def _chat(self, transport: asyncio.Transport, body: bytes) -> None:
        stream = wanted_stream(body)
        if stream is None:
            transport.write(_CHAT)
            return
        self._left, milliseconds = stream
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
        """Send the next event; return whether another one follows."""
        if self._transport is None or self._left <= 0:
            return False
        self._left -= 1
        self._transport.write(_EVENT if self._left else _EVENT + _LAST)
        return self._left > 0

    def pause_writing(self) -> None:
        """Wait for a slow reader."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on with a stream at full speed."""
        self._paused = False
        if self._left > 0 and not self._interval:
            self._schedule()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Stop the stream."""
        self._transport = None


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", port, backlog=1024)
    async with server:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
