"""`privity up`: all roles in one process, engines as its children."""

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from privity.catalogue.declared import Declared
from privity.catalogue.dialects import openai
from privity.cli import _ui
from privity.cli._engine import (
    SOURCES_HELP,
    add_documents_option,
    add_engine_options,
    read_declared,
    resolve,
    tell_unserved,
)
from privity.cli._options import OptionParser
from privity.cli._program import (
    HOST,
    PROXY_PORT,
    add_logging_options,
    add_origin_option,
    port_number,
    run_until_stopped,
    start_logging,
)
from privity.cli._proxy_settings import shared_salt
from privity.cli.proxy import add_cache_options
from privity.engines.embedded.defaults import runnable_models
from privity.engines.embedded.fetch import ModelFiles
from privity.engines.embedded.whisper.files import is_installed
from privity.errors import StartError
from privity.protocol.mesh import INFERENCE_PROXY, SECRET_SERVICE, MeshCa
from privity.roles.gateway import config as gateway_config
from privity.roles.gateway import main as gateway
from privity.roles.inference_proxy import config as inference_proxy_config
from privity.roles.inference_proxy import main as inference_proxy
from privity.roles.inference_proxy.config import Documents, RemoteEngine
from privity.roles.inference_proxy.service import require_models
from privity.roles.proxy import config as proxy_config
from privity.roles.proxy import main as proxy
from privity.roles.secret_service import config as secret_service_config
from privity.roles.secret_service import main as secret_service
from privity.transport.server import require_free
from privity.transport.stopping import Stopping

T = TypeVar("T")

MARGIN = 30.0
"""Seconds that a role waits longer for an answer than the one behind it: who is nearer to the engine speaks first."""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    defaults = ", ".join(model.alias for model in runnable_models())
    parser: OptionParser = commands.add_parser(
        "up",
        help="run everything on this machine, with real models",
        description="Run everything on this machine: proxy, gateway, inference proxies, and an engine for each model.",
        epilog=SOURCES_HELP,
    )
    parser.add_argument("--port", type=port_number, default=PROXY_PORT, help="port of the proxy (default: %(default)s)")
    parser.add_argument(
        "--model",
        action="append",
        metavar="SOURCE",
        default=[],
        help=f"a model to serve, repeatable (default: {defaults}, which are downloaded once)",
    )
    add_documents_option(parser)
    add_origin_option(parser)
    add_cache_options(parser)
    add_engine_options(parser)
    add_logging_options(parser)
    parser.read_environment()
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until stopped; return the exit status."""
    start_logging(arguments)
    require_free(HOST, arguments.port, "proxy")
    salt = shared_salt(shared=arguments.shared_prompt_cache, salt=arguments.prompt_cache_salt)
    finding = Finding(read_declared(arguments.records), arguments.probe)
    sources = arguments.model or [model.source for model in runnable_models()]
    engines = [resolve(source, arguments.data_dir) for source in sources]
    require_distinct(engines)
    behind = [*engines, *([] if arguments.documents is None else [Documents(arguments.documents)])]

    def show(running: "Running") -> None:
        if not finding.probes:  # what is tried out may be listed later
            tell_unserved(finding.declared, (row["id"] for row in running.rows))
        hints = () if arguments.model else _ui.hints(speech=is_installed())
        _ui.say(_ui.up_screen(running.url, running.rows, running.gateway, running.mesh_ca, hints))

    front = Front(arguments.port, tuple(arguments.allowed_origin), salt)
    stopping = Stopping()
    return run_until_stopped(everything(behind, front, arguments.engine_timeout, finding, stopping), show, stopping)


def require_distinct(engines: Sequence[RemoteEngine | ModelFiles]) -> None:
    """Raise `StartError` where two models would have one ID."""
    owners: dict[str, Path] = {}
    for files in (engine for engine in engines if isinstance(engine, ModelFiles)):
        for each in files.ids:
            if each in owners:
                raise StartError(
                    f"{owners[each]} and {files.model} would both be listed as {each}.",
                    "Give one of them another ID: --model SOURCE#id=NAME",
                )
            owners[each] = files.model


@dataclass(frozen=True, slots=True)
class Front:
    """Where apps find the proxy, which web pages it answers, and whose prompts may be reused."""

    port: int
    allowed_origins: tuple[str, ...] = ()
    shared_salt: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Finding:
    """How it is found out what the models can do, besides asking their engines."""

    declared: tuple[Declared, ...] = ()
    probes: int = 0


@dataclass(frozen=True, slots=True)
class Running:
    """All roles, serving."""

    url: str
    """The proxy's."""
    gateway: str
    """The gateway's URL."""
    mesh_ca: Path
    """The file of the certificate that the proxy trusts; it is there for as long as all of this runs."""
    rows: list[dict[str, Any]]
    """Those of the model list."""


@contextlib.asynccontextmanager
async def everything(
    engines: Sequence[RemoteEngine | ModelFiles | Documents],
    front: Front,
    engine_timeout: float,
    finding: Finding,
    stopping: Stopping,
) -> AsyncIterator[Running]:
    """Run all roles, with certificates of a mesh CA that is made for this run and whose key is thrown away.

    Raises:
        StartError: one of them can't serve.
    """
    now = datetime.now(UTC)
    ca = MeshCa.create(now)
    identity = ca.issue(INFERENCE_PROXY, now)
    async with contextlib.AsyncExitStack() as stack:
        ca_file = Path(stack.enter_context(TemporaryDirectory(prefix="privity-"))) / "mesh-ca.pem"
        ca_file.write_bytes(ca.certificate_pem())
        holder = secret_service_config.Settings(ca.issue(SECRET_SERVICE, now), ca.certificate)
        secrets = await stack.enter_async_context(secret_service.serve(holder, stopping))
        settings = [
            inference_proxy_config.Settings(
                engine,
                identity,
                ca.certificate,
                (secrets.hand_out_url,),
                engine_timeout=engine_timeout,
                declared=finding.declared,
                probes=finding.probes,
            )
            for engine in engines
        ]
        served, ids = await _inference_proxies(stack, settings, stopping)
        routed = gateway_config.Settings(served, (secrets.url,), ca.certificate, answer_timeout=engine_timeout + MARGIN)
        middle = await stack.enter_async_context(gateway.serve(routed, stopping=stopping))
        left_out = sorted(ids - set(middle.fleet.catalogue.ids))
        if left_out:
            raise StartError(
                f"Another model has an ID of {left_out[0]} already.", "Leave one of them out, or give a file #id=NAME."
            )
        facing = proxy_config.Settings(
            middle.url,
            ca.certificate,
            host=HOST,
            port=front.port,
            allowed_origins=front.allowed_origins,
            shared_salt=front.shared_salt,
            answer_timeout=engine_timeout + 2 * MARGIN,
        )
        url = await stack.enter_async_context(proxy.serve(facing, stopping))
        models = middle.fleet.catalogue.models
        rows = [openai.row(model, each, datetime.now(UTC)) for model in models for each in model.ids]
        yield Running(url, middle.url, ca_file, rows)


async def _inference_proxies(
    stack: contextlib.AsyncExitStack, settings: Sequence[inference_proxy_config.Settings], stopping: Stopping
) -> tuple[gateway_config.Served, set[str]]:
    """Run inference proxies; return what a gateway serves with them, and all IDs of their models."""
    urls: list[str] = []
    document_urls: list[str] = []
    ids: set[str] = set()
    serving = [inference_proxy.serve(each, stopping) for each in settings]
    for each, running in zip(settings, await _side_by_side(stack, serving), strict=True):
        if isinstance(each.engine, RemoteEngine):
            require_models(running.proxy, each.engine.url)
        (document_urls if isinstance(each.engine, Documents) else urls).append(running.url)
        ids.update(running.proxy.catalogue.ids)
    return gateway_config.Served(tuple(urls), document_proxies=tuple(document_urls)), ids


async def _side_by_side(
    stack: contextlib.AsyncExitStack, contexts: Iterable[AbstractAsyncContextManager[T]]
) -> list[T]:
    """Enter contexts at the same time, to be left with the stack; raises what the first raises that fails."""
    try:
        async with asyncio.TaskGroup() as group:
            entering = [group.create_task(stack.enter_async_context(each)) for each in contexts]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return [each.result() for each in entering]
