from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from privity.catalogue.model import Evidence, Facts
from privity.engines.connection import EngineConnection
from privity.engines.ollama import OllamaEngine
from privity.errors import InvalidRequestError, UpstreamProtocolError
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, json_response
from privity.testing.pictures import GIF, JPEG, data_url, image_part


class Ollama:
    """Ollama with some models pulled."""

    def __init__(self, **shown: dict[str, Any]) -> None:
        self.shown = shown
        self.digests = dict.fromkeys(shown, "sha256:1")

    def __call__(self, request: SentRequest) -> FakeResponse:
        match urlsplit(request.url).path:
            case "/api/tags":
                tags = [{"name": name, "digest": self.digests[name], "size": 1} for name in self.shown]
                return json_response({"models": tags})
            case "/api/show":
                found = self.shown.get(request.json()["model"])
                return json_response({"error": "not found"}, 404) if found is None else json_response(found)
            case _:
                return json_response({"id": 1})


def engine_of(server: Ollama) -> tuple[OllamaEngine, FakeHttpClient]:
    http = FakeHttpClient(server)
    return OllamaEngine(EngineConnection(http, "http://engine", 7.0)), http


@pytest.mark.parametrize(
    ("details", "tasks", "context"),
    [
        ({"capabilities": ["completion"]}, ("generate",), None),
        ({"capabilities": ["vision", "tools", "completion"]}, ("generate", "tool_calling", "vision"), None),
        (
            {
                "capabilities": ["embedding"],
                "model_info": {"general.architecture": "bert", "bert.context_length": 512},
            },
            ("embed",),
            512,
        ),
        ({"model_info": {"llama.context_length": 512}}, (), None),
        ({"model_info": {"general.architecture": "llama", "llama.context_length": True}}, (), None),
        ({"model_info": {"general.architecture": "llama", "llama.context_length": 2**60}}, (), None),
        ({"model_info": {"general.architecture": ["llama"]}}, (), None),
        ({"parameters": "stop x\nnum_ctx    4096\n"}, (), 4096),
        ({"parameters": "num_ctx 0"}, (), None),
        ({"capabilities": ["thinking", "insert"]}, (), None),
        ({"model_info": {"general.architecture": "llama", "llama.context_length": "many"}}, (), None),
        ({}, (), None),
    ],
)
async def test_a_model_is_what_ollama_says(
    details: dict[str, Any], tasks: tuple[str, ...], context: int | None
) -> None:
    engine, http = engine_of(Ollama(m=details))
    (model,) = await engine.describe()
    assert (model.name, model.tasks, model.context_length) == ("m", tasks, context)
    assert model.evidence == tuple(Evidence(task, "engine") for task in tasks)
    assert model.untold == ()
    assert all(answer.closed for answer in http.answers)


async def test_each_model_is_asked_about_once_until_it_is_pulled_anew() -> None:
    server = Ollama(a={"capabilities": ["completion"]}, b={"capabilities": ["embedding"]})
    engine, http = engine_of(server)
    for _ in range(3):
        await engine.describe()
    assert [urlsplit(sent.url).path for sent in http.sent].count("/api/show") == 2
    server.shown["a"] = {"capabilities": ["completion", "tools"]}
    assert (await engine.describe())[0].tasks == ("generate",)
    server.digests["a"] = "sha256:2"
    assert (await engine.describe())[0].tasks == ("generate", "tool_calling")


async def test_models_come_and_go() -> None:
    server = Ollama(a={})
    engine, _ = engine_of(server)
    await engine.describe()
    server.shown, server.digests = {"b": {}}, {"b": "x"}
    assert [model.name for model in await engine.describe()] == ["b"]
    server.shown = {}
    assert await engine.describe() == ()


async def test_what_is_no_ollama_is_an_upstream_error() -> None:
    http = FakeHttpClient(lambda _request: json_response({}, 404))
    with pytest.raises(UpstreamProtocolError):
        await OllamaEngine(EngineConnection(http, "http://engine", 7.0)).describe()


async def test_requests_go_to_the_openai_endpoints() -> None:
    engine, http = engine_of(Ollama())
    assert await engine.answer("/v1/embeddings", {"model": "m", "messages": 1}) == {"id": 1}
    assert http.sent[0].url == "http://engine/v1/embeddings"


@pytest.mark.parametrize("raw", [True, False])
async def test_images_go_as_data_urls_and_the_rest_as_it_is(*, raw: bool) -> None:
    engine, http = engine_of(Ollama())
    messages = [{"role": "user", "content": [image_part(data_url(JPEG, "png"))]}]
    body = {"model": "m", "x": 1, "messages": msgspec.Raw(msgspec.json.encode(messages)) if raw else messages}
    assert await engine.answer("/v1/chat/completions", body) == {"id": 1}
    sent = [{"role": "user", "content": [image_part(data_url(JPEG, "jpeg"))]}]
    assert http.sent[0].json() == {"model": "m", "x": 1, "messages": sent}


@pytest.mark.parametrize("url", ["https://example.org/a.png", data_url(GIF, "gif")])
async def test_images_that_it_does_not_take_are_refused_before_it_sees_them(url: str) -> None:
    engine, http = engine_of(Ollama())
    with pytest.raises(InvalidRequestError) as caught:
        await engine.answer(
            "/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": [image_part(url)]}]}
        )
    assert caught.value.param == "messages[0].content"
    assert http.sent == []


async def test_recorded_answers_give_tasks_context_and_facts(recorded: Callable[[str], Any]) -> None:
    shown = {name: recorded(f"ollama/show_{name}") for name in ("gemma3", "llama3.2")}

    def server(request: SentRequest) -> FakeResponse:
        if urlsplit(request.url).path == "/api/tags":
            return json_response(recorded("ollama/tags"))
        return json_response(shown[request.json()["model"]])

    gemma, llama = await OllamaEngine(EngineConnection(FakeHttpClient(server), "http://engine", 7.0)).describe()
    assert (gemma.tasks, gemma.context_length) == (("generate", "vision"), 2048)  # its parameters set that
    assert gemma.facts == Facts("gemma3", 4299915632, "Q4_K_M", 3338801804, None, "Gemma Terms of Use", 2560)
    assert (llama.tasks, llama.context_length) == (("generate", "tool_calling"), 8192)
    assert llama.facts == Facts("llama", 8030261248, "Q4_0", 2019393189, None, None, 4096)


async def test_a_model_that_runs_on_somebody_elses_machine_is_not_listed(caplog: pytest.LogCaptureFixture) -> None:
    tags = [{"name": "here"}, {"name": "gpt-oss:120b-cloud", "remote_host": "https://ollama.com:443"}]

    def server(request: SentRequest) -> FakeResponse:
        is_list = urlsplit(request.url).path == "/api/tags"
        return json_response({"models": tags} if is_list else {"capabilities": ["completion"]})

    http = FakeHttpClient(server)
    engine = OllamaEngine(EngineConnection(http, "http://engine", 7.0))
    for _ in range(2):
        assert [model.name for model in await engine.describe()] == ["here"]
    assert [record.message for record in caplog.records] == [
        "Ollama runs this model on somebody else's machine: not listed"
    ]


@pytest.mark.parametrize(
    "details",
    [
        {"capabilities": "completion"},
        {"capabilities": [1]},
        {"model_info": []},
        {"details": "Q4"},
        {"license": {"text": "MIT"}},
        {"parameters": 1},
    ],
)
async def test_odd_details_are_an_upstream_error(details: dict[str, Any]) -> None:
    with pytest.raises(UpstreamProtocolError):
        await engine_of(Ollama(m=details))[0].describe()


@pytest.mark.parametrize(
    "tags", [{"models": {}}, {"models": [{"name": ""}]}, {"models": [{"name": "x" * 513}]}, {"models": [{"name": 1}]}]
)
async def test_an_odd_list_is_an_upstream_error(tags: dict[str, Any]) -> None:
    http = FakeHttpClient(lambda _request: json_response(tags))
    with pytest.raises(UpstreamProtocolError):
        await OllamaEngine(EngineConnection(http, "http://engine", 7.0)).describe()


@pytest.mark.parametrize(
    ("given", "licence"),
    [("\n MIT License\n\nCopyright", "MIT License"), (["Apache", "MIT"], "Apache"), ("", None), ([], None)],
)
async def test_a_licence_is_its_title(given: Any, licence: str | None) -> None:
    (model,) = await engine_of(Ollama(m={"license": given}))[0].describe()
    assert model.facts.licence == licence
