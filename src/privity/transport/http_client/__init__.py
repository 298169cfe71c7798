"""An HTTP/1.1 client for a proxy's hot path: `parser`, `request` and `outgoing` are pure, the others do the I/O."""

from privity.transport.http_client.client import PooledHttpClient
from privity.transport.http_client.outgoing import OutgoingProxy, outgoing_proxy

__all__ = ["OutgoingProxy", "PooledHttpClient", "outgoing_proxy"]
