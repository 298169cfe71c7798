"""`privity gateway`."""

import argparse
from pathlib import Path
from typing import Any

from privity.cli import _ui
from privity.cli._mesh import read_ca
from privity.cli._options import OptionParser
from privity.cli._program import add_logging_options, base_url, port_number, run_until_stopped, seconds, start_logging
from privity.errors import StartError
from privity.roles.gateway.config import ANSWER_TIMEOUT, Served, Settings
from privity.roles.gateway.config_file import HOST, PORT
from privity.roles.gateway.main import Running, serve
from privity.roles.gateway.reload import ConfigWatch
from privity.toml.files import read_config_file
from privity.transport.stopping import Stopping

_IN_FILE = ("inference_proxy", "secret_service", "mesh_ca", "host", "port", "answer_timeout", "document_proxy")
"""Options that say what a configuration file says."""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser: OptionParser = commands.add_parser(
        "gateway",
        help="run the public API in front of inference proxies",
        description=(
            "Run the gateway: it lists the models of its inference proxies and routes requests to them. It sees which "
            "model is asked for, and never what."
        ),
        epilog=(
            "Either --config, or at least --inference-proxy, --secret-service and --mesh-ca. docs/gateway.toml shows "
            "every key of the file; `privity config check FILE` looks it over. It is read again when it changes, and "
            "on SIGHUP; one that can't be used changes nothing."
        ),
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="everything in a TOML file")
    parser.add_argument("--host", help=f"address to listen on (default: {HOST})")
    parser.add_argument("--port", type=port_number, help=f"port to listen on (default: {PORT})")
    parser.add_argument(
        "--inference-proxy", type=base_url, action="append", metavar="URL", help="an inference proxy, repeatable"
    )
    parser.add_argument(
        "--document-proxy",
        type=base_url,
        action="append",
        metavar="URL",
        help="an inference proxy beside a document backend, which answers under /unstructured/; repeatable",
    )
    parser.add_argument(
        "--secret-service",
        type=base_url,
        action="append",
        metavar="URL",
        help="a secret service, where it agrees on secrets with clients; repeatable, for replicas that share a store",
    )
    parser.add_argument(
        "--mesh-ca",
        type=Path,
        metavar="FILE",
        help="the certificate of the CA that all certificates of the deployment must come from",
    )
    parser.add_argument(
        "--answer-timeout",
        type=seconds,
        metavar="SECONDS",
        help=f"seconds until an answer must begin; more than the engines have (default: {ANSWER_TIMEOUT:g})",
    )
    add_logging_options(parser)
    parser.read_environment()
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until stopped; return the exit status."""
    start_logging(arguments)
    stopping = Stopping()
    if arguments.config is None:
        return run_until_stopped(serve(_settings(arguments), stopping=stopping), _show, stopping)
    given = [f"--{name.replace('_', '-')}" for name in _IN_FILE if getattr(arguments, name) is not None]
    if given:
        raise StartError(
            f"{', '.join(given)} can't be given beside --config, nor by the environment.", "Say it in the file."
        )
    watch = ConfigWatch(arguments.config, read_config_file(arguments.config))
    file = watch.file
    settings = Settings(
        file.served,
        file.secret_services,
        read_ca(file.mesh_ca),
        host=file.host,
        port=file.port,
        answer_timeout=file.answer_timeout,
    )
    return run_until_stopped(serve(settings, watch, stopping), _show, stopping, on_hangup=watch.told.set)


def _settings(arguments: argparse.Namespace) -> Settings:
    missing = [name for name in _IN_FILE[:3] if getattr(arguments, name) is None]
    if missing:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in missing)
        raise StartError(f"{names} must be given.", "Or everything in a file: --config FILE.")
    return Settings(
        Served(tuple(arguments.inference_proxy), document_proxies=tuple(arguments.document_proxy or ())),
        tuple(arguments.secret_service),
        read_ca(arguments.mesh_ca),
        host=arguments.host or HOST,
        port=PORT if arguments.port is None else arguments.port,
        answer_timeout=arguments.answer_timeout or ANSWER_TIMEOUT,
    )


def _show(running: Running) -> None:
    _ui.say(f"privity gateway serves on {running.url}")
