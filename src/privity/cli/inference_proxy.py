"""`privity inference-proxy`."""

import argparse
from pathlib import Path
from typing import Any

from privity.cli import _ui
from privity.cli._engine import (
    SOURCES_HELP,
    add_documents_option,
    add_engine_options,
    read_declared,
    resolve,
    tell_unserved,
)
from privity.cli._mesh import add_mesh_options, read_ca, read_identity
from privity.cli._options import OptionParser
from privity.cli._program import (
    add_listener_options,
    add_logging_options,
    base_url,
    run_until_stopped,
    seconds,
    start_logging,
)
from privity.protocol.mesh import INFERENCE_PROXY
from privity.roles.inference_proxy.config import Documents, Settings
from privity.roles.inference_proxy.main import Running, serve
from privity.transport.server import require_free
from privity.transport.stopping import Stopping

DRAIN_SECONDS = 30.0
"""Time for answers that are under way: as long as Kubernetes gives a program by default."""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser: OptionParser = commands.add_parser(
        "inference-proxy",
        help="run the part that stands beside one engine",
        description=(
            "Run an inference proxy beside one engine: it decrypts requests, checks them, and encrypts the answers. "
            "`privity mesh` makes the files that it needs."
        ),
        epilog=SOURCES_HELP,
    )
    add_listener_options(parser, 8082)
    behind = parser.add_mutually_exclusive_group(required=True)
    behind.add_argument("--model", metavar="SOURCE", help="the model or engine to serve")
    add_documents_option(behind)
    add_mesh_options(parser)
    parser.add_argument(
        "--secret-service",
        action="append",
        type=_https_url,
        required=True,
        metavar="URL",
        help="where a secret service hands out secrets, https://…; repeatable",
    )
    parser.add_argument(
        "--gpu-status", type=Path, metavar="FILE", help="the OCSP statuses of this machine's GPUs, which clients judge"
    )
    add_engine_options(parser)
    parser.add_argument(
        "--drain",
        type=pause,
        default=DRAIN_SECONDS,
        metavar="SECONDS",
        help="when it shall stop, let gateways send requests elsewhere, and finish what is under way, for so long at "
        "most (default: %(default)g)",
    )
    add_logging_options(parser)
    parser.read_environment()
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until stopped; return the exit status."""
    start_logging(arguments)
    require_free(arguments.host, arguments.port, "inference proxy")
    mesh_ca = read_ca(arguments.mesh_ca)
    identity = read_identity(arguments.identity, mesh_ca, INFERENCE_PROXY)
    declared = read_declared(arguments.records)
    documents: str | None = arguments.documents
    engine = Documents(documents) if documents is not None else resolve(arguments.model, arguments.data_dir)
    settings = Settings(
        engine,
        identity,
        mesh_ca,
        tuple(arguments.secret_service),
        gpu_status=arguments.gpu_status,
        host=arguments.host,
        port=arguments.port,
        engine_timeout=arguments.engine_timeout,
        declared=declared,
        probes=arguments.probe,
        drain_seconds=arguments.drain,
    )

    def show(running: Running) -> None:
        if not arguments.probe:  # what is tried out may be listed later
            tell_unserved(declared, running.proxy.catalogue.ids)
        _ui.say(f"privity inference-proxy serves on {running.url}")

    stopping = Stopping(settings.drain_seconds)
    return run_until_stopped(serve(settings, stopping), show, stopping)


def pause(text: str) -> float:
    """Return a time for argparse that may be 0."""
    return 0.0 if text in ("0", "0.0") else seconds(text)


def _https_url(text: str) -> str:
    url = base_url(text)
    if not url.startswith("https://"):
        raise argparse.ArgumentTypeError("secrets are handed out over https:// only")
    return url
