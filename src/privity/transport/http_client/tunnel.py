"""A connection through an outgoing proxy, made with CONNECT (RFC 9110 section 9.3.6)."""

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import TypeVar, cast

from privity.errors import UpstreamProtocolError
from privity.transport.http_client.outgoing import OutgoingProxy
from privity.transport.http_client.parser import ResponseParser
from privity.transport.http_client.request import Origin

P = TypeVar("P", bound=asyncio.Protocol)

NO_ANSWER = 0
"""Stands for the status of an answer that is none."""


async def reach(
    proxy: OutgoingProxy, protocol: Callable[[], P], tls: ssl.SSLContext | None
) -> tuple[asyncio.Transport, P]:
    """Return a connection to a proxy itself; `tls` is for one that speaks TLS. Raises `OutgoingProxyError`."""
    there = proxy.origin
    try:
        return await asyncio.get_running_loop().create_connection(protocol, there.host, there.port, ssl=tls)
    except ssl.SSLCertVerificationError as error:
        raise proxy.error("shows a certificate that this machine doesn't trust") from error
    except (OSError, UnicodeError) as error:
        raise proxy.error("can't be reached itself") from error


async def open_tunnel(proxy: OutgoingProxy, origin: Origin, tls: ssl.SSLContext | None) -> asyncio.Transport:
    """Return a connection whose other end is `origin`'s, without TLS with it. It has a protocol that reads nothing.

    The caller limits the time. The answer's head is bounded as each answer's is.

    Args:
        proxy: who is asked.
        origin: where to; no Unix domain socket.
        tls: for a proxy that speaks TLS.

    Raises:
        OutgoingProxyError: the proxy can't be reached, refuses, or gives no answer that is HTTP.
    """
    transport, asking = await reach(proxy, partial(_Asking, _request(proxy, origin)), tls)
    try:
        _require_success(proxy, await asking.answer)
    except BaseException:
        transport.abort()
        raise
    return transport


def _require_success(proxy: OutgoingProxy, status: int) -> None:
    if status == NO_ANSWER:
        raise proxy.error("gives no valid answer")
    if status // 100 != 2:
        raise proxy.refusal(status)


def _request(proxy: OutgoingProxy, origin: Origin) -> bytes:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    authority = f"{host}:{origin.port}".encode()
    lines = [b"CONNECT %b HTTP/1.1" % authority, b"host: " + authority]
    lines += [b"%b: %b" % each for each in proxy.credentials]
    return b"\r\n".join((*lines, b"", b""))


class _Asking(asyncio.Protocol):
    """Waits for the head of the answer. Drops what comes after it: an origin that speaks TLS never speaks first."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._parser = ResponseParser(head_only=True)
        self.answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.answer.done():
            return
        try:
            self._parser.feed(data)
        except UpstreamProtocolError:
            self.answer.set_result(NO_ANSWER)
            return
        if self._parser.head_complete:
            self.answer.set_result(self._parser.status)

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_result(NO_ANSWER)
