"""An OpenAI-compatible engine on loopback that counts: as fast, as slowly and as long as it is asked to."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

from privity.streams import Stream
from privity.transport.server import Terms, listening
from privity.transport.stopping import Stopping
from privity.transport.tasks import Background
from privity.transport.web import EVENTS, MAX_BODY, Reply, Request, Routes, StreamReply, json_reply
from privity.transport.web_app import WebApp

MODEL = "counting/Model-1B"

_TURN = 20
"""Events that are sent without a look at other streams."""


class CountingEngine:
    """Answers a chat with `max_tokens` numbers. The user's message is the pause before each, in seconds.

    Attributes:
        url: its base URL with `/v1`.
        sent: events so far.
        open: streams that are under way.
        together: how many must be until any of them begins to count.
    """

    def __init__(self) -> None:
        self.url = ""
        self.sent = 0
        self.open = 0
        self.together = 0

    async def serve(self, started: threading.Event, stopped: asyncio.Event) -> None:
        """Serve until it is stopped."""
        routes: Routes = {"/v1/models": {"GET": self._models}, "/v1/chat/completions": {"POST": self._chat}}
        async with Background() as background:
            app, terms = WebApp(routes, background), Terms(Stopping(0))
            async with listening(app, "127.0.0.1", 0, "engine", terms=terms) as url:
                self.url = f"{url}/v1"
                started.set()
                await stopped.wait()

    async def _models(self, _request: Request) -> Reply:
        return json_reply({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def _chat(self, request: Request) -> Reply | StreamReply:
        asked = json.loads(await request.body(MAX_BODY))
        if not asked.get("stream"):
            message = {"role": "assistant", "content": ""}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return json_reply({"id": "c", "object": "chat.completion", "created": 1, "choices": [choice]})
        pause = float(asked["messages"][-1]["content"])
        return StreamReply(200, [EVENTS], Stream(self._count(asked["max_tokens"], pause)))

    async def _count(self, numbers: int, pause: float) -> AsyncGenerator[bytes]:
        self.open += 1
        try:
            while self.open < self.together:  # noqa: ASYNC110  # the test sets it from another thread
                await asyncio.sleep(0.01)
            self.together = 0
            for number in range(numbers):
                if pause or number % _TURN == 0:
                    await asyncio.sleep(pause)
                self.sent += 1
                yield _event({"content": f"{number} "}, None)
            yield _event({}, "stop") + b"data: [DONE]\n\n"
        finally:
            self.open -= 1


def _event(delta: dict[str, str], finish_reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    event: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "created": 1, "choices": [choice]}
    return b"data: " + json.dumps(event).encode() + b"\n\n"


@contextmanager
def counting_engine() -> Iterator[CountingEngine]:
    """Run an engine for as long as the context lasts."""
    engine, started, stopped = CountingEngine(), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(engine.serve(started, stopped),))
    thread.start()
    try:
        started.wait()
        yield engine
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        loop.close()
