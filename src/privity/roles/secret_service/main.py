"""Composition root of a secret service."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from privity.protocol.mesh import INFERENCE_PROXY
from privity.roles.secret_service.app import build_agreement_app, build_hand_out_app
from privity.roles.secret_service.config import Settings
from privity.roles.secret_service.service import SecretService, Store
from privity.transport.secret_store.memory import MemoryStore
from privity.transport.secret_store.valkey import open_store
from privity.transport.server import Terms, listening
from privity.transport.stopping import Stopping
from privity.transport.tasks import Background
from privity.transport.tls import server_context


@dataclass(frozen=True, slots=True)
class Running:
    """A secret service that serves."""

    url: str
    """For clients, through the gateway."""
    hand_out_url: str
    """For inference proxies."""


@contextlib.asynccontextmanager
async def serve(settings: Settings, stopping: Stopping | None = None) -> AsyncIterator[Running]:
    """Run a secret service for as long as the context lasts.

    Args:
        settings: of both listeners.
        stopping: how long answers under way are waited for at the end.

    Raises:
        StartError: it can't listen, or the store's URL can't be used.
    """
    store = _store(settings)
    identity = settings.identity
    terms = Terms(stopping or Stopping())
    async with contextlib.aclosing(store), Background() as background:
        service = SecretService(identity, store)
        agreements = listening(
            build_agreement_app(service, background),
            settings.host,
            settings.port,
            "secret service",
            tls=server_context(identity) if settings.tls else None,
            terms=terms,
        )
        hand_outs = listening(
            build_hand_out_app(service, background),
            settings.hand_out_host,
            settings.hand_out_port,
            "secret service's hand-out",
            tls=server_context(identity, client_ca=settings.mesh_ca),
            client_name=INFERENCE_PROXY,
            options="--hand-out-",
            terms=terms,
        )
        async with agreements as url, hand_outs as hand_out_url:
            yield Running(url, hand_out_url)


def _store(settings: Settings) -> Store:
    if settings.store_url is None or settings.store_key is None:
        return MemoryStore()
    return open_store(settings.store_url, settings.store_key)
