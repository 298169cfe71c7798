from collections.abc import Callable
from typing import Any

import pytest

from privity.catalogue.model import TASKS, Evidence, Facts
from privity.engines.connection import EngineConnection
from privity.engines.engine import EngineModel
from privity.engines.vllm import VllmEngine
from privity.errors import UpstreamTimeoutError
from privity.testing.fake_http import FakeHttpClient

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


async def test_requests_pass_as_they_are(serving: Serving) -> None:
    connection, http = serving({"/v1/messages": {"id": 1}})
    assert await VllmEngine(connection).answer("/v1/messages", {"model": "m", "x": 1}) == {"id": 1}
    assert http.sent[0].json() == {"model": "m", "x": 1}
