import json
from contextlib import aclosing
from typing import Any

import pytest

from privity.catalogue.model import Source
from privity.engines.connection import EngineConnection
from privity.engines.engine import EngineModel, Json, evidence_for
from privity.engines.llama_cpp.adapter import LlamaCppEngine
from privity.engines.llama_cpp.completion import Usage
from privity.errors import (
    ApiError,
    ContextLengthError,
    EngineFailedError,
    EngineTimeoutError,
    InvalidRequestError,
    UnavailableError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, Server, event_response, json_response
from privity.testing.fake_llama import CANARY, FakeLlama, llama_error, ready

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
HELLO = [{"role": "user", "content": "hello"}]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
CALL = '{"name": "f", "arguments": {"x": 1}}'


def engine_of(server: Server) -> tuple[LlamaCppEngine, FakeHttpClient]:
    http = FakeHttpClient(server)
    return LlamaCppEngine(EngineConnection(http, "http://engine", 7.0), lambda: 99.5), http


async def whole(llama: FakeLlama, endpoint: str, **body: Any) -> Json:
    engine, http = await ready(llama)
    try:
        answer = await engine.answer(endpoint, {"model": "tiny", **body})
    finally:
        assert all(each.closed for each in http.answers)
    assert isinstance(answer, dict)
    return answer


async def streamed(llama: FakeLlama, endpoint: str, **body: Any) -> list[Json]:
    engine, http = await ready(llama)
    answer = await engine.answer(endpoint, {"model": "tiny", "stream": True, **body})
    assert not isinstance(answer, dict)
    events = [event async for event in answer]
    assert all(each.closed for each in http.answers)
    return events


# What it can do


@pytest.mark.parametrize(
    ("llama", "tasks"),
    [
        (FakeLlama(tools=False), ("generate",)),
        (FakeLlama(tools=True), ("generate", "tool_calling")),
        (FakeLlama(tools=False, vision=True), ("generate", "vision")),
        (FakeLlama(tools=True, vision=True), ("generate", "tool_calling", "vision")),
        (FakeLlama(embeds=True), ("embed",)),
    ],
)
async def test_tasks_are_what_the_engine_says_of_itself(llama: FakeLlama, tasks: tuple[str, ...]) -> None:
    engine, http = engine_of(llama)
    source: Source = "probed" if llama.embeds else "engine"
    evidence = evidence_for(tasks, source, 99 if llama.embeds else None)
    assert await engine.describe() == (EngineModel("tiny", tasks, 4096, evidence=evidence),)
    assert all(answer.closed for answer in http.answers)


async def test_an_older_server_that_tells_less_generates() -> None:
    props = {"default_generation_settings": {"n_ctx": 512}}
    engine, _ = engine_of(FakeLlama(instead={"/props": lambda _request: json_response(props)}))
    assert [(model.tasks, model.context_length) for model in await engine.describe()] == [(("generate",), 512)]


async def test_only_the_list_is_asked_for_as_long_as_it_stays() -> None:
    llama = FakeLlama()
    engine, http = engine_of(llama)
    for _ in range(3):
        await engine.describe()
    assert [sent.url.removeprefix("http://engine") for sent in http.sent][3:] == ["/v1/models"] * 2
    llama.name, llama.embeds = "other", True
    assert [(model.name, model.tasks) for model in await engine.describe()] == [("other", ("embed",))]


@pytest.mark.parametrize("path", ["/v1/models", "/props"])
@pytest.mark.parametrize("answer", [llama_error(503), json_response({}), FakeResponse(200, [], [b"x"])])
async def test_a_server_that_does_not_tell_is_an_upstream_error_until_it_does(path: str, answer: FakeResponse) -> None:
    llama = FakeLlama(instead={path: lambda _request: answer})
    engine, http = engine_of(llama)
    with pytest.raises(UpstreamProtocolError):
        await engine.describe()
    llama.instead.clear()
    assert len(await engine.describe()) == 1
    assert all(each.closed for each in http.answers)


async def test_a_server_without_a_model_has_none() -> None:
    engine, _ = engine_of(FakeLlama(instead={"/v1/models": lambda _request: json_response({"data": []})}))
    assert await engine.describe() == ()


# Chat


async def test_a_plain_chat_passes() -> None:
    engine, http = await ready(FakeLlama(writes=["Hello."]))
    body = {"model": "tiny", "messages": HELLO, "temperature": 0.5}
    answer = await engine.answer(CHAT, body | {"__verbose": True, "grammar": "x", "id_slot": 1})
    assert isinstance(answer, dict)
    assert answer["choices"][0]["message"]["content"] == "Hello."
    assert http.sent[0].json() == body | {"id_slot": 0, "cache_prompt": False}


async def test_a_developers_message_is_a_systems_message() -> None:
    engine, http = await ready(FakeLlama(writes=["x"]))
    await engine.answer(CHAT, {"model": "tiny", "messages": [{"role": "developer", "content": "Be brief."}, *HELLO]})
    assert [message["role"] for message in http.sent[0].json()["messages"]] == ["system", "user"]


@pytest.mark.parametrize("text", [CALL, f"```json\n{CALL}\n```", f"<tool_call>\n{CALL}\n</tool_call>"])
@pytest.mark.parametrize("choice", [{}, {"tool_choice": "auto"}])
async def test_a_call_that_the_model_wrote_as_text_becomes_one(text: str, choice: Json) -> None:
    answer = await whole(FakeLlama(writes=[text]), CHAT, messages=HELLO, tools=TOOLS, **choice)
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"x":1}'}
    events = await streamed(FakeLlama(writes=[text]), CHAT, messages=HELLO, tools=TOOLS, **choice)
    assert any(choice["delta"].get("tool_calls") for event in events for choice in event["choices"])
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_where_calls_are_not_wanted_text_stays_text() -> None:
    answer = await whole(FakeLlama(writes=[CALL]), CHAT, messages=HELLO, tools=TOOLS, tool_choice="none")
    assert answer["choices"][0]["message"]["content"] == CALL


@pytest.mark.parametrize("text", ["Hello.", "{ hello", "```python\nx\n```", ""])
async def test_streamed_text_arrives_whole_and_in_order(text: str) -> None:
    options = {"include_usage": True}
    events = await streamed(FakeLlama(writes=[text]), CHAT, messages=HELLO, tools=TOOLS, stream_options=options)
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == text
    assert (events[-1]["choices"], events[-1]["usage"]["completion_tokens"]) == ([], len(text))


async def test_several_choices_are_counted_together() -> None:
    answer = await whole(FakeLlama(writes=["a", "bc", "def"]), CHAT, messages=HELLO, n=3)
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["a", "bc", "def"]
    assert answer["usage"] == Usage(10, 6).as_json()
    options = {"include_usage": True}
    events = await streamed(FakeLlama(writes=["a", "bc"]), CHAT, messages=HELLO, n=2, stream_options=options)
    assert events[-1]["usage"] == Usage(10, 3).as_json()
    assert sum("usage" in event for event in events) == 1


# Text completions


async def test_a_completion_passes() -> None:
    assert (await whole(FakeLlama(writes=["x"]), COMPLETIONS, prompt="a"))["choices"][0]["text"] == "x"


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_streamed_completion_tells_its_usage_apart_and_only_where_wanted(*, wanted: bool) -> None:
    options = {"include_usage": wanted}
    events = await streamed(FakeLlama(writes=["ab"]), COMPLETIONS, prompt="a", stream_options=options)
    texts = [choice["text"] for event in events for choice in event["choices"]]
    assert texts == ["a", "b", ""]
    assert [event["usage"]["completion_tokens"] for event in events if "usage" in event] == ([2] if wanted else [])
    assert (events[-1]["choices"] == []) == wanted


@pytest.mark.parametrize("name", ["echo", "suffix", "logprobs", "best_of"])
async def test_what_the_engine_would_ignore_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await whole(FakeLlama(), COMPLETIONS, prompt="a", **{name: 2})
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, name, "unsupported_parameter")


@pytest.mark.parametrize("name", ["echo", "suffix", "logprobs", "best_of"])
async def test_what_is_not_asked_for_is_not_refused(name: str) -> None:
    answer = await whole(FakeLlama(writes=["x"]), COMPLETIONS, prompt="a", **{name: None})
    assert answer["choices"][0]["text"] == "x"


async def test_the_best_of_one_is_that_one() -> None:
    answer = await whole(FakeLlama(writes=["x"]), COMPLETIONS, prompt="a", best_of=1)
    assert answer["choices"][0]["text"] == "x"


# Embeddings


@pytest.mark.parametrize(("given", "count"), [("a", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1], [2, 3]], 2)])
async def test_embeddings_pass(given: Any, count: int) -> None:
    assert len((await whole(FakeLlama(embeds=True), EMBEDDINGS, input=given))["data"]) == count


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ("x" * 9, "`input`"),
        (["a", "x" * 9, "x" * 99], "`input[1]`"),
        ([1] * 9, "`input`"),
        ([[1], [2] * 9], "`input[1]`"),
    ],
)
async def test_an_input_that_is_too_long_is_the_clients_error(given: Any, where: str) -> None:
    with pytest.raises(ContextLengthError) as caught:
        await whole(FakeLlama(embeds=True, context=8), EMBEDDINGS, input=given)
    error = caught.value
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "input")
    assert error.message.startswith(f"{where} has 9 tokens; the model takes 8.")


async def test_an_engine_that_fails_at_an_input_of_good_length_has_failed() -> None:
    llama = FakeLlama(embeds=True)
    engine, http = await ready(llama)
    llama.instead[EMBEDDINGS] = lambda _request: llama_error(500)
    with pytest.raises(EngineFailedError) as caught:
        await engine.answer(EMBEDDINGS, {"input": ["a", "b"]})
    assert CANARY not in json.dumps(caught.value.body())
    assert all(each.closed for each in http.answers)


# Trouble, at every endpoint, streaming and not

REQUESTS: list[tuple[str, Json]] = [
    (CHAT, {"messages": HELLO}),
    (CHAT, {"messages": HELLO, "stream": True}),
    (CHAT, {"messages": HELLO, "tools": TOOLS, "stream": True}),
    (CHAT, {"messages": HELLO, "tools": TOOLS, "tool_choice": "required"}),
    (CHAT, {"messages": HELLO, "response_format": {"type": "json_object"}}),
    (CHAT, {"messages": HELLO, "response_format": {"type": "json_object"}, "stream": True}),
    (CHAT, {"messages": HELLO, "n": 2}),
    (COMPLETIONS, {"prompt": "a"}),
    (COMPLETIONS, {"prompt": "a", "stream": True}),
    (EMBEDDINGS, {"input": "a"}),
]
GENERATING = {CHAT, COMPLETIONS, EMBEDDINGS, "/completion"}


class Troubled:
    """A llama.cpp server that fails where it would generate, once it has described itself."""

    def __init__(self, trouble: FakeResponse | UpstreamError) -> None:
        self._llama = FakeLlama()
        self._trouble = trouble
        self.described = False

    def __call__(self, request: SentRequest) -> FakeResponse:
        if not self.described or request.url.removeprefix("http://engine") not in GENERATING:
            return self._llama(request)
        if isinstance(self._trouble, UpstreamError):
            raise self._trouble
        return FakeResponse(self._trouble.status, self._trouble.headers, self._trouble.pieces)


async def trouble(what: FakeResponse | UpstreamError, endpoint: str, body: Json) -> ApiError:
    server = Troubled(what)
    engine, http = engine_of(server)
    await engine.describe()
    server.described = True
    with pytest.raises(ApiError) as caught:  # noqa: PT012  # it comes at once or out of the events
        answer = await engine.answer(endpoint, {"model": "tiny", **body})
        assert not isinstance(answer, dict)
        [event async for event in answer]
    assert all(each.closed for each in http.answers)
    assert CANARY not in json.dumps(caught.value.body())
    return caught.value


@pytest.mark.parametrize(("endpoint", "body"), REQUESTS)
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UpstreamUnreachableError(CANARY), UnavailableError),
        (UpstreamTimeoutError(CANARY), EngineTimeoutError),
        (UpstreamProtocolError(CANARY), EngineFailedError),
    ],
)
async def test_an_engine_out_of_reach(
    error: UpstreamError, expected: type[ApiError], endpoint: str, body: Json
) -> None:
    assert type(await trouble(error, endpoint, body)) is expected


@pytest.mark.parametrize(("endpoint", "body"), REQUESTS)
@pytest.mark.parametrize("status", [400, 500, 501, 503])
async def test_an_engine_that_refuses_keeps_its_words_inside(status: int, endpoint: str, body: Json) -> None:
    assert (await trouble(llama_error(status), endpoint, body)).status == {400: 400, 503: 503}.get(status, 502)


@pytest.mark.parametrize(("endpoint", "body"), REQUESTS)
@pytest.mark.parametrize(
    "broken",
    [
        event_response([], done=False),
        event_response([{"error": {"code": 500, "message": CANARY}}]),
        FakeResponse(200, [(b"content-type", b"text/event-stream")], [b'data: {"x"', UpstreamProtocolError("cut")]),
        json_response({"error": {"code": 500, "message": CANARY}}),
    ],
    ids=["empty", "error event", "cut", "error"],
)
async def test_an_engine_that_breaks_off_has_failed(broken: FakeResponse, endpoint: str, body: Json) -> None:
    assert type(await trouble(broken, endpoint, body)) is EngineFailedError


@pytest.mark.parametrize(("endpoint", "body"), [(path, body) for path, body in REQUESTS if body.get("stream")])
@pytest.mark.parametrize("n", [1, 2])
async def test_leaving_early_closes_every_answer(endpoint: str, body: Json, n: int) -> None:
    engine, http = await ready(FakeLlama(writes=["{}", "{}"]))
    answer = await engine.answer(endpoint, {"model": "tiny", "n": n, **body})
    assert not isinstance(answer, dict)
    async with aclosing(answer):
        await anext(answer)
    assert all(each.closed for each in http.answers)
