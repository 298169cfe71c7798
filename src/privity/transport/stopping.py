"""How the listeners of a program stop: what is under way may finish for a while, but not for ever."""

import asyncio
import contextlib
from collections.abc import Set as AbstractSet
from typing import Any

from privity.transport.tasks import Background
from privity.transport.web_app import WebApp

STOP_GRACE = 30.0
"""Seconds that answers under way get to finish when a program stops: most need less."""


class Stopping:
    """The end of a program, which all its listeners share.

    Args:
        grace: seconds, from its beginning, for answers under way.
    """

    def __init__(self, grace: float = STOP_GRACE) -> None:
        self._grace = grace
        self._timer: asyncio.TimerHandle | None = None
        self._over = asyncio.Event()
        self._apps: list[WebApp] = []

    def add(self, app: WebApp) -> None:
        """Take note of an application whose answers will be waited for."""
        self._apps.append(app)

    @property
    def under_way(self) -> int:
        """How many answers are waited for; one that passes through several applications counts once."""
        return max((app.under_way for app in self._apps), default=0)

    def begin(self) -> None:
        """Let the grace begin, unless it has begun."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._grace, self._over.set)

    def hasten(self) -> None:
        """End the grace."""
        self._over.set()

    async def pause(self, seconds: float) -> None:
        """Wait for so many seconds of the grace."""
        self.begin()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()

    async def wait_for(self, tasks: AbstractSet[asyncio.Task[Any]]) -> None:
        """Wait until there are no more tasks in a set from which they vanish when they end, or the grace is over."""
        self.begin()
        async with Background() as background:
            over = background.start(self._over.wait(), "end of the grace")
            while tasks and not over.done():
                await asyncio.wait({*tasks, over}, return_when=asyncio.FIRST_COMPLETED)
