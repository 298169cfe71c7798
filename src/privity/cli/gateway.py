"""`privity gateway`."""

import argparse
from typing import Any

from privity.cli import _logging, _ui
from privity.cli._mesh import add_mesh_options, read_ca
from privity.cli._program import (
    add_answer_timeout,
    add_listener_options,
    add_logging_options,
    base_url,
    run_until_stopped,
)
from privity.roles.gateway.config import ANSWER_TIMEOUT, Settings
from privity.roles.gateway.main import serve


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "gateway",
        help="run the public API in front of inference proxies",
        description=(
            "Run the gateway: it lists the models of its inference proxies and routes requests to them. It sees which "
            "model is asked for, and never what."
        ),
    )
    add_listener_options(parser, 8081)
    parser.add_argument(
        "--inference-proxy",
        type=base_url,
        action="append",
        required=True,
        metavar="URL",
        help="an inference proxy, repeatable",
    )
    parser.add_argument(
        "--secret-service",
        type=base_url,
        action="append",
        required=True,
        metavar="URL",
        help="a secret service, where it agrees on secrets with clients; repeatable, for replicas that share a store",
    )
    add_mesh_options(parser, identity=False)
    add_answer_timeout(parser, ANSWER_TIMEOUT)
    add_logging_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until stopped; return the exit status."""
    _logging.configure(arguments.log_level, arguments.log_format)
    settings = Settings(
        tuple(arguments.inference_proxy),
        tuple(arguments.secret_service),
        read_ca(arguments.mesh_ca),
        host=arguments.host,
        port=arguments.port,
        answer_timeout=arguments.answer_timeout,
    )
    return run_until_stopped(serve(settings), lambda running: _ui.say(f"privity gateway serves on {running.url}"))
