"""`privity secret-service`."""

import argparse
import base64
import binascii
from pathlib import Path
from typing import Any

from privity.cli import _ui
from privity.cli._mesh import add_mesh_options, read_ca, read_identity, read_private
from privity.cli._options import OptionParser
from privity.cli._program import (
    add_listener_options,
    add_logging_options,
    port_number,
    run_until_stopped,
    start_logging,
)
from privity.errors import StartError
from privity.protocol.mesh import SECRET_SERVICE
from privity.roles.secret_service.config import Settings
from privity.roles.secret_service.main import Running, serve
from privity.transport.secret_store.valkey import STORE_KEY_BYTES
from privity.transport.stopping import Stopping


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser: OptionParser = commands.add_parser(
        "secret-service",
        help="agree on secrets with clients, and hand them to inference proxies",
        description=(
            "Run the secret service: clients agree on secrets with it, through the gateway, and inference proxies "
            "of the same mesh fetch them. `privity mesh` makes the files that it needs."
        ),
    )
    add_listener_options(parser, 8083)
    parser.add_argument(
        "--tls", action="store_true", help="use TLS on --port as well, with the certificate of --identity"
    )
    parser.add_argument(
        "--hand-out-host",
        default="127.0.0.1",
        metavar="HOST",
        help="address to listen on for inference proxies (default: %(default)s)",
    )
    parser.add_argument(
        "--hand-out-port",
        type=port_number,
        default=8084,
        metavar="PORT",
        help="port to listen on for inference proxies (default: %(default)s)",
    )
    add_mesh_options(parser)
    parser.add_argument(
        "--store",
        metavar="URL",
        help="a Valkey or Redis that several secret services share: redis://, rediss:// or unix:// "
        "(without it, secrets are in memory)",
    )
    parser.add_argument(
        "--store-key", type=Path, metavar="FILE", help=f"the store's key: {STORE_KEY_BYTES} bytes in base64"
    )
    add_logging_options(parser)
    parser.read_environment()
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until stopped; return the exit status."""
    start_logging(arguments)
    if (arguments.store is None) != (arguments.store_key is None):
        raise StartError("--store and --store-key go together.", "Give both, or none to keep secrets in memory.")
    mesh_ca = read_ca(arguments.mesh_ca)
    settings = Settings(
        identity=read_identity(arguments.identity, mesh_ca, SECRET_SERVICE),
        mesh_ca=mesh_ca,
        host=arguments.host,
        port=arguments.port,
        tls=arguments.tls,
        hand_out_host=arguments.hand_out_host,
        hand_out_port=arguments.hand_out_port,
        store_url=arguments.store,
        store_key=None if arguments.store_key is None else _store_key(arguments.store_key),
    )
    stopping = Stopping()
    return run_until_stopped(serve(settings, stopping), _say_where, stopping)


def _say_where(running: Running) -> None:
    _ui.say(f"privity secret-service serves on {running.url}, and hands out secrets on {running.hand_out_url}")


def _store_key(path: Path) -> bytes:
    try:
        key = base64.b64decode(read_private(path).strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != STORE_KEY_BYTES:
        problem = f"{path} doesn't hold {STORE_KEY_BYTES} bytes in base64."
        raise StartError(problem, f"Make a key: (umask 077; openssl rand -base64 {STORE_KEY_BYTES} > FILE)")
    return key
