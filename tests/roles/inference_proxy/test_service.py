import base64
import json
import logging
import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from privity.catalogue.declared import Declared
from privity.catalogue.dialects import openai
from privity.catalogue.model import Evidence
from privity.engines.connection import EngineConnection
from privity.engines.detect import DetectedEngine
from privity.engines.embedded.fetch import ModelFiles
from privity.engines.engine import Answer, Body, EngineModel, Json
from privity.engines.translation.engine import TranslatingEngine
from privity.errors import (
    ApiError,
    EngineFailedError,
    InvalidRequestError,
    ModelNotFoundError,
    RouteNotFoundError,
    StartError,
    UnavailableError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
    WrongTaskError,
)
from privity.protocol.routed_model import RoutedModel
from privity.roles.inference_proxy.service import TIMEOUTS_UNTIL_DOWN, InferenceProxy, ids_for, require_models
from privity.streams import Stream
from privity.testing.fake_http import FakeHttpClient, json_response
from privity.testing.fake_llama import CANARY, FakeLlama, llama_error
from privity.testing.inference_rig import NOW, inference_proxy
from privity.testing.pictures import image_part
from privity.testing.sealed import SALT

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
HELLO = [{"role": "user", "content": "hello"}]
IMAGE = image_part()
TOOLS = [{"type": "function", "function": {"name": "f"}}]
FILES = ModelFiles(Path("/m.gguf"), None, ("org/Tiny", "tiny"), 1234, "org", None, None, None)


class Engine:
    """An engine that serves what it is told, or raises it."""

    def __init__(self, *now: EngineModel) -> None:
        self.now: tuple[EngineModel, ...] | UpstreamError = now

    async def describe(self) -> tuple[EngineModel, ...]:
        if isinstance(self.now, UpstreamError):
            raise self.now
        return self.now

    async def answer(self, endpoint: str, body: Body) -> Answer:
        assert isinstance(body, dict)
        return {"endpoint": endpoint, **body}


def chat_model(name: str, *tasks: str) -> EngineModel:
    return EngineModel(name, tasks or ("generate",))


async def listed(engine: Engine, files: ModelFiles | None = None) -> InferenceProxy:
    return await inference_proxy(engine, files)


async def over(llama: FakeLlama) -> tuple[InferenceProxy, FakeHttpClient]:
    """Return a proxy over a llama.cpp server, as `privity up` has it."""
    http = FakeHttpClient(llama)
    proxy = await inference_proxy(DetectedEngine(EngineConnection(http, "http://engine", 7.0)), FILES)
    http.sent.clear()
    return proxy, http


def rows_of(proxy: InferenceProxy) -> list[Json]:
    return [openai.row(model, each, NOW) for model in proxy.catalogue.models for each in model.ids]


def body_of(members: Json) -> bytes:
    return json.dumps({"model": "tiny", "cache_salt": SALT, **members}).encode()


async def whole(proxy: InferenceProxy, endpoint: str, **members: Any) -> Json:
    answer = await proxy.answer(endpoint, body_of(members))
    assert isinstance(answer, dict)
    return answer


async def refused(proxy: InferenceProxy, endpoint: str, **members: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await proxy.answer(endpoint, body_of(members))
    return caught.value


# The list


async def test_an_embedded_engines_model_has_the_ids_of_its_source() -> None:
    proxy, _ = await over(FakeLlama("whatever"))
    row = {
        "object": "model",
        "created": 1234,
        "owned_by": "org",
        "tasks": ["generate", "tool_calling"],
        "status": "available",
        "max_model_len": 4096,
        "context_length": 4096,
        "root": "whatever",
        "evidence": {"generate": {"source": "engine"}, "tool_calling": {"source": "engine"}},
    }
    assert rows_of(proxy) == [
        {"id": "org/Tiny", **row, "aliases": ["tiny"]},
        {"id": "tiny", **row, "canonical": "org/Tiny"},
    ]


async def test_a_remote_engines_models_have_its_own_names_and_short_ones() -> None:
    engine = Engine(EngineModel("Org/Big", ("generate",), 512, 7, "Org"), chat_model("small:1b"))
    rows = rows_of(await listed(engine))
    assert [(row["id"], row["created"], row["owned_by"], row["root"]) for row in rows] == [
        ("Org/Big", 7, "Org", "Org/Big"),
        ("big", 7, "Org", "Org/Big"),
        ("small:1b", int(NOW.timestamp()), "unknown", "small:1b"),
    ]


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("tiny", ("tiny",)),
        ("Tiny", ("Tiny",)),
        ("org/Tiny", ("org/Tiny", "tiny")),
        ("/models/Tiny.gguf", ("/models/Tiny.gguf", "tiny.gguf")),
        ("org/", ("org/",)),
        ("/", ("/",)),
    ],
)
def test_a_short_id_has_no_slash(name: str, ids: tuple[str, ...]) -> None:
    assert ids_for(name) == ids


async def test_a_model_that_can_do_nothing_known_is_not_listed_but_logged(caplog: pytest.LogCaptureFixture) -> None:
    proxy = await listed(Engine(EngineModel("silent", ()), chat_model("loud")))
    assert list(proxy.catalogue.ids) == ["loud"]
    assert [vars(record)["model"] for record in caplog.records if record.levelno == logging.WARNING] == ["silent"]


async def test_two_models_with_one_short_id_are_listed_by_their_full_ones() -> None:
    proxy = await listed(Engine(chat_model("a/m"), chat_model("b/M"), chat_model("c/other")))
    assert list(proxy.catalogue.ids) == ["a/m", "b/M", "c/other", "other"]


async def test_a_model_that_is_listed_twice_is_one() -> None:
    proxy = await listed(Engine(chat_model("a/m"), chat_model("a/m"), chat_model("x")))
    assert list(proxy.catalogue.ids) == ["a/m", "m", "x"]


async def test_models_come_and_go_with_each_look() -> None:
    engine = Engine(chat_model("a"))
    proxy = await listed(engine)
    for now in ((chat_model("b"),), (), (chat_model("a"), chat_model("b"))):
        engine.now = now
        await proxy.refresh()
        assert list(proxy.catalogue.ids) == [each.name for each in now]


async def test_an_unchanged_engine_leaves_the_catalogue_alone() -> None:
    proxy = await listed(Engine(chat_model("a")))
    before = proxy.catalogue
    await proxy.refresh()
    assert proxy.catalogue is before


# Engines that go away


async def test_a_busy_engine_stays_listed_until_the_third_timeout() -> None:
    engine = Engine(chat_model("a"))
    proxy = await listed(engine)
    engine.now = UpstreamTimeoutError("busy")
    for _ in range(TIMEOUTS_UNTIL_DOWN - 1):
        await proxy.refresh()
        assert list(proxy.catalogue.ids) == ["a"]
    await proxy.refresh()
    assert not proxy.catalogue.models


async def test_only_timeouts_in_a_row_count() -> None:
    engine = Engine(chat_model("a"))
    proxy = await listed(engine)
    for _ in range(3 * TIMEOUTS_UNTIL_DOWN):
        engine.now = UpstreamTimeoutError("busy")
        await proxy.refresh()
        engine.now = (chat_model("a"),)
        await proxy.refresh()
        assert list(proxy.catalogue.ids) == ["a"]


@pytest.mark.parametrize("error", [UpstreamUnreachableError("refused"), UpstreamProtocolError("not HTTP")])
async def test_an_engine_that_is_gone_leaves_the_list_at_once_and_may_come_back(error: UpstreamError) -> None:
    engine = Engine(chat_model("a"))
    proxy = await listed(engine)
    engine.now = error
    await proxy.refresh()
    assert not proxy.catalogue.models
    gone = await refused(proxy, CHAT, model="a", messages=HELLO)
    assert (type(gone), gone.status, gone.code, gone.param) == (UnavailableError, 503, "model_unavailable", "model")
    assert dict(gone.headers)[b"retry-after"].isdigit()
    engine.now = (chat_model("a"),)
    await proxy.refresh()
    assert list(proxy.catalogue.ids) == ["a"]


async def test_a_busy_engine_that_stays_listed_still_answers() -> None:
    llama = FakeLlama(writes=["hello"])
    proxy, _ = await over(llama)

    def hang(_request: object) -> Any:
        raise UpstreamTimeoutError("busy")

    llama.instead["/v1/models"] = hang
    await proxy.refresh()
    assert (await whole(proxy, CHAT, messages=HELLO))["choices"]


async def test_an_engine_that_someone_else_runs_must_serve_something() -> None:
    require_models(await listed(Engine(chat_model("a"))), "http://e")
    with pytest.raises(StartError, match="http://e"):
        require_models(await listed(Engine()), "http://e")


# Requests

REQUESTS: list[tuple[str, Json]] = [(CHAT, {"messages": HELLO}), (COMPLETIONS, {"prompt": "a"})]


@pytest.mark.parametrize("asked", ["org/Tiny", "tiny"])
@pytest.mark.parametrize(("endpoint", "members"), REQUESTS)
async def test_the_answers_model_is_the_id_that_was_asked_for(asked: str, endpoint: str, members: Json) -> None:
    proxy, http = await over(FakeLlama("inner-name", writes=["ab", "cd"]))
    answer = await whole(proxy, endpoint, **members, model=asked)
    assert answer["model"] == asked
    assert "timings" not in answer
    events = await proxy.answer(endpoint, body_of({**members, "model": asked, "stream": True}))
    assert not isinstance(events, dict)
    assert {event["model"] async for event in events} == {asked}
    assert {sent.json()["model"] for sent in http.sent} == {"inner-name"}
    assert all(each.closed for each in http.answers)


@pytest.mark.parametrize(
    "members",
    [{"tools": TOOLS, "tool_choice": "required"}, {"response_format": {"type": "json_object"}}, {"n": 2}],
    ids=["forced call", "JSON", "two choices"],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_that_holds_for_answers_of_our_own_making(members: Json, *, stream: bool) -> None:
    proxy, _ = await over(FakeLlama(writes=["{}", "{}"]))
    answer = await proxy.answer(CHAT, body_of({"messages": HELLO, "stream": stream, **members}))
    events = [answer] if isinstance(answer, dict) else [event async for event in answer]
    assert {event["model"] for event in events} == {"tiny"}


@pytest.mark.parametrize(("endpoint", "members"), [*REQUESTS, (EMBEDDINGS, {"input": "a"})])
async def test_an_unknown_model_is_answered_with_the_nearest_ids(endpoint: str, members: Json) -> None:
    proxy, http = await over(FakeLlama())
    error = await refused(proxy, endpoint, **members, model="org/tiny-2")
    assert (type(error), error.status, error.code, error.param) == (ModelNotFoundError, 404, "model_not_found", "model")
    assert "`org/Tiny`" in error.message
    assert http.sent == []


@pytest.mark.parametrize(
    ("llama", "endpoint", "members"),
    [
        (FakeLlama(), EMBEDDINGS, {"input": "a"}),
        (FakeLlama(embeds=True), CHAT, {"messages": HELLO}),
        (FakeLlama(embeds=True), COMPLETIONS, {"prompt": "a"}),
    ],
)
async def test_a_model_without_the_task_says_which_it_has(llama: FakeLlama, endpoint: str, members: Json) -> None:
    proxy, http = await over(llama)
    error = await refused(proxy, endpoint, **members)
    assert (type(error), error.status, error.code, error.param) == (WrongTaskError, 400, "task_not_supported", "model")
    assert ("`embed`" if llama.embeds else "`generate`, `tool_calling`") in error.message
    assert http.sent == []


@pytest.mark.parametrize(
    ("members", "param", "code"),
    [
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages", "task_not_supported"),
        ({"messages": HELLO, "tools": TOOLS}, "tools", "task_not_supported"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages", "invalid_request"),
        ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "messages", "invalid_request"),
    ],
)
async def test_what_a_model_cannot_do_is_refused_before_the_engine_sees_it(
    members: Json, param: str, code: str
) -> None:
    proxy, http = await over(FakeLlama(tools=False))
    error = await refused(proxy, CHAT, **members)
    assert (error.status, error.param, error.code) == (400, param, code)
    assert http.sent == []


@pytest.mark.parametrize(
    ("llama", "members"),
    [
        (FakeLlama(vision=True), {"messages": [{"role": "user", "content": [IMAGE, {"type": "text", "text": "?"}]}]}),
        (FakeLlama(tools=True), {"messages": HELLO, "tools": TOOLS}),
        (FakeLlama(tools=False), {"messages": HELLO, "tools": []}),
    ],
)
async def test_what_a_model_can_do_reaches_the_engine(llama: FakeLlama, members: Json) -> None:
    llama.writes = ["hello"]
    proxy, _ = await over(llama)
    assert (await whole(proxy, CHAT, **members))["choices"][0]["message"]["content"] == "hello"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"[]", "invalid_json"),
        (b'{"model": "tiny"', "invalid_json"),
        (b'{"messages": [{"role": "user", "content": "x"}]}', "missing_parameter"),
        (b'{"model": "tiny", "messages": []}', "invalid_value"),
    ],
)
async def test_a_body_that_is_no_request_is_the_clients_error(body: bytes, code: str) -> None:
    proxy, http = await over(FakeLlama())
    with pytest.raises(InvalidRequestError) as caught:
        await proxy.answer(CHAT, body)
    assert caught.value.code == code
    assert http.sent == []


async def test_an_unknown_endpoint_is_not_found() -> None:
    proxy, _ = await over(FakeLlama())
    assert type(await refused(proxy, "/v1/moderations")) is RouteNotFoundError


async def test_an_engine_that_fails_keeps_its_words_inside() -> None:
    llama = FakeLlama(instead={path: lambda _request: llama_error(500) for path in (CHAT, COMPLETIONS)})
    proxy, _ = await over(llama)
    for endpoint, members in REQUESTS:
        error = await refused(proxy, endpoint, **members)
        assert type(error) is EngineFailedError
        assert CANARY not in json.dumps(error.body())


# Names: models-api.md item 3

NAMES = Declared("org/Tiny", aliases=("small",), floating_aliases=("tiny-latest",))
MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"


class Claude(Engine):
    """Answers as Anthropic does."""

    async def answer(self, endpoint: str, body: Body) -> Answer:
        assert endpoint == MESSAGES
        assert isinstance(body, dict)
        message = {"type": "message", "model": body["model"]}
        if b"true" not in msgspec.json.encode(body.get("stream")):
            return message
        return Stream(self._events(message))

    async def _events(self, message: Json) -> AsyncGenerator[Json]:
        yield {"type": "message_start", "message": message}
        yield {"type": "message_stop"}


@pytest.mark.parametrize(
    ("asked", "answered"),
    [("org/Tiny", "org/Tiny"), ("tiny", "tiny"), ("small", "small"), ("tiny-latest", "org/Tiny")],
)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, RESPONSES])
async def test_an_answer_is_under_the_id_that_was_asked_for_and_a_floating_aliases_under_the_canonical_one(
    endpoint: str, asked: str, answered: str, *, stream: bool
) -> None:
    contents: Json = {EMBEDDINGS: {"input": "a"}, RESPONSES: {"input": "a"}, COMPLETIONS: {"prompt": "a"}}
    content = contents.get(endpoint, {"messages": HELLO})
    engine: Any = Claude(chat_model("inner")) if endpoint == MESSAGES else llama_engine(embeds=endpoint == EMBEDDINGS)
    proxy = await inference_proxy(engine, FILES, NAMES)
    answer = await proxy.answer(
        endpoint, body_of({**content, "model": asked, "max_tokens": 5, **({"stream": True} if stream else {})})
    )
    events = [answer] if isinstance(answer, dict) else [event async for event in answer]
    assert isinstance(answer, dict) == (not stream or endpoint == EMBEDDINGS)
    holders = [each for event in events for each in (event, event.get("message", {}), event.get("response", {}))]
    models = {holder["model"] for holder in holders if "model" in holder}
    assert models == {answered}


def llama_engine(*, embeds: bool) -> TranslatingEngine:
    http = FakeHttpClient(FakeLlama("inner", writes=["hello"], embeds=embeds))
    return TranslatingEngine(DetectedEngine(EngineConnection(http, "http://engine", 7.0)))


@pytest.mark.parametrize(
    ("asked", "routed", "answered"),
    [
        ("gpt-9", RoutedModel("org/Tiny", "gpt-9"), "gpt-9"),
        ("newest", RoutedModel("org/Tiny", "org/Tiny"), "org/Tiny"),
        ("gpt-9", RoutedModel("tiny", "gpt-9"), "gpt-9"),
        ("gpt-9", RoutedModel("org/Tiny", "made up\n"), "gpt-9"),
        ("tiny", RoutedModel("org/Other", "org/Other"), "tiny"),
    ],
    ids=["alias", "floating alias", "by an alias of ours", "under a third name", "a name that is signed"],
)
async def test_a_name_of_the_gateways_means_what_it_says_where_nobody_else_has_it(
    asked: str, routed: RoutedModel, answered: str
) -> None:
    """models-api.md items 3 and 13."""
    engine = Engine(chat_model("org/Tiny"), chat_model("org/Other"))
    proxy = await inference_proxy(engine)
    answer = await proxy.answer(CHAT, body_of({"model": asked, "messages": HELLO}), routed)
    assert isinstance(answer, dict)
    assert answer["model"] == answered


async def test_a_name_that_nobody_gave_is_not_found() -> None:
    proxy = await inference_proxy(Engine(chat_model("org/Tiny")))
    for routed in (None, RoutedModel("org/none", "gpt-9")):
        with pytest.raises(ModelNotFoundError):
            await proxy.answer(CHAT, body_of({"model": "gpt-9", "messages": HELLO}), routed)


async def test_an_operators_word_stands_over_the_engines_and_two_claims_on_an_id_leave_the_later_one_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = Engine(chat_model("a"), chat_model("b"), chat_model("c"))
    declared = (Declared("a", aliases=("x",), tasks=("embed",)), Declared("b", aliases=("x",)))
    proxy = await inference_proxy(engine, None, *declared)
    assert [(model.id, model.tasks) for model in proxy.catalogue.models] == [("a", ("embed",)), ("c", ("generate",))]
    assert proxy.catalogue.models[0].evidence == (Evidence("embed", "declared"),)  # models-api.md item 12
    errors = [vars(each)["collision"] for each in caplog.records if each.levelno == logging.ERROR]
    assert errors == ["The models a and b both claim the ID x."]


# Draining: models-api.md item 4


async def test_models_that_drain_say_so_and_still_answer() -> None:
    proxy = await inference_proxy(Engine(chat_model("a")))
    changed = proxy.published.change
    proxy.drain()
    assert changed.is_set()
    assert {row["status"] for row in rows_of(proxy)} == {"draining"}
    await proxy.refresh()
    assert {row["status"] for row in rows_of(proxy)} == {"draining"}
    assert await whole(proxy, CHAT, model="a", messages=HELLO)


async def test_more_messages_than_the_context_has_tokens_are_refused_before_the_engine_counts_them() -> None:
    proxy, http = await over(FakeLlama(context=3))
    error = await refused(proxy, CHAT, messages=HELLO * 4)
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "messages")
    assert all(request.method == "GET" for request in http.sent)


# Embeddings

VECTOR = [0.6, 0.0, 0.8]


@pytest.mark.parametrize("asked", ["org/Tiny", "tiny"])
@pytest.mark.parametrize(
    ("wanted", "vector"),
    [({}, VECTOR), ({"dimensions": 3}, VECTOR), ({"dimensions": 1}, [1.0]), ({"stream": True}, VECTOR)],
)
async def test_embeddings_are_shaped_as_asked(asked: str, wanted: Json, vector: list[float]) -> None:
    proxy, http = await over(FakeLlama("inner", embeds=True))
    for encoding in ("float", "base64"):
        answer = await whole(proxy, EMBEDDINGS, model=asked, input=["a", "b"], encoding_format=encoding, **wanted)
        assert answer["model"] == asked
        got = [row["embedding"] for row in answer["data"]]
        if encoding == "base64":
            got = [list(struct.unpack(f"<{len(vector)}f", base64.b64decode(each))) for each in got]
        assert got == [pytest.approx(vector)] * 2
    assert http.sent[0].json() == {"model": "inner", "input": ["a", "b"], "encoding_format": "float"}


async def test_an_input_that_is_too_long_is_the_clients_error() -> None:
    proxy, _ = await over(FakeLlama(embeds=True, context=8))
    error = await refused(proxy, EMBEDDINGS, input=["a", "x" * 9])
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "input")


async def test_vectors_that_are_none_are_the_engines_failure() -> None:
    llama = FakeLlama(embeds=True)
    proxy, _ = await over(llama)
    llama.instead[EMBEDDINGS] = lambda _request: json_response({"data": [{"embedding": CANARY}]})
    error = await refused(proxy, EMBEDDINGS, input="a")
    assert type(error) is EngineFailedError
    assert CANARY not in error.message


# Leaving


@pytest.mark.parametrize(
    "members", [{}, {"tools": TOOLS}, {"response_format": {"type": "json_object"}}, {"n": 2}], ids=str
)
async def test_leaving_early_closes_the_engines_answer(members: Json) -> None:
    proxy, http = await over(FakeLlama(writes=["{}", "{}"]))
    events = await proxy.answer(CHAT, body_of({"messages": HELLO, "stream": True, **members}))
    assert not isinstance(events, dict)
    async with aclosing(events):
        await anext(events)
    assert all(each.closed for each in http.answers)
