"""`privity models --watch`: follows a list until it is stopped, whatever the server does."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing

from privity.cli.models.api import Answer, ModelsApi
from privity.cli.models.feed import Feed
from privity.cli.models.output import Output
from privity.errors import StartError, UpstreamError, UpstreamProtocolError

PAUSE = 1.0
"""Seconds until a server that went away is asked again."""

_HOPELESS = (401, 403)
"""Statuses that don't change by asking again."""


async def watch(
    api: ModelsApi, feed: Feed, output: Output, pause: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(PAUSE)
) -> None:
    """Show a list and its changes until cancelled; a server that goes away is waited for.

    Raises:
        StartError: nobody answers at the beginning, or the key isn't accepted any more.
    """
    was_live = False
    while True:
        problem = StartError(f"The {api.what} at {api.url} ended the connection.", "Check --base-url.")
        is_hopeless = False
        try:
            async with aclosing(feed.follow()) as updates:
                before = feed.rows
                async for update in updates:
                    if isinstance(update, Answer):
                        problem, is_hopeless = api.refusal(update), update.status in _HOPELESS
                        break
                    was_live = True
                    output.live(update, before)
                    before = update.rows
        except UpstreamError as error:
            problem = api.problem(error)
            if was_live and isinstance(error, UpstreamProtocolError):  # most of all: it was stopped in the middle
                problem = StartError(f"The {api.what} at {api.url} broke off.", "Check --base-url.")
        if is_hopeless or not was_live:
            raise problem
        output.away(problem.problem)
        await pause()


async def until_stopped(watching: Coroutine[None, None, None], on_resize: Callable[[], None]) -> int:
    """Watch until Ctrl-C, SIGTERM or the end of the terminal; return the exit status. Raises what `watching` does."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if not stopped and task is not None:
            stopped = True
            task.cancel()

    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGWINCH, on_resize)
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    return 0
