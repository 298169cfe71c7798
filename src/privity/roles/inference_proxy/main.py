"""Composition root of an inference proxy."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

from privity.engines.connection import EngineConnection
from privity.engines.detect import DetectedEngine
from privity.engines.embedded.fetch import ModelFiles
from privity.engines.embedded.process import EngineProcess
from privity.engines.embedded.sockets import socket_directory
from privity.engines.engine import Engine
from privity.engines.probing import ProbedEngine
from privity.protocol.mesh import SECRET_SERVICE
from privity.roles.inference_proxy.app import build_app
from privity.roles.inference_proxy.config import LOOK_AT_OWN_ENGINE, LOOK_AT_REMOTE_ENGINE, RemoteEngine, Settings
from privity.roles.inference_proxy.gpu_policy import read_statuses
from privity.roles.inference_proxy.secrets import Secrets
from privity.roles.inference_proxy.service import InferenceProxy, Operator
from privity.roles.inference_proxy.signing import Signer
from privity.transport.http_client import PooledHttpClient
from privity.transport.randomness import BatchedRandom
from privity.transport.server import listening
from privity.transport.tasks import Background
from privity.transport.tls import client_context, server_context


@dataclass(frozen=True, slots=True)
class Running:
    """An inference proxy that serves."""

    url: str
    """For gateways, with TLS by the settings' identity."""
    proxy: InferenceProxy


@contextlib.asynccontextmanager
async def serve(settings: Settings) -> AsyncIterator[Running]:
    """Run an inference proxy, and its engine where that is its own, for as long as the context lasts.

    Raises:
        StartError: it can't listen, the engine can't load the model, or the file of GPU statuses can't be read.
    """
    statuses = read_statuses(settings.gpu_status) if settings.gpu_status is not None else ()
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(PooledHttpClient())
        to_secrets = client_context(settings.mesh_ca, settings.identity)
        mesh = await stack.enter_async_context(PooledHttpClient(tls=to_secrets, server_name=SECRET_SERVICE))
        engine = settings.engine
        if isinstance(engine, RemoteEngine):
            url, kind = engine.url, engine.kind
            declared, files = engine.declared_tasks, None
            pause = LOOK_AT_REMOTE_ENGINE
        else:
            url, kind = await stack.enter_async_context(_embedded(engine)), "llama.cpp"
            declared, files = (), engine
            pause = LOOK_AT_OWN_ENGINE
        asked: Engine = DetectedEngine(EngineConnection(http, url, settings.engine_timeout), declared, kind)
        background = await stack.enter_async_context(Background())
        if settings.probes:
            asked = probed = ProbedEngine(asked, settings.probes)
            background.start(probed.run(), "probing")
        operator, signer = Operator(files, settings.declared), Signer(settings.identity, utc_now)
        proxy = InferenceProxy(asked, operator, signer, utc_now)
        await proxy.refresh()
        background.start(_refresh_for_ever(proxy, pause), "engine watch")
        secrets = Secrets(mesh, settings.secret_services, background)
        app = build_app(proxy, secrets, background, statuses, BatchedRandom())
        tls = server_context(settings.identity)
        listener = listening(app, settings.host, settings.port, "inference proxy", tls=tls)
        yield Running(await stack.enter_async_context(listener), proxy)
        if settings.drain_seconds:
            proxy.drain()
            await asyncio.sleep(settings.drain_seconds)


@contextlib.asynccontextmanager
async def _embedded(files: ModelFiles) -> AsyncIterator[str]:
    with socket_directory() as directory:
        process = EngineProcess(files, directory / "engine.sock")
        async with process.running():
            yield process.url


async def _refresh_for_ever(proxy: InferenceProxy, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        await proxy.refresh()


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)
