"""Composition root of an inference proxy."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from privity.catalogue.model import Facts
from privity.engines.connection import EngineConnection
from privity.engines.detect import DetectedEngine
from privity.engines.embedded.fetch import ModelFiles
from privity.engines.embedded.gguf_header import BadHeaderError, read_header
from privity.engines.embedded.process import EngineProcess
from privity.engines.embedded.sockets import socket_directory
from privity.engines.engine import Engine
from privity.engines.probing import ProbedEngine
from privity.engines.translation.engine import TranslatingEngine
from privity.protocol.mesh import SECRET_SERVICE
from privity.roles.inference_proxy.app import build_app
from privity.roles.inference_proxy.config import LOOK_AT_OWN_ENGINE, LOOK_AT_REMOTE_ENGINE, RemoteEngine, Settings
from privity.roles.inference_proxy.gpu_policy import read_statuses
from privity.roles.inference_proxy.secrets import Secrets
from privity.roles.inference_proxy.service import InferenceProxy, Operator
from privity.roles.inference_proxy.signing import Signer
from privity.transport.clock import utc_now
from privity.transport.http_client import PooledHttpClient
from privity.transport.randomness import BatchedRandom
from privity.transport.server import listening
from privity.transport.tasks import Background, survive
from privity.transport.tls import client_context, server_context
from privity.transport.web import WebApp

NOTICE_SECONDS = 2.0
"""Seconds that gateways have to see that this one drains: some looks of each."""


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
            declared, files, facts = engine.declared_tasks, None, Facts()
            pause = LOOK_AT_REMOTE_ENGINE
        else:
            url, kind = await stack.enter_async_context(_embedded(engine)), "llama.cpp"
            declared, files, facts = (), engine, _facts(engine)
            pause = LOOK_AT_OWN_ENGINE
        asked: Engine = TranslatingEngine(
            DetectedEngine(EngineConnection(http, url, settings.engine_timeout), declared, kind)
        )
        background = await stack.enter_async_context(Background())
        if settings.probes:
            asked = probed = ProbedEngine(asked, settings.probes)
            background.start(probed.run(), "probing")
        operator, signer = Operator(files, settings.declared, facts), Signer(settings.identity, utc_now)
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
            await _drained(app, settings.drain_seconds)


@contextlib.asynccontextmanager
async def _embedded(files: ModelFiles) -> AsyncIterator[str]:
    with socket_directory() as directory:
        process = EngineProcess(files, directory / "engine.sock")
        async with process.running():
            yield process.url


async def _drained(app: WebApp, seconds: float) -> None:
    """Wait until gateways know, and what is under way is answered; at most so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.sleep(NOTICE_SECONDS)
            await app.idle()


def _facts(files: ModelFiles) -> Facts:
    """Return what a model's files say that its engine doesn't."""
    try:
        architecture = read_header(files.model).architecture or None
    except (BadHeaderError, OSError):  # the engine, which can't load it either, says so
        architecture = None
    return Facts(architecture=architecture, sha256=files.sha256, licence=files.licence)


async def _refresh_for_ever(proxy: InferenceProxy, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        await survive(proxy.refresh(), "engine watch", seconds)
