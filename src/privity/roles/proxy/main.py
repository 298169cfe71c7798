"""Composition root of a proxy."""

import contextlib
from collections.abc import AsyncIterator

from privity.protocol.signed import Verifier
from privity.roles.proxy.agreements import Agreements
from privity.roles.proxy.app import build_app
from privity.roles.proxy.config import Settings
from privity.roles.proxy.guard import Guard
from privity.roles.proxy.headers import HeaderPolicy
from privity.roles.proxy.link import GatewayLink
from privity.roles.proxy.models import ProxyModels
from privity.roles.proxy.service import Proxy
from privity.roles.proxy.surroundings import Surroundings
from privity.roles.proxy.vouching import Vouching
from privity.transport.cors import Cors
from privity.transport.http_client import PooledHttpClient
from privity.transport.randomness import BatchedRandom
from privity.transport.server import listening
from privity.transport.tasks import Background


@contextlib.asynccontextmanager
async def serve(settings: Settings) -> AsyncIterator[str]:
    """Run a proxy for as long as the context lasts, and yield its URL. Raises `StartError` where it can't listen.

    It serves before it has agreed on a secret: requests wait for that.
    """
    async with PooledHttpClient(head_timeout=settings.answer_timeout) as http, Background() as background:
        surroundings = Surroundings(nonces=BatchedRandom())
        agreements = Agreements(http, settings.gateway, settings.mesh_ca, settings.api_key, background, surroundings)
        policy = HeaderPolicy(
            ocsp_allow_unknown=settings.ocsp_allow_unknown, ocsp_grace_seconds=settings.ocsp_revoked_grace_seconds
        )
        link = GatewayLink(http, settings.gateway, agreements, policy, surroundings)
        vouching = Vouching(Verifier(settings.mesh_ca), settings.unsigned_models, surroundings.utc)
        models = ProxyModels(link, vouching, background, list_seconds=settings.list_seconds)
        proxy = Proxy(link, shared_salt=settings.shared_salt, meaning=models.meaning)
        guard = Guard(settings.host, settings.allowed_hosts, settings.allowed_origins)
        app = build_app(proxy, models, guard, background, Cors(settings.allowed_origins))
        async with listening(app, settings.host, settings.port, "proxy") as url:
            background.start(agreements.keep_fresh(), "secret renewal")
            yield url
