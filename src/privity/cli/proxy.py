"""`privity proxy`."""

import argparse
import logging
import time
from pathlib import Path
from typing import Any, get_args

from privity import __version__
from privity.cli import _ui
from privity.cli._options import OptionParser
from privity.cli._program import (
    GATEWAY,
    PROXY_PORT,
    add_answer_timeout,
    add_listener_options,
    add_logging_options,
    add_origin_option,
    base_url,
    run_until_stopped,
    start_logging,
)
from privity.cli._proxy_settings import DUMPS, endpoint, proxy_settings, warnings_of
from privity.roles.proxy.api_key import open_key
from privity.roles.proxy.config import ANSWER_TIMEOUT, REVOKED_GRACE_SECONDS, UnsignedModels
from privity.roles.proxy.main import serve
from privity.transport.stopping import Stopping

_LOG = logging.getLogger(__name__)


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser: OptionParser = commands.add_parser(
        "proxy",
        help="run the proxy that your applications talk to",
        description="Run the proxy of one user: it encrypts what apps ask for, and decrypts the answers.",
        epilog=(
            "docs/proxy.toml shows every key of a file for --config: --api-key is api_key there. `privity config check "
            "--kind proxy FILE` looks it over. Options that privatemode-proxy has are known by its names for them, too."
        ),
    )
    parser.read_environment()
    add_options(parser)
    parser.set_defaults(run=run)


def add_options(parser: OptionParser) -> None:
    """Add all options."""
    parser.read_file("options in a TOML file; the command line and the environment come before it")
    add_listener_options(parser, PROXY_PORT)
    _add_serving_options(parser)
    _add_gateway_options(parser)
    add_cache_options(parser)
    _add_ocsp_options(parser)
    add_answer_timeout(parser, ANSWER_TIMEOUT)
    _add_dump_options(parser)
    add_logging_options(parser)
    parser.add_argument("--version", action="version", version=f"privity {__version__}", help="show the version")
    _add_hidden_options(parser)


def _add_serving_options(parser: OptionParser) -> None:
    """Add what decides who reaches the proxy, and how."""
    parser.add_argument(
        "--unix-socket", type=Path, metavar="PATH", help="a Unix domain socket to listen on, in place of host and port"
    )
    parser.add_argument(
        "--tls-cert-path",
        "--tlsCertPath",
        type=Path,
        metavar="FILE",
        help="the certificate with which the proxy speaks TLS to apps, in PEM form; read again when it changes",
    )
    parser.add_argument("--tls-key-path", "--tlsKeyPath", type=Path, metavar="FILE", help="the certificate's key")
    parser.add_argument(
        "--allowed-host", action="append", default=[], metavar="NAME", help="a further name to answer under, repeatable"
    )
    add_origin_option(parser)


def _add_gateway_options(parser: OptionParser) -> None:
    """Add where the deployment is, what the proxy trusts, and how it pays."""
    parser.add_argument("--gateway", type=base_url, metavar="URL", help=f"the gateway (default: {GATEWAY})")
    parser.add_argument(
        "--api-endpoint",
        "--apiEndpoint",
        type=endpoint,
        metavar="HOST:PORT",
        help="another way to say it: --gateway https://HOST:PORT",
    )
    parser.add_argument(
        "--mesh-ca",
        type=Path,
        metavar="FILE",
        help="the certificate of the CA that all certificates of the deployment must come from; needed",
    )
    parser.add_argument(
        "--api-key",
        "--apiKey",
        type=key,
        metavar="KEY",
        help="the gateway's API key, best as @FILE, which is read again when it changes, or in the environment: the "
        "list of processes shows a literal one (without it, apps bring theirs, and one that brings none goes by the "
        "first that worked, as with the deployed proxy)",
    )
    parser.add_argument(
        "--unsigned-models",
        choices=get_args(UnsignedModels),
        help='models and aliases that no inference proxy signed: list them like others, mark them ("verified": false), '
        "or drop them (default: mark, and drop where the deployment signs)",
    )


def add_cache_options(parser: OptionParser) -> None:
    """Add what decides whose requests share an engine's prompt cache."""
    parser.add_flag(
        "--shared-prompt-cache",
        "--sharedPromptCache",
        help_text="let all requests through this proxy share the engine's prompt cache (by default none do)",
    )
    parser.add_argument(
        "--prompt-cache-salt",
        "--promptCacheSalt",
        metavar="SALT",
        help="share the prompt cache with all proxies that have this salt; needs --shared-prompt-cache",
    )


def _add_ocsp_options(parser: OptionParser) -> None:
    """Add what decides which GPUs are accepted."""
    parser.add_flag(
        "--nvidia-ocsp-allow-unknown",
        "--nvidiaOCSPAllowUnknown",
        default=True,
        help_text="accept GPUs whose certificate's status nobody knows (default: true)",
    )
    parser.add_argument(
        "--nvidia-ocsp-revoked-grace-period",
        "--nvidiaOCSPRevokedGracePeriod",
        type=hours,
        default=REVOKED_GRACE_SECONDS // 3600,
        metavar="HOURS",
        help="accept GPUs for so long after their certificate was revoked; must be 0 where unknown ones are refused "
        "(default: %(default)s)",
    )


def _add_dump_options(parser: OptionParser) -> None:
    """Add what writes prompts and answers."""
    parser.add_argument(
        "--workspace",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where --dump-requests writes (default: the current directory)",
    )
    parser.add_flag(
        "--dump-requests",
        "--dumpRequests",
        help_text=f"write all requests and answers in clear, without API keys, into the directory {DUMPS} of the "
        "workspace; nothing deletes them",
    )


def _add_hidden_options(parser: OptionParser) -> None:
    """Add what only command lines of the deployed proxy have."""
    parser.add_flag("--insecure-api-connection", "--insecureAPIConnection", help_text=argparse.SUPPRESS)
    for names in (
        ("--manifest-path", "--manifestPath"),
        ("--cdn-base-url", "--cdnBaseURL"),
        ("--ss-endpoint", "--ssEndpoint"),
        ("--coordinator-endpoint", "--coordinatorEndpoint"),
    ):
        parser.add_argument(*names, help=argparse.SUPPRESS)


def key(text: str) -> str | Path:
    """Return an API key for argparse, or the file that `@FILE` names."""
    return Path(text[1:]) if text.startswith("@") else text


def hours(text: str) -> int:
    """Return a number of hours for argparse."""
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number <= 24 * 365:
        raise argparse.ArgumentTypeError("hours are a number from 0 to 8760")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Serve until stopped; return the exit status."""
    start_logging(arguments)
    settings = proxy_settings(arguments)
    for warning in warnings_of(arguments):
        _LOG.warning(warning)
    if settings.dump_to is not None:
        _ui.tell(f"Warning: prompts and answers are written to {settings.dump_to} in clear (--dump-requests).")
    stopping = Stopping()
    return run_until_stopped(serve(settings, stopping), lambda url: _ui.say(f"privity proxy serves on {url}"), stopping)


def read_key(text: str) -> str | None:
    """Return an API key, from the file that `@FILE` names, for a program that needs it once. Raises `StartError`."""
    return open_key(key(text), time.monotonic).value()
