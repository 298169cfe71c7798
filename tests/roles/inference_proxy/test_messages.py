"""Anthropic's API over a llama.cpp server in memory: translated inside, encrypted outside."""

import json
from typing import Any

import pytest

from privity.engines.connection import EngineConnection
from privity.engines.detect import DetectedEngine
from privity.engines.engine import Json
from privity.engines.translation.engine import TranslatingEngine
from privity.errors import UpstreamProtocolError
from privity.roles.inference_proxy.app import build_app
from privity.testing.fake_http import FakeHttpClient, FakeResponse, Server
from privity.testing.fake_llama import CANARY, FakeLlama, llama_error
from privity.testing.in_memory_app import Got, ask_app
from privity.testing.inference_rig import inference_proxy
from privity.testing.sealed import SALT, SECRET, FixedSecrets, SealedExchange, SealingClient
from privity.transport.tasks import Background

CHAT, MESSAGES, COUNT = "/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens"
PROMPT: Json = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
HELLO: Json = PROMPT | {"max_tokens": 5, "cache_salt": SALT}
TOOL = {"name": "f", "input_schema": {"type": "object"}}


async def ask(server: Server, path: str, body: Json) -> tuple[Got, SealedExchange]:
    """Send an encrypted request; return the answer, and what opens it."""
    sealed = SealingClient().seal(path, body)
    engine = TranslatingEngine(DetectedEngine(EngineConnection(FakeHttpClient(server), "http://engine", 7.0)))
    async with Background() as background:
        app = build_app(await inference_proxy(engine), FixedSecrets(SECRET), background)
        return await ask_app(app, "POST", path, sealed.headers, sealed.body), sealed


async def answered(server: Server, path: str, body: Json) -> tuple[int, Any]:
    got, sealed = await ask(server, path, body)
    return got.status, sealed.open_json(got.status, got.headers, got.body)


async def test_a_whole_answer_shows_outside_what_it_is_and_what_it_used() -> None:
    got, sealed = await ask(FakeLlama(writes=["Hi"]), MESSAGES, HELLO)
    outside = got.json()
    assert (outside["type"], outside["id"][:4]) == ("message", "msg_")
    assert (outside["usage"]["input_tokens"], outside["usage"]["output_tokens"]) == (10, 2)
    assert all(isinstance(outside[name], str) for name in ("role", "content", "model", "stop_reason"))
    message = sealed.open_json(got.status, got.headers, got.body)
    assert (message["model"], message["content"]) == ("tiny", [{"type": "text", "text": "Hi"}])
    assert (message["stop_reason"], message["stop_sequence"]) == ("end_turn", None)


async def test_events_are_named_and_the_first_one_names_the_model() -> None:
    got, sealed = await ask(FakeLlama(writes=[("H", "i")]), MESSAGES, HELLO | {"stream": True})
    assert got.header(b"content-type") == b"text/event-stream"
    events = sealed.open_events(got.status, got.headers, got.body)
    assert [event.type for event in events] == [event.json()["type"].encode() for event in events]
    assert events[0].json()["message"]["model"] == "tiny"
    assert [event.json()["delta"]["text"] for event in events if event.type == b"content_block_delta"] == ["H", "i"]
    *_, last, stop = (event.json() for event in events)
    assert (last["delta"]["stop_reason"], last["usage"]["output_tokens"], stop["type"]) == (
        "end_turn",
        2,
        "message_stop",
    )


async def test_a_stream_that_breaks_ends_with_an_error_in_anthropics_form() -> None:
    head = [(b"content-type", b"text/event-stream")]
    first = b'data: {"choices": [{"delta": {"content": "H"}}]}\n\n'
    server = FakeLlama(instead={CHAT: lambda _request: FakeResponse(200, head, [first, UpstreamProtocolError(CANARY)])})
    got, sealed = await ask(server, MESSAGES, HELLO | {"stream": True})
    *events, last = sealed.open_events(got.status, got.headers, got.body)
    assert [event.type for event in events] == [b"message_start", b"content_block_start", b"content_block_delta"]
    assert (last.type, last.json()["type"], last.json()["error"]["type"]) == (b"error", "error", "api_error")
    assert b"message_stop" not in got.body
    assert CANARY not in str(last)


@pytest.mark.parametrize(
    ("status", "kind", "type_"),
    [
        (503, 503, "overloaded_error"),
        (500, 502, "api_error"),
        (400, 400, "invalid_request_error"),
        (504, 504, "timeout_error"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_engines_error_has_its_status_and_anthropics_form(
    status: int, kind: int, type_: str, *, stream: bool
) -> None:
    server = FakeLlama(instead={CHAT: lambda _request: llama_error(status)})
    got, sealed = await ask(server, MESSAGES, HELLO | {"stream": stream})
    error = sealed.open_json(got.status, got.headers, got.body)
    assert (got.status, error["type"], error["error"]["type"]) == (kind, "error", type_)
    assert CANARY not in str(error)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"container": "c"}, "`container`"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "text"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "type"),
        ({"system": [{"text": "x"}]}, "type"),
        ({"model": "tiny", "tools": [{"name": "f"}]}, "input_schema"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "tool_choice"),
    ],
)
@pytest.mark.parametrize("path", [MESSAGES, COUNT])
async def test_what_cannot_be_is_refused_with_400(path: str, members: Json, said: str) -> None:
    status, error = await answered(FakeLlama(), path, (HELLO if path == MESSAGES else PROMPT) | members)
    assert (status, error["error"]["type"]) == (400, "invalid_request_error")
    assert said in error["error"]["message"]


async def test_tools_are_for_models_that_can_call_them() -> None:
    for path, body in ((MESSAGES, HELLO), (COUNT, PROMPT)):
        status, error = await answered(FakeLlama(tools=False), path, body | {"tools": [TOOL]})
        assert (status, "can't call tools" in error["error"]["message"]) == (400, True)


async def test_a_forced_call_comes_as_a_block() -> None:
    forced = HELLO | {"max_tokens": 64, "tools": [TOOL], "tool_choice": {"type": "tool", "name": "f"}}
    status, message = await answered(FakeLlama(writes=['{"a": 1}']), MESSAGES, forced)
    (call,) = message["content"]
    assert (status, message["stop_reason"]) == (200, "tool_use")
    assert (call["type"], call["name"], call["input"]) == ("tool_use", "f", {"a": 1})


async def test_tokens_are_counted_and_even_the_number_is_encrypted() -> None:
    got, sealed = await ask(FakeLlama(), COUNT, PROMPT | {"system": "Be brief."})
    assert isinstance(got.json()["input_tokens"], str)
    count = sealed.open_json(got.status, got.headers, got.body)
    assert count == {"input_tokens": len("<system>Be brief.<user>hello<assistant>")}


async def test_an_engine_that_cannot_count_says_so() -> None:
    pages: Json = {
        "/api/version": {"version": "0.13.0"},
        "/api/tags": {"models": [{"name": "tiny"}]},
        "/api/show": {"capabilities": ["completion"]},
    }

    def ollama(request: Any) -> FakeResponse:
        page = pages.get(request.url.removeprefix("http://engine"))
        return FakeResponse(200 if page else 404, [], [json.dumps(page).encode()])

    status, error = await answered(ollama, COUNT, PROMPT)
    assert (status, error["error"]["type"]) == (501, "api_error")
    assert "count tokens" in error["error"]["message"]
