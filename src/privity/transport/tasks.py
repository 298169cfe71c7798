"""Background work that is held, heard and ended."""

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

_LOG = logging.getLogger(__name__)


async def survive(step: Coroutine[Any, Any, None], work: str, pause: float) -> None:
    """Run one step of a loop that must never end: what is unexpected in it is logged, and a pause follows."""
    try:
        await step
    except Exception as error:  # noqa: BLE001  # an outermost loop: a defect ends one step, not all that would follow
        _LOG.error("background work failed; it goes on", extra={"work": work, "error": type(error).__name__})
        await asyncio.sleep(pause)


class Background:
    """Tasks that run until they end or the context is left; one that fails is logged, not lost.

    `asyncio.TaskGroup` would end its siblings with it, which a server must not.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run `work` in a task of its own."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("background work failed", extra={"work": task.get_name(), "error": type(error).__name__})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
