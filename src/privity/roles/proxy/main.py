"""Composition root of a proxy."""

import contextlib
from collections.abc import AsyncIterator

from privity.errors import StartError
from privity.protocol.signed import Verifier
from privity.roles.proxy.agreements import Agreements
from privity.roles.proxy.api_key import open_key
from privity.roles.proxy.app import build_app
from privity.roles.proxy.config import Settings
from privity.roles.proxy.dump import Dumper
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
from privity.transport.server import Terms, listening, listening_at
from privity.transport.stopping import Stopping
from privity.transport.tasks import Background
from privity.transport.tls_files import renewed_context
from privity.transport.web_app import WebApp


@contextlib.asynccontextmanager
async def serve(settings: Settings, stopping: Stopping | None = None) -> AsyncIterator[str]:
    """Run a proxy for as long as the context lasts, and yield its URL. Raises `StartError` where it can't listen.

    It serves before it has agreed on a secret: requests wait for that.
    """
    client = PooledHttpClient(proxy=settings.outgoing, head_timeout=settings.answer_timeout)
    async with client as http, Background() as background:
        surroundings = Surroundings(nonces=BatchedRandom())
        key = open_key(settings.api_key, surroundings.steady)
        agreements = Agreements(http, settings.gateway, settings.mesh_ca, key, background, surroundings)
        policy = HeaderPolicy(
            ocsp_allow_unknown=settings.ocsp_allow_unknown, ocsp_grace_seconds=settings.ocsp_revoked_grace_seconds
        )
        link = GatewayLink(http, settings.gateway, agreements, policy, surroundings)
        vouching = Vouching(Verifier(settings.mesh_ca), settings.unsigned_models, surroundings.utc)
        models = ProxyModels(link, vouching, background, list_seconds=settings.list_seconds)
        proxy = Proxy(link, shared_salt=settings.shared_salt, meaning=models.meaning)
        guard = Guard(None if settings.unix_socket else settings.host, settings.allowed_hosts, settings.allowed_origins)
        dumper = None if settings.dump_to is None else Dumper(settings.dump_to, surroundings.utc, surroundings.nonces)
        app = build_app(proxy, models, guard, background, Cors(settings.allowed_origins), dumper)
        async with _listening(app, settings, Terms(stopping or Stopping())) as url:
            background.start(agreements.keep_fresh(), "secret renewal")
            yield url


def _listening(app: WebApp, settings: Settings, terms: Terms) -> contextlib.AbstractAsyncContextManager[str]:
    """Return the listener that the settings say."""
    tls = None if settings.tls is None else renewed_context(settings.tls)
    if settings.unix_socket is None:
        return listening(app, settings.host, settings.port, "proxy", tls, terms=terms)
    if tls is not None:
        raise StartError(
            "The proxy can't speak TLS on a Unix domain socket, which no network is behind.",
            "Leave out --unix-socket, or --tls-cert-path and --tls-key-path.",
        )
    return listening_at(app, settings.unix_socket, "proxy", terms)
