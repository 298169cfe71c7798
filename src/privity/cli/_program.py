"""What the subcommands that serve have in common."""

import argparse
import asyncio
import gc
import logging
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import uvloop

from privity.cli import _logging, _ui
from privity.roles.gateway.config_file import PORT as GATEWAY_PORT
from privity.transport.http_client.request import split_url
from privity.transport.open_files import raise_limit
from privity.transport.stopping import Stopping

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

HOST = "127.0.0.1"
"""Where programs listen unless somebody says otherwise."""

PROXY_PORT = 8080
PROXY, GATEWAY = f"http://localhost:{PROXY_PORT}", f"http://localhost:{GATEWAY_PORT}"
"""Where they are looked for unless somebody says otherwise."""

GC_THRESHOLDS = (50_000, 20, 100)
"""Allocations until the cyclic garbage collector looks: requests leave hardly any cycles for it."""

INTERRUPTED_STATUS = 130
"""The exit status of a program that Ctrl-C ended before it served (128 + SIGINT)."""


def add_logging_options(parser: argparse.ArgumentParser) -> None:
    """Add `--log-level` and `--log-format`."""
    parser.add_argument(
        "-l",
        "--log-level",
        "--logLevel",
        choices=_logging.LEVELS,
        type=log_level,
        default="warning",
        metavar="LEVEL",
        help=f"what to log: {', '.join(_logging.LEVELS)} (default: %(default)s)",
    )
    parser.add_argument(
        "--log-format",
        "--logFormat",
        choices=_logging.FORMATS,
        default="text",
        help="how to log, to standard error (default: %(default)s)",
    )


def log_level(text: str) -> str:
    """Return a level for argparse; `warn` is what Go calls it."""
    return "warning" if text.lower() == "warn" else text.lower()


def start_logging(arguments: argparse.Namespace) -> None:
    """Log as the options say; first, which of the environment's variables nobody knows."""
    _logging.configure(arguments.log_level, arguments.log_format)
    if arguments.unknown_variables:
        _LOG.warning("unknown environment variables: %s", ", ".join(arguments.unknown_variables))


def add_listener_options(parser: argparse.ArgumentParser, port: int) -> None:
    """Add `--host` and `--port`."""
    parser.add_argument("--host", default=HOST, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port_number, default=port, help="port to listen on (default: %(default)s)")


def add_origin_option(parser: argparse.ArgumentParser) -> None:
    """Add `--allowed-origin`."""
    parser.add_argument(
        "--allowed-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="origin of web pages that may use the proxy, such as https://app.example; repeatable",
    )


def add_answer_timeout(parser: argparse.ArgumentParser, default: float) -> None:
    """Add `--answer-timeout`."""
    text = "seconds until an answer must begin; more than the engines have (default: %(default)g)"
    parser.add_argument("--answer-timeout", type=seconds, default=default, metavar="SECONDS", help=text)


def port_number(text: str) -> int:
    """Return a port for argparse."""
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return number


def seconds(text: str) -> float:
    """Return a time for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError("seconds are a number above 0")
    return number


def base_url(text: str) -> str:
    """Return a base URL for argparse, without a slash at its end."""
    try:
        split_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("a URL looks like http://localhost:8081") from error
    if "?" in text:
        raise argparse.ArgumentTypeError("a base URL has no query")
    return text.rstrip("/")


def run_until_stopped(
    program: AbstractAsyncContextManager[T],
    on_ready: Callable[[T], None],
    stopping: Stopping,
    on_hangup: Callable[[], None] | None = None,
) -> int:
    """Serve until Ctrl-C, SIGTERM or the end of the terminal; return the exit status.

    Args:
        program: what serves.
        on_ready: gets what runs.
        stopping: what the program's listeners stop by; a second Ctrl-C or SIGTERM ends its grace.
        on_hangup: called on SIGHUP, which then doesn't end the program.

    Raises:
        StartError: the program can't serve.
    """
    raise_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(program, on_ready, stopping, on_hangup))


async def _serve(
    program: AbstractAsyncContextManager[T],
    on_ready: Callable[[T], None],
    stopping: Stopping,
    on_hangup: Callable[[], None] | None,
) -> int:
    stop = asyncio.Event()
    task = asyncio.current_task()
    serving = False

    def end() -> None:
        if stop.is_set():
            stopping.hasten()  # it is ending already, in its order
            return
        stop.set()
        if not serving and task is not None:
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, on_hangup or end)
    try:
        async with program as running:
            serving = True
            on_ready(running)
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            await stop.wait()
            stopping.begin()
            _ui.tell(_ui.stopping(stopping.under_way))
    except asyncio.CancelledError:
        _ui.tell(_ui.INTERRUPTED)
        return INTERRUPTED_STATUS
    return 0
