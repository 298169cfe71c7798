from typing import Any
from urllib.parse import urlsplit

import pytest

from privity.engines.connection import EngineConnection
from privity.engines.engine import EngineModel
from privity.engines.ollama import OllamaEngine
from privity.errors import UpstreamProtocolError
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, json_response


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
        ({"capabilities": ["embedding"], "model_info": {"bert.context_length": 512}}, ("embed",), 512),
        ({"capabilities": ["thinking", "insert"]}, (), None),
        ({"model_info": {"llama.context_length": "many"}}, (), None),
        ({}, (), None),
    ],
)
async def test_a_model_is_what_ollama_says(
    details: dict[str, Any], tasks: tuple[str, ...], context: int | None
) -> None:
    engine, http = engine_of(Ollama(m=details))
    assert await engine.describe() == (EngineModel("m", tasks, context),)
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
    assert await engine.answer("/v1/embeddings", {"model": "m"}) == {"id": 1}
    assert http.sent[0].url == "http://engine/v1/embeddings"
