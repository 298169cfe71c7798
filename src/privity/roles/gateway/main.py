"""Composition root of a gateway."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from privity.protocol.mesh import INFERENCE_PROXY, SECRET_SERVICE
from privity.roles.gateway.app import build_app
from privity.roles.gateway.config import Settings
from privity.roles.gateway.fleet import Fleet, Replica
from privity.roles.gateway.forwarder import Forwarder
from privity.roles.gateway.secret_services import SecretServices
from privity.transport.http_client import PooledHttpClient
from privity.transport.randomness import BatchedRandom
from privity.transport.server import listening
from privity.transport.tasks import Background
from privity.transport.tls import client_context


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that serves."""

    url: str
    fleet: Fleet


@contextlib.asynccontextmanager
async def serve(settings: Settings) -> AsyncIterator[Running]:
    """Run a gateway for as long as the context lasts. Raises `StartError` where it can't listen."""
    tls = client_context(settings.mesh_ca)
    async with (
        PooledHttpClient(tls=tls, server_name=INFERENCE_PROXY, head_timeout=settings.answer_timeout) as http,
        PooledHttpClient(tls=tls, server_name=SECRET_SERVICE) as secret_http,
        Background() as background,
    ):
        fleet = Fleet(settings.inference_proxies, http)
        await asyncio.gather(*(fleet.poll(replica) for replica in fleet.replicas))
        for replica in fleet.replicas:
            background.start(_poll_for_ever(fleet, replica, settings.poll_seconds), "replica watch")
        secrets = SecretServices(secret_http, settings.secret_services)
        app = build_app(fleet, Forwarder(fleet, http, BatchedRandom()), secrets, background)
        async with listening(app, settings.host, settings.port, "gateway") as url:
            yield Running(url, fleet)


async def _poll_for_ever(fleet: Fleet, replica: Replica, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        await fleet.poll(replica)
