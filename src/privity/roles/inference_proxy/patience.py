"""Streams that begin before their engine does: models think for minutes, and what lies between gives up on silence.

Comments say that such a stream lives, in Anthropic's API too: every reader of event streams skips them. Its own `ping`
is an event, which the authenticated end would have to count.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from privity.engines.engine import Answer, Json
from privity.errors import EngineFailedError
from privity.protocol.fields import scan
from privity.protocol.multipart import Part, as_boolean
from privity.roles.inference_proxy.encryption import Content
from privity.streams import Stream

KEEP_ALIVE_SECONDS = 10.0
"""Until a stream begins without its engine, and between its signs of life: load balancers wait for 30 or 60."""


async def begun(work: Coroutine[Any, Any, Answer], content: Content, seconds: float) -> Answer:
    """Return an engine's answer; where a stream is wanted and hasn't begun in time, one that waits for it.

    Args:
        work: returns the answer.
        content: the request's.
        seconds: for the answer to begin in.

    Raises:
        ApiError: what `work` raises in time; later it comes out of the stream.
    """
    if not _may_stream(content):
        return await work
    task = asyncio.get_running_loop().create_task(work, name="engine's answer")
    late = _Late(task)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done() or not _streams(content):
            return await task
    except asyncio.CancelledError:
        await late.aclose()
        raise
    return Stream(late.events(), late)


class _Late:
    """An answer that is waited for."""

    def __init__(self, task: asyncio.Task[Answer]) -> None:
        self._task = task

    async def events(self) -> AsyncGenerator[Json]:
        """Yield its events."""
        answer = await self._task
        if isinstance(answer, dict):
            raise EngineFailedError("The engine doesn't stream its answer.")
        async for event in answer:
            yield event

    async def aclose(self) -> None:
        """Let go of it, whether it has begun or not."""
        self._task.cancel()
        await asyncio.wait({self._task})
        if self._task.cancelled() or self._task.exception() is not None:
            return
        answer = self._task.result()
        if not isinstance(answer, dict):
            await answer.aclose()


def _may_stream(content: Content) -> bool:
    """Return whether it is worth looking at a request closely, should its answer be late."""
    return b'"stream"' in content if isinstance(content, bytes) else _has_stream(content)


def _streams(content: Content) -> bool:
    return scan(content).get("stream") == b"true" if isinstance(content, bytes) else _has_stream(content)


def _has_stream(parts: list[Part]) -> bool:
    return any(part.name == "stream" and as_boolean(part.value) for part in parts)
