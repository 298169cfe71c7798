"""One request and its answer."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from privity.errors import UpstreamError, UpstreamProtocolError, UpstreamTimeoutError, UpstreamUnreachableError
from privity.http import Headers
from privity.transport.http_client.connection import Connection
from privity.transport.http_client.parser import ResponseParser

HIGH_WATER_BYTES = 64 * 1024
"""Of a body, that may wait for their reader before the connection is no longer read: one socket buffer's worth."""

MAX_PIECE_BYTES = 256 * 1024
"""In one piece of `chunks()`: what asyncio and uvloop read at once; more would keep other tasks waiting."""

SPLIT_BYTES = 256 * 1024
"""A body of bytes beyond this is written piece by piece: an early answer stops it, and no second copy is made."""


class Exchange:
    """A request under way, and then its answer: `privity.http.Response`, and the iterator of its body.

    One task at a time may wait for it. It lets go of its connection as soon as the answer's last byte is in memory.

    Attributes:
        stale: whether a kept connection turned out to be closed before any byte of an answer came.
    """

    __slots__ = ("_connection", "_error", "_fresh", "_loop", "_parser", "_sending", "_unsent", "_waiter", "stale")

    def __init__(self, connection: Connection, *, head_only: bool, fresh: bool) -> None:
        """Occupy `connection`; `head_only` where the method is HEAD, `fresh` where it has carried nothing before."""
        self.stale = False
        self._parser = ResponseParser(head_only=head_only)
        self._fresh = fresh
        self._loop = connection.loop
        self._error: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._sending: asyncio.Timeout | None = None
        self._unsent = False
        self._connection: Connection | None = connection
        connection.exchange = self

    async def start(self, head: bytes, body: bytes | AsyncIterator[bytes], deadline: float | None) -> None:
        """Send the request and wait for the answer's head, until `deadline` (the loop's time) or without end.

        An answer that comes before the whole body was sent stops the sending. It reaches the body's iterator as
        `CancelledError` where that is what is waited for; what the iterator raises itself leaves here unchanged.

        Raises:
            UpstreamError: as `privity.http.HttpClient.request` says. The connection is closed.
        """
        timer = None
        if deadline is not None:
            timer = asyncio.get_running_loop().call_at(deadline, self._expire)
        try:
            await self._send(head, body)
            if self._error is None and not self._parser.head_complete:
                await self._wait()
        except BaseException:
            self._abandon()
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if self._error is not None and not self._parser.head_complete:
            self._raise(self._error)

    # Sending

    async def _send(self, head: bytes, body: bytes | AsyncIterator[bytes]) -> None:
        connection = self._connection
        if connection is None or not connection.usable:
            self._break(UpstreamProtocolError("the connection was closed, or carried bytes that nobody asked for"))
        elif not isinstance(body, bytes):
            connection.write(head)
            await self._send_pieces(connection, body, chunked=True)
        elif len(body) > SPLIT_BYTES:
            connection.write(head)
            await self._send_pieces(connection, _split(body), chunked=False)
        else:
            connection.write(head + body)

    async def _send_pieces(self, connection: Connection, pieces: AsyncIterator[bytes], *, chunked: bool) -> None:
        self._unsent = True
        try:
            # A timeout without a time: the answer's arrival makes it expire. It needs no task of its own.
            async with asyncio.timeout(None) as self._sending:
                sending = self._sending
                async for piece in pieces:
                    if self._connection is None:
                        return
                    if piece:
                        connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                        await connection.writable()
                if chunked:
                    connection.write(b"0\r\n\r\n")
                self._unsent = False
        except TimeoutError:
            if not sending.expired():
                raise
        finally:
            self._sending = None

    # Waiting

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise ValueError("another task waits for this answer")
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
        elif self._sending is not None:
            self._sending.reschedule(asyncio.get_running_loop().time())
            self._sending = None

    # What the connection calls

    def received(self, data: bytes) -> None:
        """Take in bytes of the answer."""
        parser = self._parser
        try:
            parser.feed(data)
        except UpstreamProtocolError as error:
            self._fail(error)
            return
        if parser.complete:
            self._finish()
        elif parser.buffered > HIGH_WATER_BYTES and self._connection is not None:
            self._connection.pause_reading()
        if parser.head_complete:
            self._wake()

    def ended(self) -> None:
        """Take in that the peer has closed in an orderly way."""
        try:
            self._parser.feed_eof()
        except UpstreamProtocolError as error:
            self._break(error)
        else:
            self._finish()
            self._wake()

    def disconnected(self, cause: Exception | None) -> None:
        """Take in that the connection is gone, in a disorderly way."""
        error = UpstreamProtocolError("the connection was lost in the middle of an exchange")
        error.__cause__ = cause
        self._break(error)

    def close(self) -> None:
        """Take in that the client closes."""
        self._fail(UpstreamUnreachableError("the client was closed"))

    # Endings: each of them lets go of the connection

    def _detach(self) -> Connection | None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.exchange = None
        return connection

    def _finish(self) -> None:
        connection = self._detach()
        if connection is None:
            return
        if self._parser.reusable and not self._unsent and not connection.unsent:
            connection.resume_reading()
            connection.released(connection)
        else:
            connection.abort()

    def _fail(self, error: UpstreamError) -> None:
        connection = self._detach()
        if connection is not None:
            self._error = error
            connection.abort()
            self._wake()

    def _break(self, error: UpstreamError) -> None:
        if not self._parser.started:
            self.stale = not self._fresh
            unreachable = UpstreamUnreachableError("the connection was closed before an answer began")
            unreachable.__cause__ = error
            error = unreachable
        self._fail(error)

    def _expire(self) -> None:
        if not self._parser.head_complete:
            self._fail(UpstreamTimeoutError("no answer in time"))

    def _abandon(self) -> None:
        if self._connection is not None:
            self._parser.discard()
            self._fail(UpstreamProtocolError("the answer was left before its end"))

    def _raise(self, error: UpstreamError) -> None:
        raise type(error)(*error.args) from (error.__cause__ or error)  # a new one: a repeated one's traceback grows

    # privity.http.Response

    @property
    def status(self) -> int:
        """The status code, 200 to 599."""
        return self._parser.status

    @property
    def headers(self) -> Headers:
        """The answer's headers."""
        return self._parser.headers

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the iterator of the body's bytes: each piece is all that has come since the last one."""
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        parser = self._parser
        while not parser.buffered:
            if self._error is not None:
                self._raise(self._error)
            if parser.complete:
                raise StopAsyncIteration
            await self._wait()
        data = parser.take(MAX_PIECE_BYTES)
        if self._connection is not None and parser.buffered <= HIGH_WATER_BYTES:
            self._connection.resume_reading()
        return data

    async def read(self, limit: int) -> bytes:
        """Return the whole body. Raises `UpstreamError` where it is cut, or longer than `limit` bytes."""
        pieces: list[bytes] = []
        size = 0
        async for piece in self:
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                self._parser.discard()
                self._fail(error := UpstreamProtocolError(f"an answer's body is longer than {limit} bytes"))
                self._error = error
                self._raise(error)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def aclose(self) -> None:
        """End it: a connection whose answer was not read to its end is closed."""
        self._abandon()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._abandon()


async def _split(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), SPLIT_BYTES):
        yield body[start : start + SPLIT_BYTES]
