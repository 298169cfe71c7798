"""Composition root of a gateway."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from privity.protocol.mesh import INFERENCE_PROXY, SECRET_SERVICE
from privity.roles.gateway.app import build_app
from privity.roles.gateway.config import Served, Settings
from privity.roles.gateway.documents import DocumentForwarder, DocumentReplicas
from privity.roles.gateway.fleet import Fleet
from privity.roles.gateway.forwarder import Forwarder
from privity.roles.gateway.keys import Keys
from privity.roles.gateway.models import GatewayModels
from privity.roles.gateway.replica import Replica
from privity.roles.gateway.secret_services import SecretServices
from privity.transport.cors import Cors
from privity.transport.http_client import PooledHttpClient
from privity.transport.randomness import BatchedRandom
from privity.transport.server import Terms, listening
from privity.transport.stopping import Stopping
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
async def serve(
    settings: Settings, watch: Watch | None = None, stopping: Stopping | None = None
) -> AsyncIterator[Running]:
    """Run a gateway for as long as the context lasts.

    Args:
        settings: what it begins with.
        watch: tells what changes later.
        stopping: how long answers under way are waited for at the end.

    Raises:
        StartError: it can't listen.
    """
    tls = client_context(settings.mesh_ca)
    async with (
        PooledHttpClient(tls=tls, server_name=INFERENCE_PROXY, head_timeout=settings.answer_timeout) as http,
        PooledHttpClient(tls=tls, server_name=SECRET_SERVICE) as secret_http,
        Background() as background,
    ):
        fleet = Fleet(http)
        gateway = _Gateway(fleet, DocumentReplicas(http, fleet.clock), background, settings.poll_seconds)
        with contextlib.closing(gateway.fleet):
            await gateway.take(settings.served)
            forwarder = Forwarder(gateway.fleet, gateway.models, http, BatchedRandom())
            app = build_app(
                gateway.models,
                forwarder,
                DocumentForwarder(gateway.documents, gateway.models, forwarder),
                SecretServices(secret_http, settings.secret_services),
                background,
                collapses=lambda: gateway.served.collapses_aliases,
                cors=gateway.cors,
            )
            if watch is not None:
                background.start(watch(gateway.take), "configuration watch")
            terms = Terms(stopping or Stopping())
            async with listening(app, settings.host, settings.port, "gateway", terms=terms) as url:
                yield Running(url, gateway.fleet)


class _Gateway:
    """What a configuration is applied to."""

    def __init__(self, fleet: Fleet, documents: DocumentReplicas, background: Background, poll_seconds: float) -> None:
        self.fleet = fleet
        self.documents = documents
        self.models = GatewayModels(fleet, Keys())
        self.cors = Cors(())
        self.served = Served(())
        self._background = background
        self._poll_seconds = poll_seconds

    async def take(self, served: Served) -> None:
        """Serve by another configuration, all of it at one moment: when the replicas that are new were asked once."""
        await self.fleet.meet(served.inference_proxies)
        new_readers = await self.documents.configure(served.document_proxies)
        self.models.keys = Keys(served.keys)
        self.cors.allow(served.allowed_origins)
        self.served = served
        new = self.fleet.configure(served.inference_proxies, served.draining, served.declared)
        self.fleet.publish()
        for replica in new:
            self._background.start(self._poll_for_ever(self.fleet, replica), "replica watch")
        for replica in new_readers:
            self._background.start(self._poll_for_ever(self.documents, replica), "document replica watch")

    async def _poll_for_ever(self, group: Fleet | DocumentReplicas, replica: Replica) -> None:
        while replica in group.replicas:
            await asyncio.sleep(self._poll_seconds)
            await survive(group.poll(replica), "replica watch", self._poll_seconds)
