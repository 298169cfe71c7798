"""The client and its pool of kept connections."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from types import TracebackType
from typing import Self

from privity.errors import UpstreamTimeoutError, UpstreamUnreachableError
from privity.http import Headers
from privity.transport.http_client.connection import Connection
from privity.transport.http_client.exchange import Exchange
from privity.transport.http_client.opener import Opener
from privity.transport.http_client.outgoing import OutgoingProxy
from privity.transport.http_client.request import Origin, encode_head, split_url

CONNECT_TIMEOUT_SECONDS = 5.0
"""Until a connection, with its TLS handshake, must be there. Hosts of one deployment answer in milliseconds."""

IDLE_TIMEOUT_SECONDS = 4.0
"""For which a kept connection is used again: less than the 5 s after which uvicorn and cpp-httplib close it."""

MAX_IDLE = 64
"""Connections kept for one origin: one for each request that a worker typically has under way."""


class PooledHttpClient:
    """`privity.http.HttpClient` over HTTP/1.1, for one event loop.

    It keeps connections and uses the one that was used last. A connection is kept only after an answer that is
    complete, without surplus bytes, and does not ask for closing, to a request that was sent to its end. The peer may
    have closed it meanwhile: a request that finds it so before any byte of an answer is repeated once, on a new
    connection, if its body is `bytes` and its sender allows it. Nothing else is repeated.

    Does not do: redirects, cookies, compression, SOCKS, HTTP/2, Happy Eyeballs, a limit on active connections.
    """

    def __init__(  # noqa: PLR0913  # each has a default
        self,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        proxy: OutgoingProxy | None = None,
        connect_timeout: float = CONNECT_TIMEOUT_SECONDS,
        head_timeout: float | None = None,
        max_idle: int = MAX_IDLE,
        idle_timeout: float = IDLE_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a client.

        Args:
            tls: for `https` URLs; None trusts what the system trusts.
            server_name: the name that certificates must hold, whatever the host of an `https` URL; None is that host.
            proxy: goes between, for all that isn't a Unix domain socket: `outgoing_proxy` says whether there is one.
            connect_timeout: seconds until a connection must be there.
            head_timeout: seconds until the head of an answer must be there, for requests that don't say it themselves.
            max_idle: connections kept for one origin.
            idle_timeout: seconds for which a connection is kept.
            clock: seconds, for the age of kept connections.
        """
        self._opener = Opener(tls, server_name, proxy)
        self._connect_timeout = connect_timeout
        self._head_timeout = head_timeout
        self._pool = _Pool(max_idle, idle_timeout, clock)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes | AsyncIterator[bytes] = b"",
        head_timeout: float | None = None,
        repeat: bool = True,
    ) -> Exchange:
        """Send one request and return its answer as soon as its head has arrived: see `privity.http.HttpClient`.

        An iterator of a body stays the caller's to close. Its own exception leaves here unchanged.

        Raises:
            UpstreamUnreachableError: no connection within `connect_timeout`, it was closed before an answer began (a
                kept one that can't be had anew included), or the client is closed. Two kinds of it have a text for the
                user: `OutgoingProxyError` and `UntrustedPeerError`.
            UpstreamTimeoutError: no head within `head_timeout`, connecting included.
            UpstreamProtocolError: what came back is not HTTP, or breaks a limit.
            ValueError: a URL, method or header that can't be sent.
        """
        origin, target = split_url(url)
        if head_timeout is None:
            head_timeout = self._head_timeout
        target, headers = self._opener.addressed(origin, target, headers)
        head = encode_head(method, origin, target, headers, len(body) if isinstance(body, bytes) else None)
        deadline = None if head_timeout is None else asyncio.get_running_loop().time() + head_timeout
        exchange = await self._exchange(origin, head, body, deadline, repeat=repeat, head_only=method == "HEAD")
        if exchange.status == 407 and (reader := self._opener.proxy_that_reads(origin)) is not None:
            await exchange.aclose()
            raise reader.refusal(exchange.status)
        return exchange

    async def aclose(self) -> None:
        """Close every connection, and wait until they are gone. What is under way fails."""
        await self._pool.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _exchange(
        self,
        origin: Origin,
        head: bytes,
        body: bytes | AsyncIterator[bytes],
        deadline: float | None,
        *,
        repeat: bool,
        head_only: bool,
    ) -> Exchange:
        connection = self._pool.take(origin.text)
        if connection is not None:
            exchange = Exchange(connection, head_only=head_only, fresh=False)
            try:
                await exchange.start(head, body, deadline)
            except UpstreamUnreachableError:
                if not (repeat and exchange.stale and isinstance(body, bytes)):
                    raise
            else:
                return exchange
        connection = await self._connect(origin, deadline)
        exchange = Exchange(connection, head_only=head_only, fresh=True)
        await exchange.start(head, body, deadline)
        return exchange

    async def _connect(self, origin: Origin, deadline: float | None) -> Connection:
        self._pool.check_open()
        limit = asyncio.get_running_loop().time() + self._connect_timeout
        by_request = deadline is not None and deadline < limit
        timeout = asyncio.timeout_at(deadline if by_request else limit)
        protocol = partial(Connection, origin.text, self._pool.released, self._pool.lost)
        try:
            async with timeout:
                connection = await self._opener.open(origin, protocol)
        except (OSError, UnicodeError) as error:  # TimeoutError is an OSError; a host's IDNA encoding may fail
            if by_request and timeout.expired():
                raise UpstreamTimeoutError("no answer in time") from error
            raise self._opener.failure(origin, error) from error
        self._pool.opened(connection)
        return connection


class _Pool:
    """Knows every open connection, and keeps the idle ones: last in, first out."""

    def __init__(self, max_idle: int, idle_timeout: float, clock: Callable[[], float]) -> None:
        self._closed = False
        self._max_idle = max_idle
        self._idle_timeout = idle_timeout
        self._clock = clock
        self._open: set[Connection] = set()
        self._idle: dict[str, list[Connection]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._emptied = asyncio.Event()

    def check_open(self) -> None:
        """Raise `UpstreamUnreachableError` if this is closed."""
        if self._closed:
            raise UpstreamUnreachableError("the client is closed")

    def take(self, key: str) -> Connection | None:
        """Return the connection to this origin that was used last, unless it is too old."""
        kept = self._idle.get(key)
        oldest = self._clock() - self._idle_timeout if kept else 0.0
        while kept:
            connection = kept.pop()
            if connection.usable and connection.idle_since > oldest:
                return connection
            connection.abort()
        return None

    def opened(self, connection: Connection) -> None:
        """Take in a new connection, or close it and raise `UpstreamUnreachableError` if this was closed meanwhile.

        Not the connection's matter: where connecting is cancelled at the last moment, uvloop calls its
        `connection_made`, but never its `connection_lost`.
        """
        if self._closed:
            connection.abort()
            self.check_open()
        if connection.usable:
            self._open.add(connection)
            self._emptied.clear()

    def released(self, connection: Connection) -> None:
        """Keep a connection that has done its work, if there is room and it is open."""
        kept = self._idle.setdefault(connection.key, [])
        if self._closed or len(kept) >= self._max_idle or not connection.usable:
            connection.abort()
            return
        connection.idle_since = self._clock()
        kept.append(connection)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self._idle_timeout, self._sweep)

    def lost(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._open.discard(connection)
        kept = self._idle.get(connection.key, ())
        if connection in kept:
            self._idle[connection.key].remove(connection)
        if not self._open:
            self._emptied.set()

    async def aclose(self) -> None:
        """Close all connections, and wait until they are gone."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._open):
            if connection.exchange is not None:
                connection.exchange.close()
            connection.abort()
        if self._open:
            await self._emptied.wait()

    def _sweep(self) -> None:
        """Close what is too old, and come again when the next one will be."""
        self._sweeper = None
        now = self._clock()
        self._idle = {key: kept for key, kept in self._idle.items() if kept}
        for kept in self._idle.values():
            while kept and kept[0].idle_since <= now - self._idle_timeout:
                kept.pop(0).abort()
        eldest = min((kept[0].idle_since for kept in self._idle.values() if kept), default=None)
        if eldest is not None:
            delay = eldest + self._idle_timeout - now
            self._sweeper = asyncio.get_running_loop().call_later(delay, self._sweep)
