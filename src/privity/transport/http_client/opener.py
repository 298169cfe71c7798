"""How a connection comes about: directly or through an outgoing proxy, with TLS or without."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress

from privity.errors import UntrustedPeerError, UpstreamUnreachableError
from privity.http import Headers
from privity.transport.http_client.connection import Connection
from privity.transport.http_client.outgoing import OutgoingProxy
from privity.transport.http_client.request import Origin
from privity.transport.http_client.tunnel import open_tunnel, reach
from privity.transport.sockets import notice_loss
from privity.transport.trust import system_context

_WRONG_TIME = frozenset({9, 10, -67818, -67819})
"""Not valid yet, or expired: in OpenSSL's x509_vfy.h and in Apple's SecBase.h."""

_WRONG_NAME = frozenset({62, 64, -67602})
"""Of another host name or address, in the same."""


class Opener:
    """Opens connections.

    Args:
        tls: for origins that speak TLS; None trusts what the system trusts.
        server_name: the name that their certificates must hold; None is their host.
        proxy: goes between, for all TCP origins; None goes there directly.
    """

    def __init__(self, tls: ssl.SSLContext | None, server_name: str | None, proxy: OutgoingProxy | None) -> None:
        self._tls = tls
        self._system: ssl.SSLContext | None = None
        self._server_name = server_name
        self._proxy = proxy

    def proxy_that_reads(self, origin: Origin) -> OutgoingProxy | None:
        """Return the proxy that gets the requests for an origin in clear text, if one does (RFC 9112 section 3.2.2)."""
        return None if origin.tls or origin.path is not None else self._proxy

    def addressed(self, origin: Origin, target: str, headers: Headers) -> tuple[str, Headers]:
        """Return a request's target and headers, as whom it is sent to wants them."""
        proxy = self.proxy_that_reads(origin)
        return (target, headers) if proxy is None else (origin.text + target, [*headers, *proxy.credentials])

    async def open(self, origin: Origin, protocol: Callable[[], Connection]) -> Connection:
        """Return a new connection. The caller limits the time.

        Raises:
            OSError: it could not be had: see `failure`.
            UnicodeError: nor can there be such a host.
            OutgoingProxyError: it could not be had from the proxy.
        """
        loop = asyncio.get_running_loop()
        if origin.path is not None:
            return (await loop.create_unix_connection(protocol, origin.path))[1]
        if self._proxy is None:
            tls, name = (self._own_tls(), self._server_name) if origin.tls else (None, None)
            transport, connection = await loop.create_connection(
                protocol, origin.host, origin.port, ssl=tls, server_hostname=name
            )
        elif origin.tls:
            transport, connection = await self._open_inside(self._proxy, origin, protocol())
        else:
            transport, connection = await reach(self._proxy, protocol, self._tls_with(self._proxy))
        with suppress(OSError):  # it is lost already, which the connection hears by itself
            notice_loss(transport.get_extra_info("socket"))
        return connection

    def failure(self, origin: Origin, error: Exception) -> UpstreamUnreachableError:
        """Return what is to be raised for what `open` raised, or for its lack of time."""
        if isinstance(error, ssl.SSLCertVerificationError) and self._tls is None:
            return UntrustedPeerError(_distrust(error.verify_code))
        if isinstance(error, TimeoutError) and self._proxy is not None and origin.path is None:
            return self._proxy.error("takes too long")
        return UpstreamUnreachableError(f"no connection to {origin.text}: {str(error) or type(error).__name__}")

    async def _open_inside(
        self, proxy: OutgoingProxy, origin: Origin, connection: Connection
    ) -> tuple[asyncio.Transport, Connection]:
        """Speak TLS with an origin inside of what a proxy passes on."""
        tunnel = await open_tunnel(proxy, origin, self._tls_with(proxy))
        connection.connection_made(tunnel)  # what comes before the next line's end closes it
        try:
            transport = await connection.loop.start_tls(
                tunnel, connection, self._own_tls(), server_hostname=self._server_name or origin.host
            )
        except BaseException:
            tunnel.abort()
            raise
        if transport is None:  # so asyncio has it, where the connection was lost in this moment
            raise ConnectionResetError("the connection was lost at its beginning")
        connection.connection_made(transport)
        return transport, connection

    def _tls_with(self, proxy: OutgoingProxy) -> ssl.SSLContext | None:
        return self._system_tls() if proxy.origin.tls else None

    def _own_tls(self) -> ssl.SSLContext:
        return self._tls or self._system_tls()

    def _system_tls(self) -> ssl.SSLContext:
        if self._system is None:
            self._system = system_context()
        return self._system


def _distrust(code: int) -> str:
    """Say what is wrong with a certificate, and what to do."""
    if code in _WRONG_NAME:
        return "its certificate is for another name. Check the address."
    if code in _WRONG_TIME:
        return "its certificate isn't valid at this time. Its operator must renew it, or this machine's clock is wrong."
    return (
        "its certificate is from nobody that this machine trusts. If you do, let the environment variable "
        "SSL_CERT_FILE name a PEM file with the certificate of its CA, and start Privity again."
    )
