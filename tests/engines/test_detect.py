from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from privity.catalogue.model import Evidence
from privity.engines.connection import EngineConnection
from privity.engines.detect import KINDS, DetectedEngine, Kind
from privity.errors import (
    NotSupportedError,
    UnavailableError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, Server, json_response
from privity.testing.fake_llama import FakeLlama

Pages = dict[str, Any]


def serving(pages: Pages) -> Server:
    """Return a server of JSON pages."""

    def server(request: SentRequest) -> FakeResponse:
        path = urlsplit(request.url).path
        return json_response(pages[path]) if path in pages else json_response({"detail": "Not Found"}, 404)

    return server


OLLAMA = serving(
    {
        "/api/version": {"version": "0.13.0"},
        "/api/tags": {"models": [{"name": "o"}]},
        "/api/show": {"capabilities": ["completion", "tools"]},
        "/v1/models": {"data": [{"id": "o"}]},
    }
)
VLLM = serving(
    {"/v1/models": {"data": [{"id": "v", "owned_by": "vllm"}]}, "/openapi.json": {"paths": {"/v1/embeddings": {}}}}
)
SGLANG = serving(
    {
        "/v1/models": {"data": [{"id": "g", "owned_by": "sglang"}]},
        "/model_info": {"is_generation": True, "has_image_understanding": True},
        "/server_info": {"tool_call_parser": "qwen25"},
        "/api/version": {"version": "0.5"},
        "/api/tags": {"models": []},
    }
)
TEI = serving({"/info": {"model_id": "t", "model_type": {"embedding": {"pooling": "cls"}}, "max_input_length": 512}})
SILENT = serving({"/v1/models": {"data": [{"id": "s"}]}})
LLAMA = FakeLlama("l", tools=False)


class Changing:
    """A URL at which one engine after another answers."""

    def __init__(self, now: Server | UpstreamError) -> None:
        self.now = now

    def __call__(self, request: SentRequest) -> FakeResponse:
        if isinstance(self.now, UpstreamError):
            raise self.now
        return self.now(request)


def detected(server: Server, declared: tuple[str, ...] = (), kind: Kind | None = None) -> DetectedEngine:
    return DetectedEngine(EngineConnection(FakeHttpClient(server), "http://engine", 7.0), declared, kind)


async def seen(engine: DetectedEngine) -> list[tuple[str, tuple[str, ...]]]:
    return [(model.name, model.tasks) for model in await engine.describe()]


EXAMPLES: list[tuple[Server, tuple[str, tuple[str, ...]]]] = [
    (LLAMA, ("l", ("generate",))),
    (OLLAMA, ("o", ("generate", "tool_calling"))),
    (VLLM, ("v", ("embed",))),
    (SGLANG, ("g", ("generate", "tool_calling", "vision"))),
    (TEI, ("t", ("embed",))),
    (SILENT, ("s", ())),
]


NAMES = ["llama.cpp", "Ollama", "vLLM", "SGLang", "TEI", "silent"]


@pytest.mark.parametrize(("server", "model"), EXAMPLES, ids=NAMES)
async def test_the_kind_of_an_engine_is_found_out(server: Server, model: tuple[str, tuple[str, ...]]) -> None:
    assert await seen(detected(server)) == [model]


@pytest.mark.parametrize("server", [server for server, _ in EXAMPLES], ids=NAMES)
async def test_what_the_operator_declares_goes_before_what_the_engine_says(server: Server) -> None:
    (model,) = await detected(server, ("generate", "vision")).describe()
    assert model.tasks == ("generate", "vision")
    assert model.evidence == (Evidence("generate", "declared"), Evidence("vision", "declared"))
    assert model.untold == ()


@pytest.mark.parametrize(("kind", "example"), list(zip(KINDS, [0, 2, 3, 1, 4, 5], strict=True)))
async def test_a_kind_that_the_operator_names_is_not_found_out(kind: Kind, example: int) -> None:
    server, model = EXAMPLES[example]
    http = FakeHttpClient(server)
    engine = DetectedEngine(EngineConnection(http, "http://engine", 7.0), kind=kind)
    assert await seen(engine) == [model]
    assert urlsplit(http.sent[0].url).path in {"/v1/models", "/api/tags", "/info"}


async def test_an_engine_that_is_not_of_the_named_kind_is_an_upstream_error() -> None:
    engine = detected(SILENT, kind="ollama")
    with pytest.raises(UpstreamProtocolError):
        await engine.describe()
    with pytest.raises(UnavailableError):
        await engine.answer("/v1/chat/completions", {})


async def test_an_endpoint_that_only_the_operator_knows_of_is_passed_to() -> None:
    llama = FakeLlama(instead={"/v1/messages": lambda _request: json_response({"id": 1})})
    engine = detected(llama, ("generate",))
    await engine.describe()
    assert await engine.answer("/v1/messages", {"model": "l"}) == {"id": 1}


async def test_an_endpoint_that_an_adapter_does_not_know_is_not_supported() -> None:
    engine = detected(FakeLlama())
    await engine.describe()
    with pytest.raises(NotSupportedError):
        await engine.answer("/v1/messages", {"model": "l"})


@pytest.mark.parametrize(("after", "model"), EXAMPLES, ids=NAMES)
@pytest.mark.parametrize("before", [LLAMA, OLLAMA, VLLM], ids=["llama.cpp", "Ollama", "vLLM"])
async def test_an_engine_may_come_back_as_another_kind(
    before: Server, after: Server, model: tuple[str, tuple[str, ...]]
) -> None:
    url = Changing(before)
    engine = detected(url)
    await engine.describe()
    url.now = UpstreamUnreachableError("gone")
    with pytest.raises(UpstreamUnreachableError):
        await engine.describe()
    url.now = after
    assert await seen(engine) == [model]


async def test_an_engine_that_changes_between_two_looks_is_noticed() -> None:
    url = Changing(LLAMA)
    engine = detected(url)
    await engine.describe()
    url.now = OLLAMA
    with pytest.raises(UpstreamProtocolError):
        await engine.describe()
    assert (await seen(engine))[0][0] == "o"


ABSENT: list[Callable[[], UpstreamError]] = [
    lambda: UpstreamUnreachableError("gone"),
    lambda: UpstreamProtocolError("not HTTP"),
]


@pytest.mark.parametrize("error", ABSENT)
async def test_a_request_to_an_engine_that_is_away_is_unavailable(error: Callable[[], UpstreamError]) -> None:
    url = Changing(error())
    engine = detected(url)
    for _ in range(2):
        with pytest.raises(UpstreamError):
            await engine.describe()
        with pytest.raises(UnavailableError):
            await engine.answer("/v1/chat/completions", {})


async def test_an_engine_that_is_too_busy_to_tell_still_answers_requests() -> None:
    llama = FakeLlama(writes=["hello"])
    url = Changing(llama)
    engine = detected(url)
    await engine.describe()
    url.now = UpstreamTimeoutError("busy")
    with pytest.raises(UpstreamTimeoutError):
        await engine.describe()
    url.now = llama
    answer = await engine.answer("/v1/chat/completions", {"model": "l", "messages": [{"role": "user", "content": "x"}]})
    assert isinstance(answer, dict)
    assert answer["choices"][0]["message"]["content"] == "hello"


async def test_an_engine_that_is_still_loading_is_detected_when_it_has_loaded() -> None:
    url = Changing(lambda _request: json_response({"error": {"message": "Loading model"}}, 503))
    engine = detected(url)
    with pytest.raises(UpstreamError):
        await engine.describe()
    url.now = LLAMA
    assert await seen(engine) == [("l", ("generate",))]
