"""Responses by chats: what comes out for chats' answers, whole and in chunks."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response

from privity.engines.connection import EngineConnection
from privity.engines.detect import DetectedEngine
from privity.engines.engine import Json
from privity.engines.translation.engine import TranslatingEngine
from privity.engines.translation.responses import respond
from privity.engines.translation.responses_events import MAX_OUTPUT
from privity.errors import ApiError, ContextLengthError, EngineFailedError, InvalidRequestError
from privity.streams import Stream
from privity.testing.chat_engine import CHAT, ChatEngine
from privity.testing.fake_http import FakeHttpClient, event_response

Serving = Callable[[dict[str, Any]], tuple[EngineConnection, FakeHttpClient]]

REQUEST: Json = {"model": "m", "input": "hello"}
CALLS = [{"id": "c1", "function": {"name": "f", "arguments": '{"x": 1}'}}, {"id": "c2", "function": {"name": "g"}}]
USAGE = {
    "prompt_tokens": 5,
    "completion_tokens": 3,
    "total_tokens": 8,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
COUNTED = {
    "input_tokens": 5,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 3,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 8,
}
TOKENS = [
    {
        "token": "H",
        "bytes": [72],
        "logprob": -0.5,
        "top_logprobs": [{"token": "H", "bytes": [72], "logprob": -0.5}] * 2,
    },
    {"token": "i", "bytes": [105], "logprob": -0.1, "top_logprobs": None},
]


def counting() -> Any:
    """Return a source of IDs that are numbers."""
    numbers: Iterator[int] = iter(range(1, 1000))
    return lambda count: next(numbers).to_bytes(count, "big")


def numbered(prefix: str, number: int) -> str:
    return f"{prefix}_{number:032x}"


async def answered(request: Json, told: Json | ApiError) -> Json:
    answer = await respond(ChatEngine(told), request, counting(), lambda: 1234.5)
    assert isinstance(answer, dict)
    return answer


async def streamed(request: Json, *answers: Json | ApiError) -> list[Json]:
    answer = await respond(ChatEngine(answers), request | {"stream": True}, counting(), lambda: 1234.5)
    assert isinstance(answer, Stream)
    return [json.loads(json.dumps(event)) async for event in answer]


def whole(reason: str | None = "stop", **message: Any) -> Json:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return {"id": "x", "object": "chat.completion", "choices": [choice], "usage": USAGE}


def chunk(reason: str | None = None, **delta: Any) -> Json:
    return {"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def message(number: int, text: str, status: str = "completed") -> Json:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"id": numbered("msg", number), "type": "message", "role": "assistant", "content": [part], "status": status}


def thought(number: int, text: str) -> Json:
    part = {"type": "reasoning_text", "text": text}
    return {"id": numbered("rs", number), "type": "reasoning", "summary": [], "content": [part], "status": "completed"}


def call(number: int, call_id: str, name: str, arguments: str, status: str = "completed") -> Json:
    named = {"call_id": call_id, "name": name, "arguments": arguments}
    return {"id": numbered("fc", number), "type": "function_call", **named, "status": status}


async def test_a_response_says_what_was_asked_and_what_nothing_was_said_about() -> None:
    assert await answered(REQUEST, whole(content="Hi")) == {
        "id": numbered("resp", 1),
        "object": "response",
        "created_at": 1234,
        "status": "completed",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": "m",
        "output": [message(2, "Hi")],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": None,
        "truncation": "disabled",
        "usage": COUNTED,
    }
    said = {
        "instructions": "Be short.",
        "max_output_tokens": 7,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low"},
        "temperature": 0,
        "text": {"format": {"type": "json_object"}},
        "tool_choice": "none",
        "tools": [{"type": "function", "name": "f"}],
        "top_p": 0.5,
    }
    assert said.items() <= (await answered(REQUEST | said | {"truncation": "auto"}, whole(content="Hi"))).items()


@pytest.mark.parametrize(
    ("answer", "status", "output"),
    [
        (whole(content="Hi"), "completed", [message(2, "Hi")]),
        (whole(content=""), "completed", [message(2, "")]),
        (whole(None, content=None), "completed", [message(2, "")]),
        (whole("length", content="Hi"), "incomplete", [message(2, "Hi", "incomplete")]),
        (whole(content="Hi", reasoning="So."), "completed", [thought(2, "So."), message(3, "Hi")]),
        (whole(reasoning="x", reasoning_content="So."), "completed", [thought(2, "So.")]),
        (whole(content=None, refusal="No."), "completed", [message(2, "No.")]),
        (
            whole("tool_calls", content="Hi", tool_calls=CALLS),
            "completed",
            [message(2, "Hi"), call(3, "c1", "f", '{"x": 1}'), call(4, "c2", "g", "")],
        ),
        (
            whole("length", tool_calls=[CALLS[1] | {"id": None}, CALLS[0]]),
            "incomplete",
            [call(3, numbered("call", 2), "g", ""), call(4, "c1", "f", '{"x": 1}', "incomplete")],
        ),
    ],
)
async def test_what_a_model_says_thinks_and_calls(answer: Json, status: str, output: list[Json]) -> None:
    response = await answered(REQUEST, answer)
    assert (response["status"], response["output"]) == (status, output)
    assert response["incomplete_details"] == ({"reason": "max_output_tokens"} if status == "incomplete" else None)
    Response.model_validate(response, strict=True)


async def test_a_filtered_answer_is_incomplete() -> None:
    response = await answered(REQUEST, whole("content_filter", content="Hi"))
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})


async def test_usage_may_be_unknown_in_part_or_whole() -> None:
    assert (await answered(REQUEST, whole(content="Hi") | {"usage": None}))["usage"] is None
    some = await answered(REQUEST, whole(content="Hi") | {"usage": {"prompt_tokens": 1, "completion_tokens": 2}})
    assert (some["usage"]["total_tokens"], some["usage"]["input_tokens_details"]["cached_tokens"]) == (3, 0)


async def test_the_events_of_a_text_after_a_thought() -> None:
    chunks = [
        chunk(role="assistant", content=""),
        chunk(reasoning_content="So."),
        chunk(content="H"),
        chunk(content="i"),
    ]
    events = await streamed(REQUEST, *chunks, chunk("length"), {"choices": [], "usage": USAGE})
    assert [event.pop("sequence_number") for event in events] == list(range(len(events)))
    first, second, *between, last = events
    head = first["response"]
    assert (head["status"], head["output"], head["usage"]) == ("in_progress", [], None)
    assert [first, second] == [{"type": f"response.{kind}", "response": head} for kind in ("created", "in_progress")]
    thinks = {"output_index": 0, "item_id": numbered("rs", 2), "content_index": 0}
    says = {"output_index": 1, "item_id": numbered("msg", 3), "content_index": 0}
    said = message(3, "Hi", "incomplete")
    assert between == [
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": thought(2, "") | {"status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **thinks, "part": {"type": "reasoning_text", "text": ""}},
        {"type": "response.reasoning_text.delta", **thinks, "delta": "So."},
        {"type": "response.reasoning_text.done", **thinks, "text": "So."},
        {"type": "response.content_part.done", **thinks, "part": {"type": "reasoning_text", "text": "So."}},
        {"type": "response.output_item.done", "output_index": 0, "item": thought(2, "So.")},
        {
            "type": "response.output_item.added",
            "output_index": 1,
            "item": message(3, "", "in_progress") | {"content": []},
        },
        {"type": "response.content_part.added", **says, "part": message(3, "")["content"][0]},
        {"type": "response.output_text.delta", **says, "delta": "H", "logprobs": []},
        {"type": "response.output_text.delta", **says, "delta": "i", "logprobs": []},
        {"type": "response.output_text.done", **says, "text": "Hi", "logprobs": []},
        {"type": "response.content_part.done", **says, "part": said["content"][0]},
        {"type": "response.output_item.done", "output_index": 1, "item": said},
    ]
    final = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "usage": COUNTED}
    assert last == {"type": "response.incomplete", "response": head | final | {"output": [thought(2, "So."), said]}}


async def test_the_events_of_calls_whose_chunks_are_mixed() -> None:
    def part(index: int, arguments: str) -> Json:
        return chunk(tool_calls=[{"index": index, "function": {"arguments": arguments}}])

    opened = [chunk(tool_calls=[each | {"index": index}]) for index, each in enumerate(CALLS)]
    events = await streamed(REQUEST, *opened, part(1, "{"), part(0, " "), part(1, "}"), chunk("tool_calls"))
    calls = [call(2, "c1", "f", '{"x": 1} '), call(3, "c2", "g", "{}")]
    assert events[-1]["response"]["output"] == calls
    assert [(event["type"].removeprefix("response."), event["output_index"]) for event in events[2:-1]] == [
        ("output_item.added", 0),
        ("function_call_arguments.delta", 0),
        ("output_item.added", 1),
        ("function_call_arguments.delta", 1),
        ("function_call_arguments.delta", 0),
        ("function_call_arguments.delta", 1),
        ("function_call_arguments.done", 0),
        ("output_item.done", 0),
        ("function_call_arguments.done", 1),
        ("output_item.done", 1),
    ]
    assert events[2]["item"] == call(2, "c1", "f", "", "in_progress")
    done = {"type": "response.function_call_arguments.done", "output_index": 0, "sequence_number": 8}
    assert events[8] == done | {"item_id": numbered("fc", 2), "name": "f", "arguments": '{"x": 1} '}


def pieces(text: str) -> st.SearchStrategy[list[str]]:
    cuts = st.lists(st.integers(0, len(text)), max_size=5).map(sorted)
    return cuts.map(lambda at: [text[a:b] for a, b in zip([0, *at], [*at, len(text)], strict=True)])


@given(pieces("I think so."), pieces("Hé 🦊 says"), pieces('{"x": "é"}'), pieces('{"y": []}'))
async def test_an_answer_is_the_same_however_it_is_cut(
    thoughts: list[str], texts: list[str], ones: list[str], others: list[str]
) -> None:
    calls = [
        {"id": f"c{index}", "function": {"name": "f", "arguments": "".join(parts)}}
        for index, parts in enumerate((ones, others))
    ]
    expected = await answered(
        REQUEST,
        whole("tool_calls", reasoning_content="".join(thoughts), content="".join(texts), tool_calls=calls),
    )
    chunks = [*(chunk(reasoning_content=each) for each in thoughts), *(chunk(content=each) for each in texts)]
    for index, parts in enumerate((ones, others)):
        chunks.append(chunk(tool_calls=[{"index": index, "id": f"c{index}", "function": {"name": "f"}}]))
        chunks += [chunk(tool_calls=[{"index": index, "function": {"arguments": each}}]) for each in parts]
    events = await streamed(REQUEST, *chunks, chunk("tool_calls") | {"usage": USAGE})
    assert events[-1] == {
        "type": "response.completed",
        "response": expected,
        "sequence_number": len(events) - 1,
    }
    for event in (each for each in events if each["type"].endswith(".done")):
        deltas = [
            each["delta"]
            for each in events
            if each["type"].endswith(".delta") and each["output_index"] == event["output_index"]
        ]
        assert "".join(deltas) == event.get("text", event.get("arguments", "".join(deltas)))


@pytest.mark.parametrize(
    ("members", "alternatives"),
    [({"top_logprobs": 1}, 1), ({"include": ["message.output_text.logprobs"]}, 0), ({}, None)],
)
async def test_probabilities_come_where_they_are_asked_for(members: Json, alternatives: int | None) -> None:
    spoken = chunk(content="Hi")
    spoken["choices"][0]["logprobs"] = {"content": TOKENS}
    events = await streamed(REQUEST | members, spoken, chunk("stop"))
    expected: list[Json] = []
    if alternatives is not None:
        first: Any = TOKENS[0]["top_logprobs"]
        expected = [TOKENS[0] | {"top_logprobs": first[:alternatives]}, TOKENS[1] | {"top_logprobs": []}]
    assert [event["logprobs"] for event in events if "logprobs" in event] == [expected] * 2
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == expected


STRANGE: list[Any] = [
    {"choices": 7},
    {"choices": [7]},
    {"choices": [{"delta": "x"}]},
    {"choices": [{"delta": {"content": 7}}]},
    {"choices": [{"delta": {"tool_calls": {}}}]},
    {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": {}}}]}}]},
    {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "{}"}}]}}]},
    {"choices": [{"delta": {}, "logprobs": {"content": [7]}}]},
    {"choices": [], "usage": {"prompt_tokens": "x"}},
]


@pytest.mark.parametrize("strange", STRANGE)
async def test_an_engine_that_talks_strangely_has_failed(strange: Any) -> None:
    with pytest.raises(EngineFailedError):
        await answered(REQUEST, strange)
    with pytest.raises(EngineFailedError):
        await streamed(REQUEST, strange)


@pytest.mark.parametrize(
    ("param", "expected"),
    [
        ("messages", "input"),
        ("response_format", "text.format"),
        ("tools[3].function.parameters", "tools[3].parameters"),
        ("tools", "tools"),
        (None, None),
    ],
)
async def test_errors_name_the_members_of_this_api(param: str | None, expected: str | None) -> None:
    for asked in (answered, streamed):
        error = InvalidRequestError(f"`{param}`: no `messages.`", param=param)
        with pytest.raises(InvalidRequestError) as caught:
            await asked(REQUEST, error)
        assert caught.value is error
        assert (error.param, error.message) == (expected, f"`{expected}`: no `messages.`")


async def test_an_error_in_the_middle_comes_after_what_was_said() -> None:
    answer = await respond(ChatEngine([chunk(content="H"), ContextLengthError("Full.")]), REQUEST | {"stream": True})
    assert isinstance(answer, Stream)
    kinds = [(await anext(answer))["type"] for _ in range(5)]
    assert kinds[-1] == "response.output_text.delta"
    with pytest.raises(ContextLengthError):
        await anext(answer)


async def test_an_answer_without_an_end_ends() -> None:
    with pytest.raises(EngineFailedError, match="more than"):
        await streamed(REQUEST, *[chunk(content="x" * (MAX_OUTPUT // 2))] * 2, chunk(content="x"))


async def test_ids_are_random() -> None:
    ids = set()
    for _ in range(2):
        response = await respond(ChatEngine(whole(content="Hi")), REQUEST)
        assert isinstance(response, dict)
        ids |= {response["id"], response["output"][0]["id"]}
    assert len(ids) == 4


async def test_an_engine_without_the_endpoint_is_asked_for_a_chat() -> None:
    engine = ChatEngine(whole(content="Hi"))
    translated = await TranslatingEngine(engine).answer("/v1/responses", REQUEST)
    assert isinstance(translated, dict)
    assert translated["object"] == "response"
    assert engine.asked == [(CHAT, {"model": "m", "messages": [{"role": "user", "content": "hello"}]})]


NATIVE: list[Json] = [
    {"type": "response.created", "sequence_number": 0, "response": {"model": "m"}},
    {"type": "response.reasoning_part.added", "sequence_number": 1},
    {"type": "response.completed", "sequence_number": 2, "response": {"model": "m", "usage": {"total_tokens": 3}}},
]
DOCUMENT: Json = {
    "paths": {
        "/v1/chat/completions": {},
        "/v1/responses": {
            "post": {
                "requestBody": {
                    "content": {"application/json": {"schema": {"properties": {"cache_salt": {"type": "string"}}}}}
                }
            }
        },
    }
}


async def test_vllm_answers_itself_and_ends_its_stream_without_done(serving: Serving) -> None:
    rows = [{"id": "m", "object": "model", "owned_by": "vllm", "max_model_len": 8}]
    pages = {"/v1/models": {"data": rows}, "/openapi.json": DOCUMENT}
    connection, http = serving(pages | {"/v1/responses": event_response(NATIVE, done=False)})
    engine = TranslatingEngine(DetectedEngine(connection))
    await engine.describe()
    answer = await engine.answer("/v1/responses", REQUEST | {"stream": True, "store": False})
    assert isinstance(answer, Stream)
    assert [event async for event in answer] == NATIVE
    assert (http.sent[-1].url, http.sent[-1].json()["store"]) == ("http://engine/v1/responses", False)
