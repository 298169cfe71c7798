"""`privity models`."""

import argparse
import asyncio
from typing import Any

import msgspec

from privity.cli import _ui
from privity.cli._program import base_url
from privity.errors import StartError, UpstreamError
from privity.transport.http_client import PooledHttpClient

TIMEOUT = 10.0
"""Seconds until the list must be there."""

MAX_LIST_BYTES = 32 * 1024 * 1024
"""Bytes of a list."""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "models", help="list the models that can be called now", description="List the models of a running proxy."
    )
    parser.add_argument(
        "--base-url",
        type=base_url,
        default="http://localhost:8080",
        metavar="URL",
        help="the proxy (default: %(default)s)",
    )
    parser.add_argument("--api-key", metavar="KEY", help="sent as a bearer token")
    parser.add_argument("--json", action="store_true", help="print the API's answer as it is")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the list; return the exit status."""
    url = arguments.base_url.removesuffix("/v1")
    body = asyncio.run(_fetch(url, arguments.api_key))
    if arguments.json:
        _ui.say(body.decode(errors="replace"))
        return 0
    try:
        rows = msgspec.json.decode(body)["data"]
        _ui.say(_ui.models_table(rows) if rows else "No model is available at the moment.")
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise StartError(f"What answers at {url} isn't a model list.", "Check --base-url.") from error
    return 0


async def _fetch(url: str, api_key: str | None) -> bytes:
    if api_key and not api_key.isprintable():
        raise StartError("The API key holds characters that no key has.", "Check --api-key.")
    headers = [(b"authorization", f"Bearer {api_key}".encode())] if api_key else []
    try:
        async with asyncio.timeout(TIMEOUT), PooledHttpClient() as http:
            response = await http.request("GET", f"{url}/v1/models", headers=headers, head_timeout=TIMEOUT)
            async with response:
                body = await response.read(MAX_LIST_BYTES)
    except (UpstreamError, TimeoutError) as error:
        raise StartError(f"No proxy answers at {url}.", _ui.START_ONE) from error
    if response.status == 401:
        raise StartError("The API key is missing or not accepted.", "Give one with --api-key.")
    if response.status != 200:
        raise StartError(f"{url} answers with status {response.status}.", "Check --base-url.")
    return body
