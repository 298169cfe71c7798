"""A listener: uvicorn with httptools, bounded, silent, and ended by its caller instead of by signals."""

import asyncio
import contextlib
import errno
import logging
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from privity.errors import InvalidRequestError, StartError
from privity.transport.tasks import Background
from privity.transport.tls import is_from
from privity.transport.web import WebApp

MAX_HEAD_BYTES = 64 * 1024
"""Bytes of a request's line and headers: API keys and tokens are far shorter; httptools itself has no limit."""

STOP_GRACE = 2
"""Seconds that open exchanges get to finish when a listener stops."""

KEEP_ALIVE = 75
"""Seconds that an idle connection is kept: longer than clients keep theirs, so that they close first."""

DATE_SECONDS = 1.0
"""Seconds for which answers have the same `date`: it has no fractions."""

BACKLOG = 1024
"""Connections that wait to be accepted."""

_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)
_HEAD_TOO_LONG = f"The request's head is over the limit of {MAX_HEAD_BYTES} bytes."


class _JoiningTransport:
    """A transport that sends an answer's head together with its body: uvicorn writes them apart, at a system call each.

    A head waits for the next write, or for the event loop's next turn, so that a stream's head is not held up.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send `data`, after a head that waits; let it wait where it begins like a head itself."""
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


class _BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a limit on all that is not body, and errors in OpenAI's form."""

    _in_message = False
    """Whether a request has begun and not ended: what comes then is no head, or not its beginning."""
    _outside_body = 0
    """Bytes since the last piece of a body or end of a message: a head that goes on, trailers, chunk extensions."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own type
        super().connection_made(cast("asyncio.Transport", _JoiningTransport(transport, self.loop)))

    def data_received(self, data: bytes) -> None:
        if not self._in_message and b"pgrade" in data:
            data = _without_upgrade(data)
        self._outside_body += len(data)
        super().data_received(data)
        if self._outside_body > MAX_HEAD_BYTES:
            self._refuse(_HEAD_TOO_LONG)

    def on_headers_complete(self) -> None:
        if self._outside_body > MAX_HEAD_BYTES and self._head_size() > MAX_HEAD_BYTES:
            self._refuse(_HEAD_TOO_LONG)
            raise ValueError(_HEAD_TOO_LONG)  # ends the parsing: httptools reports it as a request that isn't valid
        super().on_headers_complete()
        self.headers = []  # what comes now are trailers, which are no headers

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def on_message_begin(self) -> None:
        self._in_message = True
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        self._outside_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_message = False
        self._outside_body = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's text is of no use to a client
        self._refuse("The request isn't valid HTTP.")

    def _refuse(self, message: str) -> None:
        if self.transport.is_closing():
            return
        body = msgspec.json.encode(InvalidRequestError(message, code="invalid_http").body())
        fields = b"content-type: application/json\r\nx-content-type-options: nosniff\r\nconnection: close\r\n"
        length = b"content-length: %d\r\n\r\n" % len(body)
        if not self._is_answering():  # no second answer in the midst of the first
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + fields + length + body)
        self.transport.close()

    def _is_answering(self) -> bool:
        cycle: Any = self.cycle  # None at first, whatever uvicorn's types say
        return cycle is not None and cycle.response_started and not cycle.response_complete


def _only_for(client_name: str) -> type[_BoundedProtocol]:
    """Return a protocol that reads nothing from clients of another name."""

    class NamedClientProtocol(_BoundedProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own type
            super().connection_made(transport)
            if not is_from(transport, client_name):
                self.transport.abort()

        def data_received(self, data: bytes) -> None:
            if not self.transport.is_closing():  # TLS may hold what came together with the handshake
                super().data_received(data)

    return NamedClientProtocol


def _without_upgrade(data: bytes) -> bytes:
    """Return a request without the offer to change protocols, which a server may ignore (RFC 9110 section 7.8).

    Java's HTTP client offers HTTP/2 on each plain request; httptools would take the body for the other protocol's.
    """
    head, blank_line, body = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"", head) + blank_line + body


class _Server(uvicorn.Server):
    """A uvicorn server that leaves the process's signals alone (`privity up` runs several) and says when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()
        self._stopped = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """Begin to stop."""
        self.should_exit = True
        self._stopped.set()

    async def main_loop(self) -> None:
        """Keep the `date` of answers fresh until it is stopped. uvicorn's own loop wakes up ten times as often."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DATE_SECONDS):
                    await self._stopped.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.serving.set()


@contextlib.asynccontextmanager
async def listening(
    app: WebApp,
    host: str,
    port: int,
    what: str,
    tls: ssl.SSLContext | None = None,
    client_name: str | None = None,
    options: str = "--",
) -> AsyncIterator[str]:
    """Serve `app` and yield its URL; stop when the context is left.

    A client whose TLS handshake fails, or that speaks plain HTTP to TLS, is cut off without a word.

    Args:
        app: what answers.
        host: an address of this machine.
        port: 0 takes a free one.
        what: the listener's name in error messages.
        tls: encrypts; None serves plain HTTP.
        client_name: the one DNS name in the certificate of each client (`tls` requires one); others are cut off
            before anything is read from them.
        options: how the names of its options begin, in error messages.

    Raises:
        StartError: the address can't be had.
    """
    listener = _bind(host, port, what, options)
    config = uvicorn.Config(
        app,
        http=_BoundedProtocol if client_name is None else _only_for(client_name),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=STOP_GRACE,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
    )
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # it would log tracebacks, and repeat what WebApp logs
    server = _Server(config)
    async with Background() as background:
        running = background.start(server.serve(sockets=[listener]), f"{what} listener")
        await server.serving.wait()
        try:
            yield _url(listener, "http" if tls is None else "https")
        finally:
            server.stop()
            await running


def require_free(host: str, port: int, what: str) -> None:
    """Raise `StartError` where nothing could listen at an address, before anything slow is begun."""
    _bind(host, port, what).close()


def _bind(host: str, port: int, what: str, options: str = "--") -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # so named, asyncio sets TCP_NODELAY
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError, TypeError) as error:  # no such port; no such host; a name that has no encoding
        listener.close()
        raise _bind_error(error, host, port, what, options) from error
    listener.setblocking(False)  # noqa: FBT003  # the standard library's signature
    return listener


def _bind_error(error: Exception, host: str, port: int, what: str, options: str) -> StartError:
    number: Any = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return StartError(
            f"Port {port} on {host} is taken by another program, so the {what} can't listen there.",
            f"Stop that program, or choose another port with {options}port.",
        )
    if number == errno.EACCES:
        way_out = f"Choose a port above 1023 with {options}port."
        return StartError(f"The {what} may not listen on port {port}.", way_out)
    return StartError(f"The {what} can't listen on {host} port {port}.", f"Check {options}host and {options}port.")


def _url(listener: socket.socket, scheme: str) -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
