"""Engines that are slow to begin, over the application: what clients see meanwhile, and what becomes of errors."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from privity.engines.embedded.fetch import ModelFiles
from privity.engines.engine import Answer, Body, EngineModel, Json
from privity.errors import ApiError, EngineFailedError, EngineTimeoutError
from privity.protocol.multipart import Part
from privity.roles.inference_proxy.app import build_app
from privity.roles.inference_proxy.patience import begun
from privity.streams import Stream
from privity.testing.in_memory_app import Got
from privity.testing.inference_rig import inference_proxy
from privity.testing.sealed import SALT, SECRET, FixedSecrets, OpenedEvent, SealedExchange, SealingClient
from privity.transport.exchange import KEEP_ALIVE_COMMENT
from privity.transport.tasks import Background

FILES = ModelFiles(Path("/m.gguf"), None, ("org/Tiny", "tiny"), 1234, "org", None, None, None)
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
HELLO: Json = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "cache_salt": SALT, "stream": True}
CLAUDE: Json = HELLO | {"max_tokens": 5}
EVENTS: list[Json] = [{"id": "c", "choices": [{"index": 0, "delta": {"content": text}}]} for text in ("a", "b", "c")]
CLAUDES: list[Json] = [
    {"type": "message_start", "message": {"id": "m", "model": "x", "usage": {}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
    {"type": "message_stop"},
]
SHORT, FOR_EVER = 0.005, 1000.0
"""Seconds without a sign of the engine: one that passes at once, and one that never does."""


class Thinking:
    """An engine that begins when it may, and pauses before each event until it may go on."""

    def __init__(self, answer: list[Json] | Json | ApiError) -> None:
        self._answer = answer
        self.may_go_on = asyncio.Semaphore(0)
        self.asked = asyncio.Event()
        self.left = asyncio.Event()

    async def describe(self) -> tuple[EngineModel, ...]:
        return (EngineModel("inner", ("generate",)),)

    async def answer(self, endpoint: str, body: Body) -> Answer:
        assert endpoint in (CHAT, MESSAGES)
        assert body
        self.asked.set()
        try:
            await self.may_go_on.acquire()
        except asyncio.CancelledError:
            self.left.set()
            raise
        if isinstance(self._answer, ApiError):
            raise self._answer
        return self._answer if isinstance(self._answer, dict) else Stream(self._events(self._answer))

    async def _events(self, events: list[Json]) -> AsyncGenerator[Json]:
        try:
            for event in events:
                await self.may_go_on.acquire()
                yield event
        finally:
            self.left.set()


class Client:
    """Sends one request; lets the engine go on at each comment, or at once."""

    def __init__(self, engine: Thinking, keep_alive: float, sealed: SealedExchange) -> None:
        self.engine = engine
        self.sealed = sealed
        self.got = Got()
        self._keep_alive = keep_alive
        self._messages = [{"type": "http.request", "body": sealed.body, "more_body": False}]
        self.leave = asyncio.Event()

    async def ask(self) -> Got:
        async with Background() as background:
            proxy = await inference_proxy(self.engine, FILES)
            app = build_app(proxy, FixedSecrets(SECRET), background, keep_alive=self._keep_alive)
            scope = {"type": "http", "method": "POST", "path": self.sealed.path, "query_string": b""}
            await app({**scope, "headers": self.sealed.headers}, self._receive, self._send)
        self.got.body = b"".join(self.got.pieces)
        return self.got

    async def _receive(self) -> dict[str, Any]:
        if self._messages:
            return self._messages.pop()
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        self.got.status = message.get("status", self.got.status)
        self.got.headers = [*self.got.headers, *message.get("headers", ())]
        if piece := message.get("body", b""):
            self.got.pieces.append(piece)
        if piece == KEEP_ALIVE_COMMENT:
            self.engine.may_go_on.release()

    def events(self) -> list[OpenedEvent]:
        return self.sealed.open_events(self.got.status, self.got.headers, self.got.body)


def go_on_at_once(engine: Thinking) -> None:
    for _ in range(10):
        engine.may_go_on.release()


@pytest.mark.parametrize(("path", "asked", "events"), [(CHAT, HELLO, EVENTS), (MESSAGES, CLAUDE, CLAUDES)])
async def test_a_stream_to_one_of_privitys_clients_shows_that_it_lives(
    path: str, asked: Json, events: list[Json]
) -> None:
    client = Client(Thinking(json.loads(json.dumps(events))), SHORT, SealingClient().seal(path, asked))
    got = await client.ask()
    assert got.status == 200
    assert got.header(b"content-type") == b"text/event-stream"
    assert got.pieces[0] == KEEP_ALIVE_COMMENT
    assert got.pieces.count(KEEP_ALIVE_COMMENT) >= 1 + len(events)  # one before each, and before it began
    opened = client.events()  # which checks the authenticated end
    assert len(opened) == len(events) + (path == CHAT)
    assert opened[-1].data == b"[DONE]" or opened[-1].json()["type"] == "message_stop"


@pytest.mark.parametrize("with_end", [True, False])
async def test_a_stream_that_begins_in_time_has_no_comments(*, with_end: bool) -> None:
    engine = Thinking(json.loads(json.dumps(EVENTS)))
    client = Client(engine, FOR_EVER, SealingClient(with_end=with_end).seal(CHAT, HELLO))
    go_on_at_once(engine)
    got = await client.ask()
    assert b": keep-alive" not in got.body
    assert len(client.events()) == len(EVENTS) + 1


async def asked_late(client: Client) -> Got:
    """Ask, and let the engine go on when comments would have come."""
    asking = asyncio.get_running_loop().create_task(client.ask())
    await client.engine.asked.wait()
    await asyncio.sleep(4 * SHORT)
    assert client.got.status == 0
    go_on_at_once(client.engine)
    return await asking


@pytest.mark.parametrize(
    ("with_end", "asked"), [(False, HELLO), (True, HELLO | {"stream": False}), (True, CLAUDE | {"stream": None})]
)
async def test_a_deployed_client_and_whoever_wants_no_stream_waits_in_silence_for_the_status(
    asked: Json, *, with_end: bool
) -> None:
    client = Client(Thinking(EngineTimeoutError("late")), SHORT, SealingClient(with_end=with_end).seal(CHAT, asked))
    got = await asked_late(client)
    assert got.status == 504
    assert b": keep-alive" not in got.body


async def test_a_deployed_client_gets_no_comments_between_events_either() -> None:
    engine = Thinking(json.loads(json.dumps(EVENTS)))
    client = Client(engine, SHORT, SealingClient(with_end=False).seal(CHAT, HELLO))
    asking = asyncio.get_running_loop().create_task(client.ask())
    for _ in range(1 + len(EVENTS)):
        engine.may_go_on.release()
        await asyncio.sleep(2 * SHORT)
    assert b": keep-alive" not in (await asking).body


@pytest.mark.parametrize(("path", "asked"), [(CHAT, HELLO), (MESSAGES, CLAUDE)])
async def test_an_error_in_time_has_its_status_and_a_late_one_is_the_last_event(path: str, asked: Json) -> None:
    error = EngineFailedError("The engine failed.")
    engine = Thinking(error)
    client = Client(engine, FOR_EVER, SealingClient().seal(path, asked))
    go_on_at_once(engine)
    got = await client.ask()
    assert got.status == 502
    in_time = client.sealed.open_json(got.status, got.headers, got.body)
    client = Client(Thinking(error), SHORT, SealingClient().seal(path, asked))
    assert (await client.ask()).status == 200
    (late,) = client.events()
    assert late.type == b"error"
    assert late.json() == in_time


async def test_an_engine_that_does_not_stream_after_all_is_an_error() -> None:
    client = Client(Thinking({"choices": []}), SHORT, SealingClient().seal(CHAT, HELLO))
    await client.ask()
    (late,) = client.events()
    assert late.json()["error"]["code"] == "engine_error"


@pytest.mark.parametrize("keep_alive", [SHORT, FOR_EVER])
async def test_a_client_that_leaves_ends_the_engines_work(keep_alive: float) -> None:
    engine = Thinking(EVENTS)
    client = Client(engine, keep_alive, SealingClient().seal(CHAT, HELLO))
    asking = asyncio.get_running_loop().create_task(client.ask())
    await engine.asked.wait()
    client.leave.set()
    await engine.left.wait()
    await asking


# Alone

FORM = [Part("model", b"tiny"), Part("stream", b"true"), Part("file", b"RIFF", is_file=True)]


class Closed:
    """A stream's source that tells whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    async def aclose(self) -> None:
        self.closed = True


async def nothing() -> AsyncGenerator[Json]:
    for event in list[Json]():
        yield event


@pytest.mark.parametrize(
    "content", [FORM, [Part("stream", b"True")], b'{"stream" : true}', b'{"a":{"stream":false},"stream":true}']
)
async def test_a_late_stream_that_nobody_begins_to_read_is_closed(content: bytes | list[Part]) -> None:
    source, go_on = Closed(), asyncio.Event()

    async def work() -> Answer:
        await go_on.wait()
        return Stream(nothing(), source)

    answer = await begun(work(), content, 0)
    assert isinstance(answer, Stream)
    go_on.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await answer.aclose()
    assert source.closed


async def test_who_stops_waiting_closes_a_stream_that_begins_in_that_moment() -> None:
    source, began = Closed(), asyncio.Event()

    async def work() -> Answer:
        began.set()
        await asyncio.sleep(0)
        return Stream(nothing(), source)

    waiting = asyncio.get_running_loop().create_task(begun(work(), b'{"stream":true}', FOR_EVER))
    await began.wait()
    await asyncio.sleep(0)  # it has begun; who waits doesn't know yet
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    assert waiting.cancelled()
    assert source.closed


@pytest.mark.parametrize(
    "content",
    [b"{}", b'{"stream":false}', b'{"a":{"stream":true}}', b'{"a":"\\"stream\\""}', [Part("stream", b"false")]],
)
async def test_what_is_no_stream_is_waited_for(content: bytes | list[Part]) -> None:
    async def work() -> Answer:
        await asyncio.sleep(0)
        return {"a": 1}

    assert await begun(work(), content, 0) == {"a": 1}
