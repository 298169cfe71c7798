"""`privity proxy`."""

import argparse
import re
import secrets
from pathlib import Path
from typing import Any, get_args

from privity.cli import _logging, _ui
from privity.cli._mesh import add_mesh_options, read_ca
from privity.cli._program import (
    add_answer_timeout,
    add_listener_options,
    add_logging_options,
    add_origin_option,
    base_url,
    run_until_stopped,
)
from privity.errors import StartError
from privity.protocol.cache_salt import MIN_CHARACTERS, RANDOM_BYTES, random_salt
from privity.roles.proxy.config import ANSWER_TIMEOUT, Settings, UnsignedModels
from privity.roles.proxy.main import serve

MAX_KEY_CHARACTERS = 4096
"""Characters of an API key: tokens of identity providers have a thousand or two."""

_NO_KEY = re.compile(r"[^!-~]")
"""What no key has: it goes into a header, where a space would end it."""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "proxy",
        help="run the proxy that your applications talk to",
        description="Run the proxy of one user: it encrypts what apps ask for, and decrypts the answers.",
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
    add_origin_option(parser)
    add_mesh_options(parser, identity=False)
    parser.add_argument(
        "--api-key",
        "--apiKey",
        metavar="KEY",
        help="the gateway's API key, or @FILE that holds it (without it, apps bring theirs, and one that brings none "
        "goes by the first that worked, as with the deployed proxy)",
    )
    parser.add_argument(
        "--unsigned-models",
        choices=get_args(UnsignedModels),
        help='models and aliases that no inference proxy signed: list them like others, mark them ("verified": false), '
        "or drop them (default: mark, and drop where the deployment signs)",
    )
    add_cache_options(parser)
    add_ocsp_options(parser)
    add_answer_timeout(parser, ANSWER_TIMEOUT)
    add_logging_options(parser)
    parser.set_defaults(run=run)


def add_cache_options(parser: argparse.ArgumentParser) -> None:
    """Add what decides whose requests share an engine's prompt cache."""
    parser.add_argument(
        "--shared-prompt-cache",
        "--sharedPromptCache",
        action="store_true",
        help="let all requests through this proxy share the engine's prompt cache (by default none do)",
    )
    parser.add_argument(
        "--prompt-cache-salt",
        "--promptCacheSalt",
        metavar="SALT",
        help="share the prompt cache with all proxies that have this salt; needs --shared-prompt-cache",
    )


def add_ocsp_options(parser: argparse.ArgumentParser) -> None:
    """Add what decides which GPUs are accepted."""
    parser.add_argument(
        "--nvidia-ocsp-allow-unknown",
        "--nvidiaOCSPAllowUnknown",
        type=boolean,
        nargs="?",
        const=True,
        default=True,
        metavar="BOOL",
        help="accept GPUs whose certificate's status nobody knows (default: true)",
    )
    parser.add_argument(
        "--nvidia-ocsp-revoked-grace-period",
        "--nvidiaOCSPRevokedGracePeriod",
        type=hours,
        default=48,
        metavar="HOURS",
        help="accept GPUs for so long after their certificate was revoked; must be 0 where unknown ones are refused "
        "(default: %(default)s)",
    )


def boolean(text: str) -> bool:
    """Return a truth value for argparse, as Go's flags have it."""
    known = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
    if text.lower() not in known:
        raise argparse.ArgumentTypeError("true or false")
    return known[text.lower()]


def hours(text: str) -> int:
    """Return a number of hours for argparse."""
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number <= 24 * 365:
        raise argparse.ArgumentTypeError("hours are a number from 0 to 8760")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Serve until stopped; return the exit status."""
    _logging.configure(arguments.log_level, arguments.log_format)
    if not arguments.nvidia_ocsp_allow_unknown and arguments.nvidia_ocsp_revoked_grace_period:
        raise StartError(
            "GPUs of unknown status are refused, but revoked ones accepted for a while, which makes no sense.",
            "Give --nvidia-ocsp-revoked-grace-period 0 as well.",
        )
    settings = Settings(
        gateway=arguments.gateway,
        mesh_ca=read_ca(arguments.mesh_ca),
        host=arguments.host,
        port=arguments.port,
        answer_timeout=arguments.answer_timeout,
        allowed_hosts=tuple(arguments.allowed_host),
        allowed_origins=tuple(arguments.allowed_origin),
        api_key=None if arguments.api_key is None else read_key(arguments.api_key),
        shared_salt=shared_salt(shared=arguments.shared_prompt_cache, salt=arguments.prompt_cache_salt),
        unsigned_models=arguments.unsigned_models,
        ocsp_allow_unknown=arguments.nvidia_ocsp_allow_unknown,
        ocsp_revoked_grace_seconds=arguments.nvidia_ocsp_revoked_grace_period * 3600,
    )
    return run_until_stopped(serve(settings), lambda url: _ui.say(f"privity proxy serves on {url}"))


def read_key(text: str) -> str:
    """Return an API key, from the file that `@FILE` names. Raises `StartError`."""
    key = text
    if text.startswith("@"):
        try:
            key = Path(text[1:]).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise StartError(f"The API key in {text[1:]} can't be read.", "Check the path after @.") from error
    key = key.strip()
    if _NO_KEY.search(key) or not 0 < len(key) <= MAX_KEY_CHARACTERS:
        raise StartError("The API key is empty, or has characters that no key has.", "Check --api-key.")
    return key


def shared_salt(*, shared: bool, salt: str | None) -> str | None:
    """Return the cache salt that requests share, if they do. Raises `StartError`."""
    if salt is None:
        return random_salt(secrets.token_bytes(RANDOM_BYTES)) if shared else None
    if not shared:
        raise StartError("--prompt-cache-salt is of no use alone.", "Add --shared-prompt-cache.")
    if len(salt) < MIN_CHARACTERS:
        raise StartError(
            f"The prompt cache's salt has fewer than {MIN_CHARACTERS} characters, so it could be guessed.",
            "Make one: openssl rand -base64 32",
        )
    try:
        salt.encode()
    except UnicodeEncodeError as error:
        raise StartError("The prompt cache's salt isn't text.", "Make one: openssl rand -base64 32") from error
    return salt
