import json
from contextlib import aclosing
from typing import Any

import pytest

from privity.engines.engine import Json
from privity.engines.llama_cpp.structured import wanted_schema
from privity.errors import ApiError, EngineFailedError, InvalidRequestError
from privity.testing.fake_http import event_response
from privity.testing.fake_llama import CANARY, FakeLlama, llama_error, ready

CHAT = "/v1/chat/completions"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer", "not": {"const": 0}}}, "required": ["a"]}
FORMATS: dict[str, Json] = {
    "json_object": {"type": "json_object"},
    "json_schema": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
}
PIECES = ('{"a"', ":", "12", "}")
FITS = "".join(PIECES)


def asking(wanted: Json, **members: Any) -> Json:
    messages = [{"role": "user", "content": "hello"}]
    return {"model": "tiny", "messages": messages, "response_format": wanted, **members}


async def whole(llama: FakeLlama, body: Json) -> Json:
    engine, http = await ready(llama)
    try:
        answer = await engine.answer(CHAT, body)
    finally:
        assert all(each.closed for each in http.answers)
    assert isinstance(answer, dict)
    return answer


async def streamed(llama: FakeLlama, body: Json, into: list[Json]) -> None:
    """Put the chunks into a list, up to the error if there is one."""
    engine, http = await ready(llama)
    answer = await engine.answer(CHAT, body | {"stream": True})
    assert not isinstance(answer, dict)
    try:
        async for chunk in answer:
            into.append(chunk)  # noqa: PERF401  # what came before an error counts
    finally:
        assert all(each.closed for each in http.answers)


def text_of(chunks: list[Json]) -> str:
    return "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])


@pytest.mark.parametrize(
    ("wanted", "schema"),
    [
        (None, None),
        ({"type": "text"}, None),
        (FORMATS["json_object"], {"type": "object"}),
        (FORMATS["json_schema"], SCHEMA),
        ({"type": "json_schema", "json_schema": {"name": "x"}}, {"type": "object"}),
    ],
)
def test_the_format_says_which_schema_the_answer_must_fit(wanted: Json | None, schema: Json | None) -> None:
    assert wanted_schema({"response_format": wanted}) == schema


@pytest.mark.parametrize("wanted", FORMATS.values(), ids=FORMATS)
async def test_a_whole_answer_is_the_json_and_nothing_else(wanted: Json) -> None:
    answer = await whole(FakeLlama(writes=[PIECES]), asking(wanted))
    (choice,) = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": FITS, "refusal": None}
    assert choice["finish_reason"] == "stop"
    assert (answer["object"], answer["model"]) == ("chat.completion", "tiny")
    assert answer["usage"]["completion_tokens"] == len(FITS)


@pytest.mark.parametrize("wanted", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("usage", [True, False])
async def test_a_streamed_answer_comes_piece_by_piece(wanted: Json, *, usage: bool) -> None:
    chunks: list[Json] = []
    body = asking(wanted, stream_options={"include_usage": usage})
    await streamed(FakeLlama(writes=[PIECES]), body, chunks)
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert deltas == [{"role": "assistant", "content": ""}, *({"content": piece} for piece in PIECES), {}]
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert reasons == [None] * (len(reasons) - 1) + ["stop"]
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks}) == 1
    assert ("usage" in chunks[-1]) == usage
    if usage:
        assert (chunks[-1]["choices"], chunks[-1]["usage"]["completion_tokens"]) == ([], len(FITS))


async def test_what_max_tokens_cuts_finishes_with_length() -> None:
    body, chunks = asking(FORMATS["json_schema"], max_tokens=3), list[Json]()
    (choice,) = (await whole(FakeLlama(writes=[FITS]), body))["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (FITS[:3], "length")
    await streamed(FakeLlama(writes=[FITS]), body, chunks)
    assert (text_of(chunks), chunks[-1]["choices"][0]["finish_reason"]) == (FITS[:3], "length")


async def test_what_follows_a_fitting_value_is_left_out() -> None:
    (choice,) = (await whole(FakeLlama(writes=[FITS + " and more"]), asking(FORMATS["json_schema"])))["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (FITS, "stop")


@pytest.mark.parametrize("bad", ["", "hello", '{"a":0}', '{"a":', "[]"])
async def test_an_answer_that_does_not_fit_is_an_error(bad: str) -> None:
    body, chunks = asking(FORMATS["json_schema"]), list[Json]()
    for run in (whole(FakeLlama(writes=[bad]), body), streamed(FakeLlama(writes=[bad]), body, chunks)):
        with pytest.raises(EngineFailedError) as caught:
            await run
        assert (caught.value.code, caught.value.param) == ("model_output_invalid", "response_format")
    assert text_of(chunks) == bad
    assert all(choice["finish_reason"] is None for chunk in chunks for choice in chunk["choices"])


@pytest.mark.parametrize("schema", [{"type": "text"}, {"$ref": "#/nowhere"}, {"pattern": "("}])
@pytest.mark.parametrize("stream", [True, False])
async def test_an_invalid_schema_is_the_clients_error(schema: Json, *, stream: bool) -> None:
    engine, http = await ready(FakeLlama())
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with pytest.raises(InvalidRequestError) as caught:
        await engine.answer(CHAT, asking(wanted, stream=stream))
    assert (caught.value.status, caught.value.code) == (400, "invalid_schema")
    assert caught.value.param == "response_format.json_schema.schema"
    assert http.sent == []


async def test_a_format_beside_tools_is_refused_not_ignored() -> None:
    engine, _ = await ready(FakeLlama())
    tools = [{"type": "function", "function": {"name": "f"}}]
    with pytest.raises(InvalidRequestError) as caught:
        await engine.answer(CHAT, asking(FORMATS["json_object"], tools=tools))
    assert (caught.value.status, caught.value.param) == (400, "response_format")


@pytest.mark.parametrize("path", ["/apply-template", "/tokenize", "/completion"])
@pytest.mark.parametrize("stream", [True, False])
async def test_an_engine_that_fails_keeps_its_words_inside(path: str, *, stream: bool) -> None:
    engine, http = await ready(FakeLlama(instead={path: lambda _request: llama_error(500)}))
    with pytest.raises(ApiError) as caught:
        await engine.answer(CHAT, asking(FORMATS["json_object"], stream=stream))
    assert caught.value.status == 502
    assert CANARY not in json.dumps(caught.value.body())
    assert all(each.closed for each in http.answers)


async def test_an_error_in_the_stream_ends_it_with_ours() -> None:
    events = [{"content": "{", "stop": False}, {"error": {"message": CANARY}}]
    llama = FakeLlama(instead={"/completion": lambda _request: event_response(events)})
    chunks: list[Json] = []
    with pytest.raises(EngineFailedError) as caught:
        await streamed(llama, asking(FORMATS["json_object"]), chunks)
    assert CANARY not in caught.value.message
    assert text_of(chunks) == "{"


@pytest.mark.parametrize("taken", [1, 2, 3])
async def test_leaving_early_closes_the_engines_answer(taken: int) -> None:
    engine, http = await ready(FakeLlama(writes=[PIECES]))
    answer = await engine.answer(CHAT, asking(FORMATS["json_schema"], stream=True))
    assert not isinstance(answer, dict)
    async with aclosing(answer):
        for _ in range(taken):
            await anext(answer)
    assert http.answers[-1].closed
