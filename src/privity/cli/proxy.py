"""`privity proxy`."""

import argparse
from typing import Any

from privity.cli import _logging, _ui
from privity.cli._program import add_listener_options, add_logging_options, base_url, run_until_stopped
from privity.roles.proxy.config import Settings
from privity.roles.proxy.main import serve


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "proxy", help="run the proxy that your applications talk to", description="Run the proxy of one user."
    )
    add_listener_options(parser, 8080)
    parser.add_argument(
        "--gateway",
        type=base_url,
        default="http://localhost:8081",
        metavar="URL",
        help="the gateway (default: %(default)s)",
    )
    parser.add_argument(
        "--allowed-host", action="append", default=[], metavar="NAME", help="a further name to answer under, repeatable"
    )
    parser.add_argument(
        "--allowed-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="an Origin to let through, repeatable (CORS answers, which browsers want besides, are not given yet)",
    )
    add_logging_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until stopped; return the exit status."""
    _logging.configure(arguments.log_level, arguments.log_format)
    settings = Settings(
        gateway=arguments.gateway,
        host=arguments.host,
        port=arguments.port,
        allowed_hosts=tuple(arguments.allowed_host),
        allowed_origins=tuple(arguments.allowed_origin),
    )
    return run_until_stopped(serve(settings), lambda url: _ui.say(f"privity proxy serves on {url}"))
