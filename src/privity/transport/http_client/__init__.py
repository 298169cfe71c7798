"""An HTTP/1.1 client for a proxy's hot path: `parser` and `request` are pure, `exchange` and `client` do the I/O."""

from privity.transport.http_client.client import PooledHttpClient

__all__ = ["PooledHttpClient"]
