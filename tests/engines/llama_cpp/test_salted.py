import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from privity.engines.connection import EngineConnection
from privity.engines.engine import Answer, Json
from privity.engines.llama_cpp.adapter import LlamaCppEngine
from privity.engines.llama_cpp.salted import MAX_AHEAD
from privity.engines.llama_cpp.slots import SlotTables
from privity.errors import (
    ApiError,
    EngineTimeoutError,
    UnavailableError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, event_response, json_response
from privity.testing.fake_llama import CACHED, FakeLlama, llama_error

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
ANN, BOB = "a" * 32, "b" * 32
TOLD = "Once upon a time there was a server that remembered all that it was ever told. " * 3
MESSAGES = [{"role": "user", "content": TOLD}]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
FORMAT = {"type": "json_object"}


class Rig:
    """An engine, and what its server was asked to generate."""

    def __init__(self, llama: FakeLlama) -> None:
        self.llama = llama
        self.seconds = 0.0
        self.http = FakeHttpClient(llama)
        self.slots = SlotTables(lambda: self.seconds)
        self.engine = self.adapter()

    def adapter(self) -> LlamaCppEngine:
        return LlamaCppEngine(EngineConnection(self.http, "http://engine", 0.05), slots=self.slots)

    @property
    def asked(self) -> list[tuple[int, bool]]:
        """The slot of each generation, and whether it might reuse what was there."""
        bodies = [sent.json() for sent in self.http.sent if sent.url.endswith(("completion", "completions"))]
        return [(body["id_slot"], body["cache_prompt"]) for body in bodies if body.get("n_predict") != 0]

    async def ask(self, salt: Any = ANN, endpoint: str = CHAT, writes: str = "{}", **body: Any) -> Answer:
        self.llama.writes.append(writes)
        prompt = {"prompt": TOLD} if endpoint == COMPLETIONS else {"messages": MESSAGES}
        salted = {} if salt is None else {"cache_salt": salt}
        return await self.engine.answer(endpoint, {"model": "tiny", **prompt, **salted, **body})

    async def cached(self, **body: Any) -> Any:
        answer = await self.ask(**body)
        if not isinstance(answer, dict):
            answer = [event async for event in answer][-1]
        return answer["usage"]["prompt_tokens_details"]["cached_tokens"]


async def rig_of(llama: FakeLlama | None = None) -> Rig:
    rig = Rig(llama or FakeLlama())
    await rig.engine.describe()
    return rig


STREAM = {"stream": True, "stream_options": {"include_usage": True}}
REQUESTS: dict[str, Json] = {
    "chat": {},
    "streamed chat": STREAM,
    "completion": {"endpoint": COMPLETIONS},
    "streamed completion": {"endpoint": COMPLETIONS, **STREAM},
    "JSON": {"response_format": FORMAT},
    "streamed JSON": {"response_format": FORMAT, **STREAM},
    "forced call": {"tools": TOOLS, "tool_choice": "required"},
    "streamed forced call": {"tools": TOOLS, "tool_choice": "required", **STREAM},
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_the_same_salt_reuses_its_own_prompt_and_another_salt_does_not(name: str) -> None:
    rig = await rig_of(FakeLlama(slots=1))
    salts = [ANN, ANN, BOB, ANN, msgspec.Raw(msgspec.json.encode(ANN)), None, None]
    cached = [await rig.cached(salt=salt, **REQUESTS[name]) for salt in salts]
    assert cached == [0, CACHED, 0, 0, CACHED, 0, 0]
    assert not any(
        b"cache_salt" in sent.body or salt in sent.body for sent in rig.http.sent for salt in (b"aaaa", b"bb")
    )


async def test_a_conversation_of_calls_and_texts_stays_in_its_slot() -> None:
    rig = await rig_of()
    await rig.ask(writes="hello")
    await rig.ask(messages=[{"role": "user", "content": "Other." + TOLD}])
    more = [*MESSAGES, {"role": "assistant", "content": "hello"}, {"role": "user", "content": "And now?"}]
    await rig.ask(messages=more, response_format=FORMAT)
    await rig.ask(messages=more)
    assert rig.asked == [(0, False), (1, False), (0, True), (0, True)]


async def test_all_choices_of_a_request_share_its_salt_and_its_prompt_counts_once() -> None:
    rig = await rig_of(FakeLlama(slots=1, writes=["a", "b"]))
    answer = await rig.ask(writes="c", n=3)
    assert isinstance(answer, dict)
    assert [reuses for _, reuses in rig.asked] == [False, True, True]
    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}


async def test_a_server_with_one_memory_for_all_slots_reuses_nothing_and_its_operator_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = await rig_of(FakeLlama(slots=1, keeps_apart=False))
    with caplog.at_level(logging.WARNING):
        assert [await rig.cached() for _ in range(3)] == [0, 0, 0]
    assert [record.message for record in caplog.records if "--cache-ram 0" in record.message] == caplog.messages
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    "looks", [json_response({}), json_response({"timings": {"prompt_n": True}}), llama_error(500), llama_error(400)]
)
async def test_a_server_that_does_not_show_it_reuses_nothing(looks: FakeResponse) -> None:
    rig = await rig_of(FakeLlama(slots=1, instead={"/completion": lambda _request: looks}))
    assert [await rig.cached() for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("error", "told"),
    [(UpstreamTimeoutError("x"), EngineTimeoutError), (UpstreamUnreachableError("x"), UnavailableError)],
)
async def test_a_server_that_is_away_is_asked_again_whether_it_keeps_prompts_apart(
    error: Exception, told: type[ApiError]
) -> None:
    def fail(_request: SentRequest) -> FakeResponse:
        raise error

    rig = await rig_of(FakeLlama(slots=1, instead={"/completion": fail}))
    with pytest.raises(told):
        await rig.ask()
    rig.llama.instead.clear()
    rig.seconds = 60.0
    assert [await rig.cached(), await rig.cached()] == [0, CACHED]


async def test_without_salts_nobody_looks() -> None:
    rig = await rig_of()
    await rig.ask(salt=None)
    assert not any(sent.url.endswith("/completion") for sent in rig.http.sent)


@pytest.mark.parametrize("path", [CHAT, "/completion"])
async def test_after_a_failure_nothing_is_reused_until_what_was_given_up_cannot_begin_any_more(path: str) -> None:
    rig = await rig_of(FakeLlama(slots=1))
    request: Json = {"response_format": FORMAT} if path == "/completion" else {}
    assert [await rig.cached(**request) for _ in range(2)] == [0, CACHED]
    rig.llama.instead[path] = lambda _request: llama_error(500)
    with pytest.raises(ApiError):
        await rig.ask(**request)
    rig.llama.instead.clear()
    rig.llama.writes.clear()
    assert [await rig.cached(**request) for _ in range(2)] == [0, 0]
    rig.seconds = 60.0
    assert [await rig.cached(**request) for _ in range(2)] == [0, CACHED]


async def test_a_router_s_model_of_which_nothing_is_known_has_one_slot() -> None:
    rig = Rig(FakeLlama())
    assert [await rig.cached(messages=[{"role": "user", "content": text + TOLD}]) for text in "ABAA"] == [
        0,
        CACHED,
        CACHED,
        CACHED,
    ]
    assert [slot for slot, _ in rig.asked] == [0] * 4
    await rig.engine.describe()
    await rig.ask(messages=[{"role": "user", "content": "C" + TOLD}])
    assert rig.asked[-1] == (1, False)


async def test_a_server_that_has_fewer_slots_begins_anew() -> None:
    rig = await rig_of(FakeLlama(slots=3))
    for text in "AAB":
        await rig.ask(messages=[{"role": "user", "content": text + TOLD}])
    rig.llama.slots, rig.llama.name = 1, "other"
    await rig.engine.describe()
    rig.llama.name = "tiny"
    await rig.engine.describe()
    await rig.ask()
    assert rig.asked == [(0, False), (0, True), (1, False), (0, False)]


async def test_a_server_that_was_away_is_looked_at_again_and_what_was_given_up_is_not_forgotten() -> None:
    rig = await rig_of(FakeLlama(slots=1))
    assert [await rig.cached(), await rig.cached()] == [0, CACHED]
    rig.llama.keeps_apart = False
    rig.engine = rig.adapter()
    assert [await rig.cached(), await rig.cached()] == [0, 0]
    rig.llama.keeps_apart = True
    rig.llama.instead[CHAT] = lambda _request: llama_error(500)
    with pytest.raises(ApiError):
        await rig.ask()
    rig.llama.instead.clear()
    rig.llama.writes.clear()
    rig.engine = rig.adapter()
    assert [await rig.cached(), await rig.cached()] == [0, 0]


def streaming(pieces: int, last: Callable[[], AsyncIterator[bytes]]) -> Callable[[SentRequest], FakeResponse]:
    """Return a server that sends so many events, then what `last` gives."""

    class Response(FakeResponse):
        async def chunks(self) -> AsyncIterator[bytes]:
            for piece in self.pieces:
                assert isinstance(piece, bytes)
                yield piece
            async for piece in last():
                yield piece

    events = event_response([{"choices": []}] * pieces, done=False)
    return lambda _request: Response(200, events.headers, events.pieces)


async def test_an_app_that_does_not_read_keeps_no_slot_once_the_server_is_through() -> None:
    async def done() -> AsyncIterator[bytes]:
        yield b"data: [DONE]\n\n"

    rig = await rig_of(FakeLlama(slots=1, instead={CHAT: streaming(MAX_AHEAD - 1, done)}))
    slow = await rig.ask(stream=True)
    assert not isinstance(slow, dict)
    async with aclosing(slow):
        await anext(slow)
        rig.llama.instead.clear()
        assert await rig.cached() == CACHED  # its own salt: all that it needs is the slot
        assert len([event async for event in slow]) == MAX_AHEAD - 2


@pytest.mark.parametrize("pieces", [0, 1, 2 * MAX_AHEAD])
async def test_a_client_that_leaves_gives_its_slot_back(pieces: int) -> None:
    left = asyncio.Event()

    async def wait() -> AsyncIterator[bytes]:
        try:
            await asyncio.Event().wait()
            yield b""
        finally:
            left.set()

    rig = await rig_of(FakeLlama(slots=1, instead={CHAT: streaming(pieces, wait)}))
    answer = await rig.ask(stream=True)
    assert not isinstance(answer, dict)
    reading = asyncio.get_running_loop().create_task(_read(answer))
    for _ in range(20):
        await asyncio.sleep(0)
    with pytest.raises(EngineTimeoutError):
        await rig.ask(salt=None)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert rig.http.answers[-1].closed
    rig.llama.instead.clear()
    rig.llama.writes.clear()
    assert [await rig.cached(), await rig.cached()] == ([0, 0] if pieces == 0 else [CACHED, CACHED])


async def _read(answer: Any) -> None:
    async with aclosing(answer):
        await anext(answer)
        await asyncio.Event().wait()
