"""Composition root of a gateway."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from privity.protocol.mesh import INFERENCE_PROXY, SECRET_SERVICE
from privity.roles.gateway.app import build_app
from privity.roles.gateway.config import Served, Settings
from privity.roles.gateway.fleet import Fleet
from privity.roles.gateway.forwarder import Forwarder
from privity.roles.gateway.keys import Keys
from privity.roles.gateway.models import GatewayModels
from privity.roles.gateway.replica import Replica
from privity.roles.gateway.secret_services import SecretServices
from privity.transport.cors import Cors
from privity.transport.http_client import PooledHttpClient
from privity.transport.randomness import BatchedRandom
from privity.transport.server import listening
from privity.transport.tasks import Background, survive
from privity.transport.tls import client_context

Watch = Callable[[Callable[[Served], Awaitable[None]]], Coroutine[Any, Any, None]]
"""Calls back with each new configuration, for ever."""


class Running:
    """A gateway that serves."""

    def __init__(self, url: str, fleet: Fleet) -> None:
        self.url = url
        self.fleet = fleet


@contextlib.asynccontextmanager
async def serve(settings: Settings, watch: Watch | None = None) -> AsyncIterator[Running]:
    """Run a gateway for as long as the context lasts.

    Args:
        settings: what it begins with.
        watch: tells what changes later.

    Raises:
        StartError: it can't listen.
    """
    tls = client_context(settings.mesh_ca)
    async with (
        PooledHttpClient(tls=tls, server_name=INFERENCE_PROXY, head_timeout=settings.answer_timeout) as http,
        PooledHttpClient(tls=tls, server_name=SECRET_SERVICE) as secret_http,
        Background() as background,
    ):
        gateway = _Gateway(Fleet(http), background, settings.poll_seconds)
        with contextlib.closing(gateway.fleet):
            await gateway.take(settings.served)
            app = build_app(
                gateway.models,
                Forwarder(gateway.fleet, gateway.models, http, BatchedRandom()),
                SecretServices(secret_http, settings.secret_services),
                background,
                collapses=lambda: gateway.served.collapses_aliases,
                cors=gateway.cors,
            )
            if watch is not None:
                background.start(watch(gateway.take), "configuration watch")
            async with listening(app, settings.host, settings.port, "gateway") as url:
                yield Running(url, gateway.fleet)


class _Gateway:
    """What a configuration is applied to."""

    def __init__(self, fleet: Fleet, background: Background, poll_seconds: float) -> None:
        self.fleet = fleet
        self.models = GatewayModels(fleet, Keys())
        self.cors = Cors(())
        self.served = Served(())
        self._background = background
        self._poll_seconds = poll_seconds

    async def take(self, served: Served) -> None:
        """Serve by another configuration, all of it at one moment: when the replicas that are new were asked once."""
        await self.fleet.meet(served.inference_proxies)
        self.models.keys = Keys(served.keys)
        self.cors.allow(served.allowed_origins)
        self.served = served
        new = self.fleet.configure(served.inference_proxies, served.draining, served.declared)
        self.fleet.publish()
        for replica in new:
            self._background.start(self._poll_for_ever(replica), "replica watch")

    async def _poll_for_ever(self, replica: Replica) -> None:
        while replica in self.fleet.replicas:
            await asyncio.sleep(self._poll_seconds)
            await survive(self.fleet.poll(replica), "replica watch", self._poll_seconds)
