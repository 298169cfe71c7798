"""A listener: uvicorn with httptools, silent, and ended by its caller instead of by signals."""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvicorn

from privity.errors import StartError
from privity.transport.http_protocol import BoundedProtocol, Limits
from privity.transport.sockets import notice_loss
from privity.transport.stopping import Stopping
from privity.transport.tasks import Background
from privity.transport.unix_socket import unix_listener, unix_url
from privity.transport.web_app import WebApp

LAST_WORDS_SECONDS = 1.0
"""Within which clients must take what was written to them, and the error that ends their answers, when it stops."""

KEEP_ALIVE = 75
"""Seconds that an idle connection is kept: longer than clients keep theirs, so that they close first."""

LOOK_SECONDS = 1.0
"""Seconds between two looks at the clients, for which answers have the same `date`: it has no fractions."""

EMPTIED_SECONDS = 0.01
"""Between two looks whether a listener that stops has no clients left."""

BACKLOG = 1024
"""Connections that wait to be accepted."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a listener treats its clients."""

    stopping: Stopping = field(default_factory=Stopping)
    """How long it waits for answers under way when it is left: that begins then, unless it has begun."""
    limits: Limits = field(default_factory=Limits)
    """What they may hold."""
    clock: Callable[[], float] = time.monotonic
    """Seconds, for how long they keep it waiting."""
    look_seconds: float = LOOK_SECONDS
    """Between two looks at them."""


class _Server(uvicorn.Server):
    """A uvicorn server that leaves the process's signals alone (`privity up` runs several) and says when it serves.

    Args:
        config: uvicorn's.
        app: what answers.
        terms: how it treats its clients.
    """

    def __init__(self, config: uvicorn.Config, app: WebApp, terms: Terms) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()
        self._stopped = asyncio.Event()
        self._app = app
        self._terms = terms

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """Begin to stop."""
        self.should_exit = True
        self._stopped.set()

    async def main_loop(self) -> None:
        """Keep the `date` of answers fresh, and look after the clients, until it is stopped."""
        while not await self.on_tick(0):
            now = self._terms.clock()
            for connection in self._connections():
                connection.look(now)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._terms.look_seconds):
                    await self._stopped.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, as uvicorn does, but with less patience for handshakes."""
        loop, config = asyncio.get_running_loop(), self.config
        protocol = cast("Callable[..., asyncio.Protocol]", config.http_protocol_class)
        make = partial(protocol, config=config, server_state=self.server_state, app_state=self.lifespan.state)
        patience = None if config.ssl is None else self._terms.limits.handshake_seconds
        self.servers = [
            await loop.create_server(
                make, sock=each, ssl=config.ssl, ssl_handshake_timeout=patience, backlog=config.backlog
            )
            for each in sockets or ()
        ]
        self.started = True
        self.serving.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing more; let answers under way finish, then tell what is left of them that they can't."""
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        for connection in self._connections():
            connection.shutdown()
        await asyncio.sleep(0)  # those whose heads have come begin
        self._app.release()
        await self._terms.stopping.wait_for(self.server_state.tasks)
        self._app.stop()
        await self._emptied()
        for connection in self._connections():
            connection.transport.abort()
        left = tuple(self.server_state.tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=LAST_WORDS_SECONDS)

    async def _emptied(self) -> None:
        """Wait until clients have taken all, for a moment."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                while self.server_state.tasks or self.server_state.connections:  # noqa: ASYNC110  # uvicorn has no event
                    await asyncio.sleep(EMPTIED_SECONDS)

    def _connections(self) -> tuple[BoundedProtocol, ...]:
        return tuple(cast("set[BoundedProtocol]", self.server_state.connections))


@contextlib.asynccontextmanager
async def listening(  # noqa: PLR0913  # an address, who may come there, and how they are treated
    app: WebApp,
    host: str,
    port: int,
    what: str,
    tls: ssl.SSLContext | None = None,
    client_name: str | None = None,
    options: str = "--",
    *,
    terms: Terms | None = None,
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
        terms: how it treats its clients.

    Raises:
        StartError: the address can't be had.
    """
    listener = _bind(host, port, what, options)
    async with _serving(app, listener, what, terms or Terms(), tls, client_name):
        yield _url(listener, "http" if tls is None else "https")


@contextlib.asynccontextmanager
async def listening_at(app: WebApp, path: Path, what: str, terms: Terms | None = None) -> AsyncIterator[str]:
    """Serve `app` on a Unix domain socket and yield its URL; stop, and remove the socket, when the context is left.

    Args:
        app: what answers.
        path: see `unix_listener`.
        what: the listener's name in error messages.
        terms: how it treats its clients.

    Raises:
        StartError: there is no socket to be had.
    """
    with unix_listener(path, what, BACKLOG) as listener:
        async with _serving(app, listener, what, terms or Terms()):
            yield unix_url(path)


@contextlib.asynccontextmanager
async def _serving(
    app: WebApp,
    listener: socket.socket,
    what: str,
    terms: Terms,
    tls: ssl.SSLContext | None = None,
    client_name: str | None = None,
) -> AsyncIterator[None]:
    config = uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", partial(BoundedProtocol, terms.limits, client_name)),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
    )
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # it would log tracebacks, and repeat what WebApp logs
    terms.stopping.add(app)
    server = _Server(config, app, terms)
    async with Background() as background:
        running = background.start(server.serve(sockets=[listener]), f"{what} listener")
        await server.serving.wait()
        try:
            yield
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
    notice_loss(listener)
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
