"""Composition root of a gateway."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from privity.roles.gateway.app import build_app
from privity.roles.gateway.config import Settings
from privity.roles.gateway.fleet import Fleet, Replica
from privity.transport.http_client import PooledHttpClient
from privity.transport.server import listening
from privity.transport.tasks import Background


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that serves."""

    url: str
    fleet: Fleet


@contextlib.asynccontextmanager
async def serve(settings: Settings) -> AsyncIterator[Running]:
    """Run a gateway for as long as the context lasts. Raises `StartError` where it can't listen."""
    async with PooledHttpClient() as http, Background() as background:
        fleet = Fleet(settings.inference_proxies, http)
        await asyncio.gather(*(fleet.poll(replica) for replica in fleet.replicas))
        for replica in fleet.replicas:
            background.start(_poll_for_ever(fleet, replica, settings.poll_seconds), "replica watch")
        app = build_app(fleet, http, background)
        async with listening(app, settings.host, settings.port, "gateway") as url:
            yield Running(url, fleet)


async def _poll_for_ever(fleet: Fleet, replica: Replica, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        await fleet.poll(replica)
