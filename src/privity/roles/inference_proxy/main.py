"""Composition root of an inference proxy."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from privity.catalogue.model import Facts
from privity.engines.connection import EngineConnection
from privity.engines.detect import DetectedEngine, Kind
from privity.engines.documents import DocumentBackend
from privity.engines.embedded.fetch import ModelFiles
from privity.engines.embedded.gguf_header import BadHeaderError, read_header
from privity.engines.embedded.process import EngineProcess
from privity.engines.embedded.sockets import socket_directory
from privity.engines.engine import Engine
from privity.engines.probing import ProbedEngine
from privity.engines.translation.engine import TranslatingEngine
from privity.http import HttpClient
from privity.protocol.mesh import SECRET_SERVICE
from privity.roles.inference_proxy.app import build_app
from privity.roles.inference_proxy.config import (
    LOOK_AT_OWN_ENGINE,
    LOOK_AT_REMOTE_ENGINE,
    Documents,
    RemoteEngine,
    Settings,
)
from privity.roles.inference_proxy.gpu_policy import read_statuses
from privity.roles.inference_proxy.secrets import Secrets
from privity.roles.inference_proxy.service import InferenceProxy, Operator
from privity.roles.inference_proxy.signing import Signer
from privity.transport.clock import utc_now
from privity.transport.http_client import PooledHttpClient
from privity.transport.randomness import BatchedRandom
from privity.transport.server import Terms, listening
from privity.transport.stopping import Stopping
from privity.transport.tasks import Background, survive
from privity.transport.tls import client_context, server_context

NOTICE_SECONDS = 2.0
"""Seconds that gateways have to see that this one drains: some looks of each."""


@dataclass(frozen=True, slots=True)
class Running:
    """An inference proxy that serves."""

    url: str
    """For gateways, with TLS by the settings' identity."""
    proxy: InferenceProxy


@contextlib.asynccontextmanager
async def serve(settings: Settings, stopping: Stopping | None = None) -> AsyncIterator[Running]:
    """Run an inference proxy, and its engine where that is its own, for as long as the context lasts.

    Args:
        settings: what it is.
        stopping: how long answers under way are waited for at the end; by default as long as the settings let it drain.

    Raises:
        StartError: it can't listen, the engine can't load the model, or the file of GPU statuses can't be read.
    """
    statuses = read_statuses(settings.gpu_status) if settings.gpu_status is not None else ()
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(PooledHttpClient())
        to_secrets = client_context(settings.mesh_ca, settings.identity)
        mesh = await stack.enter_async_context(PooledHttpClient(tls=to_secrets, server_name=SECRET_SERVICE))
        behind = await _behind(settings, http, stack)
        engine = behind.engine
        background = await stack.enter_async_context(Background())
        if settings.probes:
            engine = probed = ProbedEngine(engine, settings.probes)
            background.start(probed.run(), "probing")
        operator = Operator(behind.files, settings.declared, behind.facts)
        proxy = InferenceProxy(engine, operator, Signer(settings.identity, utc_now), utc_now)
        await proxy.refresh()
        background.start(_refresh_for_ever(proxy, behind.pause), "engine watch")
        secrets = Secrets(mesh, settings.secret_services, background)
        app = build_app(proxy, secrets, background, statuses, BatchedRandom(), behind.documents)
        tls = server_context(settings.identity)
        stopping = stopping or Stopping(settings.drain_seconds)
        listener = listening(app, settings.host, settings.port, "inference proxy", tls=tls, terms=Terms(stopping))
        yield Running(await stack.enter_async_context(listener), proxy)
        if settings.drain_seconds:
            proxy.drain()
            await stopping.pause(NOTICE_SECONDS)


@dataclass(frozen=True, slots=True)
class _Behind:
    """What stands behind an inference proxy."""

    engine: Engine
    pause: float
    """Seconds between two looks at it."""
    files: ModelFiles | None = None
    facts: Facts = field(default_factory=Facts)
    documents: DocumentBackend | None = None


async def _behind(settings: Settings, http: HttpClient, stack: contextlib.AsyncExitStack) -> _Behind:
    """Return it; an engine of our own runs as long as the stack is open. Raises `StartError` where it doesn't."""
    engine = settings.engine
    if isinstance(engine, Documents):
        documents = DocumentBackend(http, engine.url, settings.engine_timeout)
        return _Behind(documents, LOOK_AT_REMOTE_ENGINE, documents=documents)

    def asked(url: str, kind: Kind | None, declared: tuple[str, ...] = ()) -> Engine:
        connection = EngineConnection(http, url, settings.engine_timeout)
        return TranslatingEngine(DetectedEngine(connection, declared, kind))

    if isinstance(engine, RemoteEngine):
        return _Behind(asked(engine.url, engine.kind, engine.declared_tasks), LOOK_AT_REMOTE_ENGINE)
    url = await stack.enter_async_context(_embedded(engine))
    return _Behind(asked(url, engine.engine), LOOK_AT_OWN_ENGINE, engine, _facts(engine))


@contextlib.asynccontextmanager
async def _embedded(files: ModelFiles) -> AsyncIterator[str]:
    with socket_directory() as directory:
        process = EngineProcess(files, directory / "engine.sock")
        async with process.running():
            yield process.url


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
