from collections.abc import Callable
from typing import Any

import pytest

from privity.catalogue.model import Evidence, Facts
from privity.engines.connection import EngineConnection
from privity.engines.engine import EngineModel
from privity.engines.llama_cpp.adapter import LlamaCppEngine
from privity.errors import UnavailableError, UpstreamProtocolError
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, json_response
from privity.testing.fake_llama import FakeLlama, llama_error

Recorded = Callable[[str], Any]

CHAT, OTHER = "org/chat-GGUF:Q4_K_M", "other.gguf"
CHAT_PROPS = "/props?model=org%2Fchat-GGUF%3AQ4_K_M&autoload=false"
FORCED = {
    "messages": [{"role": "user", "content": "x"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "tool_choice": "required",
}


class Router:
    """A router, whose loaded models are `llama`."""

    def __init__(self, recorded: Recorded) -> None:
        self.models = recorded("llama_cpp/router_models")
        self.props = recorded("llama_cpp/router_props")
        self.llama = FakeLlama(context=4096)
        self.asked: list[str] = []

    def set_status(self, row: int, value: str, **more: Any) -> None:
        self.models["data"][row]["status"] = {"value": value, **more}

    def __call__(self, request: SentRequest) -> FakeResponse:
        path = request.url.removeprefix("http://engine")
        self.asked.append(path)
        if path == "/v1/models":
            return json_response(self.models)
        if path == "/props":
            return json_response(self.props)
        return self.llama(request)


@pytest.fixture
def router(recorded: Recorded) -> Router:
    return Router(recorded)


def engine_of(server: Callable[[SentRequest], FakeResponse]) -> tuple[LlamaCppEngine, FakeHttpClient]:
    http = FakeHttpClient(server)
    return LlamaCppEngine(EngineConnection(http, "http://engine", 7.0), lambda: 99.0), http


async def seen(engine: LlamaCppEngine) -> dict[str, tuple[str, ...]]:
    return {model.name: model.tasks for model in await engine.describe()}


async def test_recorded_answers_give_tasks_context_and_facts(recorded: Recorded) -> None:
    llama = FakeLlama(
        instead={
            "/v1/models": lambda _request: json_response(recorded("llama_cpp/models")),
            "/props": lambda _request: json_response(recorded("llama_cpp/props")),
        }
    )
    facts = Facts(parameters=115648, size=462592, embedding_length=64)  # it only guesses the weights' type
    evidence = (Evidence("generate", "engine"),)
    assert await engine_of(llama)[0].describe() == (
        EngineModel("tiny", ("generate",), 256, facts=facts, evidence=evidence),
    )


async def test_a_limit_of_all_answers_is_told(recorded: Recorded) -> None:
    props = recorded("llama_cpp/props")
    props["default_generation_settings"]["params"]["n_predict"] = 100
    engine, _ = engine_of(FakeLlama(instead={"/props": lambda _request: json_response(props)}))
    assert (await engine.describe())[0].max_output_tokens == 100


async def test_a_routers_loaded_models_are_known_and_nothing_that_is_asked_loads_one(router: Router) -> None:
    engine, http = engine_of(router)
    loaded, unloaded = await engine.describe()
    assert (loaded.tasks, loaded.context_length) == (("generate", "tool_calling"), 4096)
    assert loaded.facts == Facts(
        parameters=8030261312, quantization="Q4_K - Medium", size=4912898304, embedding_length=4096
    )
    assert unloaded == EngineModel(OTHER, ())
    assert router.asked == ["/v1/models", "/props", CHAT_PROPS, "/v1/embeddings?autoload=false"]
    assert http.sent[-1].json() == {"model": CHAT, "input": "a"}
    await engine.describe()
    assert router.asked[4:] == ["/v1/models"]


async def test_what_a_model_can_do_is_remembered_when_it_is_unloaded(router: Router) -> None:
    engine, _ = engine_of(router)
    await engine.describe()
    router.set_status(0, "unloaded")
    router.set_status(1, "loaded")
    tasks = ("generate", "tool_calling")
    assert await seen(engine) == {CHAT: tasks, OTHER: tasks}
    assert [path for path in router.asked if path == CHAT_PROPS] == [CHAT_PROPS]


@pytest.mark.parametrize("value", ["loading", "sleeping", "downloading", "new"])
async def test_any_other_status_loads_nothing_and_forgets_nothing(value: str, router: Router) -> None:
    engine, _ = engine_of(router)
    await engine.describe()
    router.set_status(0, value)
    router.set_status(1, value)
    assert await seen(engine) == {CHAT: ("generate", "tool_calling"), OTHER: ()}


async def test_a_model_that_could_not_be_loaded_is_forgotten(router: Router) -> None:
    engine, _ = engine_of(router)
    await engine.describe()
    router.set_status(0, "unloaded", failed=True, exit_code=1)
    assert await seen(engine) == {CHAT: (), OTHER: ()}


async def test_a_router_that_loads_nothing_by_itself_serves_what_is_loaded(router: Router) -> None:
    router.props["models_autoload"] = False
    engine, _ = engine_of(router)
    assert list(await seen(engine)) == [CHAT]


async def test_a_model_that_is_unloaded_while_it_is_asked_about_is_asked_again(router: Router) -> None:
    router.llama.instead["/props"] = lambda _request: llama_error(400)
    engine, _ = engine_of(router)
    assert await seen(engine) == {CHAT: (), OTHER: ()}
    router.llama.instead.clear()
    assert (await seen(engine))[CHAT] == ("generate", "tool_calling")


async def test_a_forced_call_names_the_model_in_every_request(router: Router) -> None:
    engine, http = engine_of(router)
    await engine.describe()
    http.sent.clear()
    router.llama.writes.append('{"name": "f", "arguments": {}}')
    answer = await engine.answer("/v1/chat/completions", {"model": CHAT, **FORCED})
    assert isinstance(answer, dict)
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "f"
    assert {sent.url.removeprefix("http://engine") for sent in http.sent} == {
        "/apply-template",
        "/tokenize",
        "/completion",
    }
    assert {sent.json()["model"] for sent in http.sent} == {CHAT}


async def test_a_forced_call_of_a_model_that_was_never_loaded_is_refused(router: Router) -> None:
    engine, http = engine_of(router)
    await engine.describe()
    http.sent.clear()
    with pytest.raises(UnavailableError, match="a plain request loads it"):
        await engine.answer("/v1/chat/completions", {"model": OTHER, **FORCED})
    assert http.sent == []


@pytest.mark.parametrize(
    "change", [{"id": None}, {"meta": []}, {"meta": {"n_params": "8B"}}, {"status": "loaded"}, {"status": {}}]
)
async def test_odd_rows_are_an_upstream_error(change: dict[str, Any], router: Router) -> None:
    router.models["data"][0] |= change
    with pytest.raises(UpstreamProtocolError):
        await engine_of(router)[0].describe()


@pytest.mark.parametrize(("numbers", "tasks"), [([0.5, 0.5], ("embed",)), ([0.5], ()), ([], ())])
async def test_a_model_that_ranks_gives_no_vectors(numbers: list[float], tasks: tuple[str, ...]) -> None:
    answer = {"data": [{"embedding": numbers}]}
    engine, _ = engine_of(FakeLlama(instead={"/v1/embeddings": lambda _request: json_response(answer)}))
    assert (await engine.describe())[0].tasks == tasks


@pytest.mark.parametrize(
    "answer",
    [
        *(llama_error(status) for status in (400, 401, 404, 408, 429, 500, 502, 503, 504)),
        json_response({"data": []}),
        json_response({"data": [{}]}),
    ],
)
async def test_a_server_that_cannot_tell_now_is_asked_again(answer: FakeResponse) -> None:
    llama = FakeLlama(embeds=True, instead={"/v1/embeddings": lambda _request: answer})
    engine, _ = engine_of(llama)
    with pytest.raises(UpstreamProtocolError):
        await engine.describe()
    llama.instead.clear()
    assert (await engine.describe())[0].tasks == ("embed",)


# What llama.cpp itself writes; the second where its server is older, or has no embedding of a whole text.
@pytest.mark.parametrize(
    ("status", "message"),
    [
        (501, "This server does not support embeddings. Start it with `--embeddings`"),
        (400, "Pooling type 'none' is not OAI compatible. Please use a different pooling type"),
    ],
)
async def test_a_server_that_says_that_it_does_not_embed_generates(status: int, message: str) -> None:
    answer = json_response({"error": {"code": status, "message": message}}, status)
    engine, _ = engine_of(FakeLlama(instead={"/v1/embeddings": lambda _request: answer}))
    assert (await engine.describe())[0].tasks == ("generate", "tool_calling")


async def test_a_routers_model_that_is_unloaded_before_it_embeds_is_asked_again(router: Router) -> None:
    router.llama.instead["/v1/embeddings"] = lambda _request: llama_error(400)
    engine, _ = engine_of(router)
    assert await seen(engine) == {CHAT: (), OTHER: ()}
    router.llama.instead.clear()
    assert (await seen(engine))[CHAT] == ("generate", "tool_calling")
