"""One connection, as asyncio sees it."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol, cast


class Listener(Protocol):
    """What is under way on a connection."""

    def received(self, data: bytes) -> None:
        """Take in bytes of the answer."""

    def ended(self) -> None:
        """Take in that the peer has closed in an orderly way."""

    def disconnected(self, cause: Exception | None) -> None:
        """Take in that the connection is gone, in a disorderly way."""

    def close(self) -> None:
        """Take in that the client closes."""


class Connection(asyncio.Protocol):
    """A connection to an origin. Carries one exchange at a time, and is closed by bytes that come between two.

    Attributes:
        key: the origin's text.
        loop: the one that it belongs to.
        exchange: the one that is under way, if any.
        idle_since: seconds on the pool's clock.
    """

    def __init__(
        self,
        key: str,
        released: Callable[["Connection"], None],
        lost: Callable[["Connection"], None],
    ) -> None:
        self.key = key
        self.loop = asyncio.get_running_loop()  # asked for once: in Python 3.11 each time costs a system call
        self.exchange: Listener | None = None
        self.idle_since = 0.0
        self.released = released
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._reading = True
        self._may_write: asyncio.Future[None] | None = None

    @property
    def usable(self) -> bool:
        """Whether nobody has begun to close it."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def unsent(self) -> bool:
        """Whether bytes wait to be sent."""
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def write(self, data: bytes) -> None:
        """Send, or drop where the connection is closing: its loss is reported by other means."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def writable(self) -> None:
        """Wait until the peer has taken enough of what was written, or the connection is lost."""
        if self._may_write is not None:
            await self._may_write

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        """Let the peer wait."""
        if self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        if not self._reading and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take in that the connection is there."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has another base class

    def data_received(self, data: bytes) -> None:
        """Pass on what belongs to an exchange; close on what belongs to none."""
        if self.exchange is None:
            self.abort()
        else:
            self.exchange.received(data)

    def eof_received(self) -> None:
        """Take in that the peer sends no more."""
        if self.exchange is None:
            return
        if self._was_cut():
            self.exchange.disconnected(None)
        else:
            self.exchange.ended()

    def _was_cut(self) -> bool:
        """Tell whether TLS ended without a `close_notify`, as it does for whoever cuts the wire (RFC 9112 section 9.8).

        asyncio reports both ends in the same way; the TLS object still knows. All that it had was read before.
        """
        tls = None if self._transport is None else self._transport.get_extra_info("ssl_object")
        if tls is None:
            return False
        try:
            return bool(tls.read(1))
        except ssl.SSLError:
            return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Take in that the connection is gone."""
        self.resume_writing()
        if self.exchange is not None:
            self.exchange.disconnected(exc)
        self._lost(self)

    def pause_writing(self) -> None:
        """Take in that the peer is slower than we are."""
        if self._may_write is None:
            self._may_write = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Take in that the peer has caught up."""
        waiter, self._may_write = self._may_write, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
