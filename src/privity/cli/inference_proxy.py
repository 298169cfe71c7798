"""`privity inference-proxy`."""

import argparse
from typing import Any

from privity.cli import _logging, _ui
from privity.cli._engine import SOURCES_HELP, add_engine_options, resolve
from privity.cli._program import add_listener_options, add_logging_options, run_until_stopped
from privity.roles.inference_proxy.config import Settings
from privity.roles.inference_proxy.main import serve
from privity.transport.server import require_free


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "inference-proxy",
        help="run the part that stands beside one engine",
        description="Run an inference proxy beside one engine; it says what the engine can do, and checks requests.",
        epilog=SOURCES_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_listener_options(parser, 8082)
    parser.add_argument("--model", required=True, metavar="SOURCE", help="the model or engine to serve")
    add_engine_options(parser)
    add_logging_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until stopped; return the exit status."""
    _logging.configure(arguments.log_level, arguments.log_format)
    require_free(arguments.host, arguments.port, "inference proxy")
    engine = resolve(arguments.model, arguments.data_dir)
    settings = Settings(engine, host=arguments.host, port=arguments.port, engine_timeout=arguments.engine_timeout)
    return run_until_stopped(
        serve(settings), lambda running: _ui.say(f"privity inference-proxy serves on {running.url}")
    )
