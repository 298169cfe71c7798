"""Composition root of a proxy."""

import contextlib
from collections.abc import AsyncIterator

from privity.roles.proxy.app import build_app
from privity.roles.proxy.config import Settings
from privity.roles.proxy.guard import Guard
from privity.roles.proxy.service import Proxy
from privity.transport.http_client import PooledHttpClient
from privity.transport.server import listening
from privity.transport.tasks import Background


@contextlib.asynccontextmanager
async def serve(settings: Settings) -> AsyncIterator[str]:
    """Run a proxy for as long as the context lasts, and yield its URL. Raises `StartError` where it can't listen."""
    async with PooledHttpClient() as http, Background() as background:
        proxy = Proxy(http, settings.gateway, settings.list_seconds)
        guard = Guard(settings.host, settings.allowed_hosts, settings.allowed_origins)
        app = build_app(proxy, guard, background)
        async with listening(app, settings.host, settings.port, "proxy") as url:
            yield url
