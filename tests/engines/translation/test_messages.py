"""Answers of chats as messages, whole and as events, and what of both the official client makes."""

import json
from collections.abc import Iterable
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from privity.engines.connection import EngineConnection
from privity.engines.detect import DetectedEngine, Kind
from privity.engines.engine import Json
from privity.engines.translation.engine import TranslatingEngine
from privity.errors import EngineFailedError, UnavailableError
from privity.streams import Stream
from privity.testing.chat_engine import CHAT, ChatEngine
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, json_response

MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
REQUEST = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
USAGE = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
COUNTED = {"input_tokens": 10, "cache_creation_input_tokens": 0, "output_tokens": 3}
UNKNOWN = {"input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 0}
EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def completion(message: Json, finish: str | None = "stop", usage: Any = USAGE, **more: Any) -> Json:
    return {"id": "c", "choices": [{"message": message, "finish_reason": finish, **more}], "usage": usage}


def chunk(delta: Json | None = None, finish: str | None = None, **more: Any) -> Json:
    return {"id": "c", "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish, **more}]}


def call(number: int, arguments: str | None = "{}", **more: Any) -> Json:
    return {"id": f"t{number}", "type": "function", "function": {"name": f"f{number}", "arguments": arguments}, **more}


def block(number: int, **given_: Any) -> Json:
    return {"type": "tool_use", "id": f"t{number}", "name": f"f{number}", "input": given_}


async def whole(answer: Json, **members: Any) -> Json:
    message = await TranslatingEngine(ChatEngine(answer)).answer(MESSAGES, REQUEST | members)
    assert isinstance(message, dict)
    return message


async def events_of(chunks: Iterable[Any], **members: Any) -> list[Json]:
    answer = await TranslatingEngine(ChatEngine(list(chunks))).answer(MESSAGES, REQUEST | {"stream": True} | members)
    assert isinstance(answer, Stream)
    async with aclosing(answer):
        return [event async for event in answer]


def accumulated(events: list[Json]) -> Json:
    """Return the message that the official client makes of events."""
    message: Any = None
    buffers: dict[int, bytes] = {}
    for event in events:
        message = accumulate_event(event=EVENT.validate_python(event), current_snapshot=message, json_bufs=buffers)
    told: Json = message.to_dict()
    told.pop("stop_details", None)  # the client writes it itself
    return told


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"content": "Hi"}, [{"type": "text", "text": "Hi"}]),
        ({"content": ""}, []),
        ({"content": None}, []),
        ({}, []),
        (
            {"content": "Hi", "reasoning": "Hm.", "reasoning_content": "Hm."},
            [{"type": "thinking", "thinking": "Hm.", "signature": ""}, {"type": "text", "text": "Hi"}],
        ),
        ({"reasoning_content": "Hm."}, [{"type": "thinking", "thinking": "Hm.", "signature": ""}]),
        (
            {"content": "Let me see.", "tool_calls": [call(1, '{"a": [1, "é"]}'), call(2, "")]},
            [{"type": "text", "text": "Let me see."}, block(1, a=[1, "é"]), block(2)],
        ),
        ({"content": None, "tool_calls": [call(1, None)]}, [block(1)]),
        ({"refusal": "No."}, [{"type": "text", "text": "No."}]),
    ],
)
async def test_a_message_becomes_blocks(message: Json, content: list[Json]) -> None:
    assert (await whole(completion(message)))["content"] == content


async def test_a_whole_answer_has_all_that_anthropics_have() -> None:
    answer = await whole(completion({"content": "Hi"}))
    assert answer.pop("id").startswith("msg_")
    assert answer == {
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": COUNTED,
    }


FINISHES = [
    ("stop", {}, {}, ("end_turn", None)),
    (None, {}, {}, ("end_turn", None)),
    ("length", {}, {}, ("max_tokens", None)),
    ("content_filter", {}, {}, ("refusal", None)),
    ("stop", {"refusal": "No."}, {}, ("refusal", None)),
    ("tool_calls", {"tool_calls": [call(1)]}, {}, ("tool_use", None)),
    ("stop", {"tool_calls": [call(1)]}, {"stop_reason": "END"}, ("tool_use", None)),
    ("length", {"tool_calls": [call(1)]}, {}, ("max_tokens", None)),
    ("stop", {}, {"stop_reason": "END"}, ("stop_sequence", "END")),
    ("stop", {}, {"matched_stop": "END"}, ("stop_sequence", "END")),
    ("stop", {}, {"matched_stop": 128009, "stop_reason": None}, ("end_turn", None)),
    ("stop", {}, {"stop_reason": "not asked for"}, ("end_turn", None)),
]


@pytest.mark.parametrize(("finish", "said", "more", "stopped"), FINISHES)
async def test_why_it_ended(finish: str | None, said: Json, more: Json, stopped: tuple[str, str | None]) -> None:
    message = await whole(completion({"content": "x", **said}, finish, **more), stop_sequences=["END"])
    streamed = await events_of([chunk({"content": "x", **said}), chunk({}, finish, **more)], stop_sequences=["END"])
    assert (message["stop_reason"], message["stop_sequence"]) == stopped
    assert streamed[-2]["delta"] == {"stop_reason": stopped[0], "stop_sequence": stopped[1]}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, UNKNOWN),
        ({"prompt_tokens": None}, UNKNOWN),
        (USAGE, COUNTED),
        (USAGE | {"prompt_tokens_details": None}, COUNTED),
        (
            USAGE | {"prompt_tokens_details": {"cached_tokens": 8}},
            COUNTED | {"input_tokens": 2, "cache_read_input_tokens": 8},
        ),
        (USAGE | {"prompt_tokens_details": {"cached_tokens": 0}}, COUNTED | {"cache_read_input_tokens": 0}),
    ],
)
async def test_cached_tokens_are_no_input_tokens(usage: Any, expected: Json) -> None:
    assert (await whole(completion({"content": "x"}, usage=usage)))["usage"] == expected
    streamed = await events_of([chunk({"content": "x"}, "stop"), {"choices": [], "usage": usage}])
    assert streamed[-2]["usage"] == expected


async def test_thoughts_that_nobody_wants_are_left_out() -> None:
    for thinking in ({"type": "disabled"}, {"type": "enabled", "budget_tokens": 1024, "display": "omitted"}):
        message = await whole(completion({"content": "Hi", "reasoning": "Hm."}), thinking=thinking)
        assert message["content"] == [{"type": "text", "text": "Hi"}]
        streamed = await events_of([chunk({"reasoning": "Hm."}), chunk({"content": "Hi"})], thinking=thinking)
        assert accumulated(streamed)["content"] == [{"type": "text", "text": "Hi"}]


async def test_a_call_that_was_cut_is_left_out_and_another_broken_one_is_an_error() -> None:
    message = {"content": "x", "tool_calls": [call(1, '{"a": ')]}
    cut = await whole(completion(message, "length"))
    assert (cut["content"], cut["stop_reason"]) == ([{"type": "text", "text": "x"}], "max_tokens")
    for arguments in ('{"a": ', "[1]", "null", "x"):
        with pytest.raises(EngineFailedError):
            await whole(completion({"tool_calls": [call(1, arguments)]}, "tool_calls"))


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"choices": []},
        {"choices": {}},
        {"choices": [{"message": {"content": ["x"]}}]},
        {"choices": [{"message": {"tool_calls": [{"function": {"name": ""}}]}}]},
        {"choices": [{"message": {"tool_calls": [{"function": {"name": "f", "arguments": {}}}]}}]},
    ],
)
async def test_an_answer_that_is_none_is_the_engines_failure(answer: Json) -> None:
    with pytest.raises(EngineFailedError):
        await whole(answer)


async def test_a_call_without_an_id_gets_one() -> None:
    calls = [{"function": {"name": "f"}}, {"id": "", "function": {"name": "f"}}]
    ids = [each["id"] for each in (await whole(completion({"tool_calls": calls})))["content"]]
    assert all(each.startswith("toolu_") for each in ids)
    assert len(set(ids)) == 2


async def test_events_come_in_anthropics_order() -> None:
    chunks = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning": "H", "reasoning_content": "H"}),
        chunk({"reasoning_content": "m."}),
        chunk({"content": "Let "}),
        chunk({"content": "me see."}),
        chunk({"tool_calls": [call(1, "", index=0)]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": " 1}"}}]}),
        chunk({"tool_calls": [call(2, "{}", index=1)]}),
        chunk({}, "tool_calls"),
        {"choices": [], "usage": USAGE},
    ]
    first, *events = await events_of(chunks)
    assert first["message"].pop("id").startswith("msg_")
    assert first == {
        "type": "message_start",
        "message": {
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": UNKNOWN,
        },
    }

    def start(index: int, begun: Json) -> Json:
        return {"type": "content_block_start", "index": index, "content_block": begun}

    def delta(index: int, kind: str, **given_: str) -> Json:
        return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **given_}}

    assert events == [
        start(0, {"type": "thinking", "thinking": "", "signature": ""}),
        delta(0, "thinking_delta", thinking="H"),
        delta(0, "thinking_delta", thinking="m."),
        {"type": "content_block_stop", "index": 0},
        start(1, {"type": "text", "text": ""}),
        delta(1, "text_delta", text="Let "),
        delta(1, "text_delta", text="me see."),
        {"type": "content_block_stop", "index": 1},
        start(2, block(1)),
        delta(2, "input_json_delta", partial_json='{"a":'),
        delta(2, "input_json_delta", partial_json=" 1}"),
        {"type": "content_block_stop", "index": 2},
        start(3, block(2)),
        delta(3, "input_json_delta", partial_json="{}"),
        {"type": "content_block_stop", "index": 3},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": COUNTED,
        },
        {"type": "message_stop"},
    ]


async def test_usage_that_is_there_from_the_beginning_is_told_at_once() -> None:
    first, *_ = await events_of([chunk({"content": "x"}) | {"usage": USAGE}])
    assert first["message"]["usage"] == COUNTED


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(st.text(max_size=3), VALUES, max_size=3)


@settings(max_examples=50)
@given(data=st.data(), inputs=st.lists(ARGUMENTS, max_size=3), said=st.text(max_size=9), thought=st.text(max_size=9))
async def test_however_an_answer_is_cut_the_client_gets_the_message_of_the_whole_one(
    data: Any, inputs: list[Json], said: str, thought: str
) -> None:
    def pieces(text: str) -> list[str]:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=3)))
        return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    calls = [call(number, json.dumps(each), index=number) for number, each in enumerate(inputs)]
    chunks = [chunk({"reasoning": piece}) for piece in pieces(thought)]
    chunks += [chunk({"content": piece}) for piece in pieces(said)]
    for each in calls:
        first, *rest = pieces(each["function"]["arguments"])
        chunks.append(chunk({"tool_calls": [each | {"function": each["function"] | {"arguments": first}}]}))
        chunks += [
            chunk({"tool_calls": [{"index": each["index"], "function": {"arguments": piece}}]}) for piece in rest
        ]
    chunks += [chunk({}, "tool_calls" if calls else "stop"), {"choices": [], "usage": USAGE}]
    message = await whole(
        completion(
            {"content": said, "reasoning": thought, "tool_calls": calls or None}, "tool_calls" if calls else "stop"
        )
    )
    streamed = accumulated(await events_of(chunks))
    assert streamed | {"id": ""} == message | {"id": ""}


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [{"choices": [{"delta": {"content": 7}}]}],
        [chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]})],
        [
            chunk({"tool_calls": [call(1, "", index=0), call(2, "", index=1)]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
        ],
    ],
    ids=["empty", "no chat's", "a call of nothing", "a piece of a call after its end"],
)
async def test_events_that_make_no_message_are_the_engines_failure(chunks: list[Json]) -> None:
    with pytest.raises(EngineFailedError):
        await events_of(chunks)


async def test_what_goes_wrong_in_the_middle_comes_out_of_the_events() -> None:
    engine = TranslatingEngine(ChatEngine([chunk({"content": "x"}), UnavailableError("gone")]))
    answer = await engine.answer(MESSAGES, REQUEST | {"stream": True})
    assert isinstance(answer, Stream)
    kinds = [(await anext(answer))["type"] for _ in range(3)]
    assert kinds == ["message_start", "content_block_start", "content_block_delta"]
    with pytest.raises(UnavailableError):
        await anext(answer)


async def test_tokens_are_counted_of_the_chat() -> None:
    request = {"model": "m", "system": "Be brief.", "messages": REQUEST["messages"]}
    assert await TranslatingEngine(ChatEngine({})).answer(COUNT, request) == {"input_tokens": 2}


async def test_an_engine_with_the_api_is_asked_itself() -> None:
    engine = ChatEngine({}, {"native": True}, claims_all=True)
    assert await TranslatingEngine(engine).answer(MESSAGES, REQUEST) == {"native": True}
    assert engine.asked == [(MESSAGES, REQUEST)]


async def test_an_engine_that_turns_out_not_to_have_it_is_asked_for_a_chat() -> None:
    engine = ChatEngine(completion({"content": "Hi"}), claims_all=True)
    answer = await TranslatingEngine(engine).answer(MESSAGES, REQUEST)
    assert isinstance(answer, dict)
    assert answer["content"] == [{"type": "text", "text": "Hi"}]
    assert [endpoint for endpoint, _ in engine.asked] == [MESSAGES, CHAT]


@pytest.mark.parametrize("kind", ["llama.cpp", "vllm", "sglang", "ollama", "openai"])
async def test_messages_are_translated_for_every_engine_that_takes_no_salt_there(kind: Kind) -> None:
    def server(request: SentRequest) -> FakeResponse:
        pages: Json = {
            "/v1/models": {"data": [{"id": "m"}]},
            "/openapi.json": {"paths": {MESSAGES: {}}},
            "/info": {"model_id": "m", "model_type": {}},
            "/model_info": {"is_generation": True},
            "/api/tags": {"models": []},
            "/props": {"default_generation_settings": {"n_ctx": 8}},
            CHAT: completion({"content": "Hi"}),
        }
        path = urlsplit(request.url).path
        return json_response(pages[path]) if path in pages else json_response({}, 501 if "embed" in path else 404)

    connection = EngineConnection(FakeHttpClient(server), "http://engine", 7.0)
    engine = TranslatingEngine(DetectedEngine(connection, ("generate",), kind))
    await engine.describe()
    answer = await engine.answer(MESSAGES, REQUEST)
    assert isinstance(answer, dict)
    assert answer["content"] == [{"type": "text", "text": "Hi"}]
