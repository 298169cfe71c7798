from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from privity.catalogue.model import TASKS, Evidence
from privity.engines.connection import EngineConnection
from privity.engines.engine import EngineModel, evidence_for
from privity.engines.openai_compatible import OpenAICompatibleEngine
from privity.errors import (
    EngineFailedError,
    NotSupportedError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    WrongTaskError,
)
from privity.protocol.multipart import Part, parse_form
from privity.streams import Stream
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, event_response, json_response


class Some:
    """Some engine with OpenAI's API."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = [{"id": "org/M", "owned_by": "org", "max_model_len": 512, "created": 7}]
        self.routes: FakeResponse | Exception = json_response({"paths": {"/v1/chat/completions": {}}})

    def __call__(self, request: SentRequest) -> FakeResponse:
        match urlsplit(request.url).path:
            case "/v1/models":
                return json_response({"object": "list", "data": self.rows})
            case "/openapi.json":
                if isinstance(self.routes, Exception):
                    raise self.routes
                return self.routes
            case _ if request.json().get("stream"):
                return event_response([{"id": 1}, {"id": 2}])
            case _:
                return json_response({"id": 1})


def engine_of(server: Some, *declared: str) -> tuple[OpenAICompatibleEngine, FakeHttpClient]:
    http = FakeHttpClient(server)
    return OpenAICompatibleEngine(EngineConnection(http, "http://engine", 7.0), declared), http


@pytest.mark.parametrize(
    ("routes", "tasks"),
    [
        (["/v1/chat/completions", "/v1/completions"], ("generate",)),
        (["/v1/embeddings"], ("embed",)),
        (["/v1/embeddings", "/v1/chat/completions"], ("generate", "embed")),
        (["/v1/audio/transcriptions"], ("transcribe",)),
        (["/ping"], ()),
        ([], ()),
    ],
)
async def test_tasks_are_what_the_engine_has_routes_for(routes: list[str], tasks: tuple[str, ...]) -> None:
    server = Some()
    server.routes = json_response({"paths": {route: {} for route in routes}})
    engine, http = engine_of(server)
    untold = TASKS if not tasks else ("tool_calling", "vision") if "generate" in tasks else ()
    evidence = evidence_for(tasks, "engine")
    assert await engine.describe() == (EngineModel("org/M", tasks, 512, None, "org", evidence=evidence, untold=untold),)
    assert all(answer.closed for answer in http.answers)


@pytest.mark.parametrize(
    "routes",
    [
        json_response({}, 404),
        json_response({"paths": []}),
        FakeResponse(200, [], [b"<html>"]),
    ],
)
async def test_an_engine_that_does_not_tell_has_no_tasks(routes: FakeResponse) -> None:
    server = Some()
    server.routes = routes
    (model,) = await engine_of(server)[0].describe()
    assert (model.tasks, model.evidence, model.untold) == ((), (), TASKS)


@pytest.mark.parametrize("routes", [UpstreamTimeoutError("busy"), UpstreamProtocolError("cut"), json_response({}, 503)])
async def test_a_question_that_fails_is_asked_again(routes: FakeResponse | Exception) -> None:
    server = Some()
    server.routes = routes
    engine, _ = engine_of(server)
    with pytest.raises(UpstreamError):
        await engine.describe()
    server.routes = json_response({"paths": {"/v1/embeddings": {}}})
    assert (await engine.describe())[0].tasks == ("embed",)


@pytest.mark.parametrize(
    "routes", [json_response({"paths": {"/v1/embeddings": {}}}), json_response({}, 503), UpstreamTimeoutError("busy")]
)
async def test_declared_tasks_count_and_only_routes_are_asked_for(routes: FakeResponse | Exception) -> None:
    server = Some()
    server.routes = routes
    engine, http = engine_of(server, "generate", "vision")
    (model,) = await engine.describe()
    assert model.tasks == ("generate", "vision")
    assert model.evidence == (Evidence("generate", "declared"), Evidence("vision", "declared"))
    assert model.untold == ()
    assert [urlsplit(sent.url).path for sent in http.sent] == ["/v1/models", "/openapi.json"]


async def test_routes_are_asked_for_only_when_the_list_changes() -> None:
    server = Some()
    engine, http = engine_of(server)
    for _ in range(3):
        await engine.describe()
    assert len(http.sent) == 4
    server.rows = [{"id": "other"}, {"id": "third", "max_model_len": 0}]
    assert [(model.name, model.tasks, model.context_length) for model in await engine.describe()] == [
        ("other", ("generate",), None),
        ("third", ("generate",), None),
    ]


@pytest.mark.parametrize("length", [-1, 2**53 + 1, 10**400])
async def test_a_length_that_no_model_has_is_unknown(length: int) -> None:
    server = Some()
    server.rows = [{"id": "m", "max_model_len": length}]
    assert (await engine_of(server)[0].describe())[0].context_length is None


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"id": 1},
        {"id": ""},
        {"id": "x" * 513},
        {"id": "m", "max_model_len": "many"},
        {"id": "m", "max_model_len": 1.5},
        {"id": "m", "max_model_len": True},
        {"id": "m", "owned_by": []},
        "m",
    ],
)
async def test_an_odd_row_is_an_upstream_error(row: Any) -> None:
    server = Some()
    server.rows = [row]
    with pytest.raises(UpstreamProtocolError):
        await engine_of(server)[0].describe()


async def test_a_list_that_is_too_long_is_an_upstream_error() -> None:
    server = Some()
    server.rows = [{"id": str(number)} for number in range(1001)]
    with pytest.raises(UpstreamProtocolError):
        await engine_of(server)[0].describe()


async def test_an_engine_without_models_has_none() -> None:
    server = Some()
    server.rows = []
    assert await engine_of(server)[0].describe() == ()


async def test_requests_pass_as_they_are() -> None:
    engine, http = engine_of(Some())
    body = {"model": "org/M", "messages": [], "new_parameter": {"x": [1]}}
    assert await engine.answer("/v1/chat/completions", body) == {"id": 1}
    assert http.sent[0].json() == body


async def test_members_that_nobody_read_pass_to_the_byte() -> None:
    engine, http = engine_of(Some())
    await engine.answer("/v1/chat/completions", {"model": "m", "seed": msgspec.Raw(b"0.70"), "stream": False})
    assert http.sent[0].body == b'{"model":"m","seed":0.70,"stream":false}'


def transcribing(request: SentRequest) -> FakeResponse:
    kind = dict(request.headers)[b"content-type"]
    streams = Part("stream", b"true") in parse_form(request.body, kind)
    return event_response([{"id": 1}]) if streams else json_response({"text": "hello"})


async def test_forms_are_answered_whole_or_as_events() -> None:
    engine = OpenAICompatibleEngine(EngineConnection(FakeHttpClient(transcribing), "http://e", 1))
    parts = [Part("model", b"m"), Part("file", b"RIFF", is_file=True)]
    assert await engine.answer("/v1/audio/transcriptions", parts) == {"text": "hello"}
    assert await engine.answer("/v1/audio/transcriptions", [Part("stream", b"false"), *parts]) == {"text": "hello"}
    answer = await engine.answer("/v1/audio/transcriptions", [Part("stream", b"true"), *parts])
    assert isinstance(answer, Stream)
    assert [event async for event in answer] == [{"id": 1}]


async def test_events_pass_as_they_are_and_close_when_left() -> None:
    engine, http = engine_of(Some())
    answer = await engine.answer("/v1/chat/completions", {"stream": True})
    assert isinstance(answer, Stream)
    async with aclosing(answer):
        assert await anext(answer) == {"id": 1}
    assert http.answers[0].closed


async def test_an_engine_that_answers_a_streaming_request_whole_has_failed() -> None:
    server = FakeHttpClient(lambda _request: json_response({}))
    with pytest.raises(EngineFailedError):
        await OpenAICompatibleEngine(EngineConnection(server, "http://e", 1)).answer(
            "/v1/completions", {"stream": True}
        )
    assert server.answers[0].closed


@pytest.mark.parametrize("body", [{"model": "m"}, {"model": "m", "stream": True}, [Part("model", b"m")]])
@pytest.mark.parametrize("status", [404, 405])
async def test_a_route_that_is_not_there_is_not_supported(status: int, body: Any) -> None:
    server = FakeHttpClient(lambda _request: json_response({"detail": "Not Found"}, status))
    engine = OpenAICompatibleEngine(EngineConnection(server, "http://e", 1))
    with pytest.raises(NotSupportedError, match="/v1/audio/transcriptions") as caught:
        await engine.answer("/v1/audio/transcriptions", body)
    assert caught.value.status == 501
    with pytest.raises(EngineFailedError):  # all engines have this one: something else is not there
        await engine.answer("/v1/completions", {"model": "m"})


@pytest.mark.parametrize("status", [404, 405])
async def test_an_engine_that_can_not_translate_speech_says_so_of_the_model(status: int) -> None:
    server = FakeHttpClient(lambda _request: json_response({"detail": "Not Found"}, status))
    engine = OpenAICompatibleEngine(EngineConnection(server, "http://e", 1))
    with pytest.raises(WrongTaskError) as caught:
        await engine.answer("/v1/audio/translations", [Part("model", b"m")])
    assert (caught.value.status, caught.value.param) == (400, "model")


async def test_routes_say_what_else_it_has() -> None:
    server = Some()
    server.routes = json_response({"paths": {"/v1/messages/count_tokens": {}}})
    engine, _ = engine_of(server)
    assert not engine.has("/v1/messages/count_tokens")
    await engine.describe()
    assert engine.has("/v1/messages/count_tokens")
    assert not engine.has("/v1/messages")
    assert engine.has("/v1/chat/completions")
