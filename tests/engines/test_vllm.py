from collections.abc import Callable
from typing import Any

import pytest

from privity.catalogue.model import TASKS, Evidence, Facts
from privity.engines.connection import EngineConnection
from privity.engines.engine import EngineModel
from privity.engines.vllm import VllmEngine
from privity.errors import EngineFailedError, InvalidRequestError, NotSupportedError, UpstreamTimeoutError
from privity.testing.fake_http import FakeHttpClient, json_response

Recorded = Callable[[str], Any]
Serving = Callable[[dict[str, Any]], tuple[EngineConnection, FakeHttpClient]]

BASE = "meta-llama/Llama-3.1-8B-Instruct"
ON_CHAT = ("tool_calling", "vision")


@pytest.mark.parametrize(
    ("routes", "tasks", "untold"),
    [
        ("generate", ("generate",), ON_CHAT),
        ("embed", ("embed",), ()),
        ("transcribe", ("transcribe",), ()),
        ("everything", (), TASKS),
    ],
)
async def test_tasks_are_the_routes_that_it_made(
    routes: str, tasks: tuple[str, ...], untold: tuple[str, ...], recorded: Recorded, serving: Serving
) -> None:
    pages = {"/v1/models": recorded("vllm/models"), "/openapi.json": recorded(f"vllm/openapi_{routes}")}
    base, lora = await VllmEngine(serving(pages)[0]).describe()
    evidence = tuple(Evidence(task, "engine") for task in tasks)
    assert base == EngineModel(BASE, tasks, 4096, None, "vllm", facts=Facts(), evidence=evidence, untold=untold)
    assert (lora.name, lora.tasks, lora.context_length, lora.untold) == ("sql-lora", tasks, 4096, untold)


async def test_one_without_an_openapi_document_tells_nothing(recorded: Recorded, serving: Serving) -> None:
    models = await VllmEngine(serving({"/v1/models": recorded("vllm/models")})[0]).describe()
    assert [(model.tasks, model.untold) for model in models] == [((), TASKS)] * 2


async def test_only_the_list_is_asked_for_as_long_as_it_stays(recorded: Recorded, serving: Serving) -> None:
    pages = {"/v1/models": recorded("vllm/models"), "/openapi.json": recorded("vllm/openapi_generate")}
    connection, http = serving(pages)
    engine = VllmEngine(connection)
    first = await engine.describe()
    for row in pages["/v1/models"]["data"]:
        row["created"] += 1  # it writes the time of the request there
    assert await engine.describe() == first
    assert [sent.url.removeprefix("http://engine") for sent in http.sent] == [
        "/v1/models",
        "/openapi.json",
        "/v1/models",
    ]


async def test_routes_that_do_not_come_in_time_are_asked_for_again(recorded: Recorded, serving: Serving) -> None:
    pages = {"/v1/models": recorded("vllm/models"), "/openapi.json": UpstreamTimeoutError("busy")}
    engine = VllmEngine(serving(pages)[0])
    with pytest.raises(UpstreamTimeoutError):
        await engine.describe()
    pages["/openapi.json"] = recorded("vllm/openapi_embed")
    assert (await engine.describe())[0].tasks == ("embed",)


async def described(pages: dict[str, Any], serving: Serving, recorded: Recorded) -> tuple[VllmEngine, FakeHttpClient]:
    routes = {"/v1/models": recorded("vllm/models"), "/openapi.json": recorded("vllm/openapi_generate")}
    connection, http = serving(routes | pages)
    engine = VllmEngine(connection)
    await engine.describe()
    return engine, http


CHAT = {
    "model": "m",
    "messages": [{"role": "user", "content": "x"}],
    "tools": [{"type": "function"}],
    "continue_final_message": True,
    "add_generation_prompt": False,
    "chat_template_kwargs": {"thinking": True},
}


async def test_tokens_are_counted_by_its_tokenizer(serving: Serving, recorded: Recorded) -> None:
    answer = {"count": 7, "max_model_len": 4096, "tokens": [1] * 7}
    engine, http = await described({"/tokenize": answer}, serving, recorded)
    assert await engine.count_tokens(CHAT | {"max_tokens": 5, "cache_salt": "s"}) == 7
    assert http.sent[-1].json() == CHAT


@pytest.mark.parametrize("answer", [{}, {"count": -1}, {"count": "7"}])
async def test_a_count_that_is_none_is_its_failure(answer: Any, serving: Serving, recorded: Recorded) -> None:
    engine, _ = await described({"/tokenize": answer}, serving, recorded)
    with pytest.raises(EngineFailedError):
        await engine.count_tokens(CHAT)


async def test_images_are_not_counted(serving: Serving, recorded: Recorded) -> None:
    engine, http = await described({}, serving, recorded)
    before = len(http.sent)
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}
    with pytest.raises(InvalidRequestError, match="images"):
        await engine.count_tokens({"model": "m", "messages": [image]})
    assert len(http.sent) == before


async def test_without_the_route_nothing_is_counted(serving: Serving, recorded: Recorded) -> None:
    pages: list[Any] = [{"paths": {"/v1/chat/completions": {}}}, json_response({}, 404)]
    for page in pages:
        engine, _ = await described({"/openapi.json": page}, serving, recorded)
        with pytest.raises(NotSupportedError, match="count"):
            await engine.count_tokens(CHAT)


async def test_its_own_messages_drop_the_salt_so_they_are_not_asked(serving: Serving, recorded: Recorded) -> None:
    engine, _ = await described({}, serving, recorded)
    assert not engine.has("/v1/messages")
    assert not engine.has("/v1/messages/count_tokens")


async def test_messages_that_take_a_salt_are_asked_and_count_their_tokens(serving: Serving, recorded: Recorded) -> None:
    document = recorded("vllm/openapi_generate")
    schema = {"properties": {"cache_salt": {"type": "string"}}}
    content = {"application/json": {"schema": schema}}
    document["paths"]["/v1/messages"] = {"post": {"requestBody": {"content": content}}}
    engine, _ = await described({"/openapi.json": document}, serving, recorded)
    assert engine.has("/v1/messages")
    assert engine.has("/v1/messages/count_tokens")


async def test_requests_pass_as_they_are(serving: Serving) -> None:
    connection, http = serving({"/v1/messages": {"id": 1}})
    assert await VllmEngine(connection).answer("/v1/messages", {"model": "m", "x": 1}) == {"id": 1}
    assert http.sent[0].json() == {"model": "m", "x": 1}
