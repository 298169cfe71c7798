from collections.abc import Callable
from typing import Any

import pytest

from privity.catalogue.model import Evidence, Facts
from privity.engines.connection import EngineConnection
from privity.engines.engine import EngineModel
from privity.engines.sglang import SglangEngine
from privity.errors import UpstreamProtocolError
from privity.testing.fake_http import FakeHttpClient, json_response

Recorded = Callable[[str], Any]
Serving = Callable[[dict[str, Any]], tuple[EngineConnection, FakeHttpClient]]

NAME = "qwen/qwen2.5-0.5b-instruct"


def pages_of(recorded: Recorded, model: dict[str, Any], server: dict[str, Any]) -> dict[str, Any]:
    return {
        "/v1/models": recorded("sglang/models"),
        "/model_info": recorded("sglang/model_info") | model,
        "/server_info": recorded("sglang/server_info") | server,
    }


async def test_recorded_answers_give_tasks_context_and_facts(recorded: Recorded, serving: Serving) -> None:
    models = await SglangEngine(serving(pages_of(recorded, {}, {}))[0]).describe()
    evidence = (Evidence("generate", "engine"),)
    facts = Facts(architecture="qwen2")
    assert models == (EngineModel(NAME, ("generate",), 32768, None, "sglang", facts=facts, evidence=evidence),)


@pytest.mark.parametrize(
    ("model", "server", "tasks", "untold"),
    [
        ({}, {"tool_call_parser": "qwen25"}, ("generate", "tool_calling"), ()),
        ({"has_image_understanding": True}, {}, ("generate", "vision"), ()),
        ({"has_image_understanding": None}, {}, ("generate",), ("vision",)),
        ({"has_audio_understanding": True}, {}, ("generate",), ("transcribe",)),
        ({"architectures": ["WhisperForConditionalGeneration"]}, {}, (), ("transcribe",)),
        ({"is_generation": False}, {"tool_call_parser": "qwen25"}, ("embed",), ()),
        ({"is_generation": False, "architectures": ["BertForSequenceClassification"]}, {}, (), ()),
        ({"is_generation": False, "architectures": ["InternLM2ForRewardModel"]}, {}, (), ()),
        ({"is_generation": False, "architectures": None}, {}, ("embed",), ()),
    ],
)
async def test_tasks_are_what_the_model_is_and_how_the_server_was_started(
    model: dict[str, Any],
    server: dict[str, Any],
    tasks: tuple[str, ...],
    untold: tuple[str, ...],
    recorded: Recorded,
    serving: Serving,
) -> None:
    (described,) = await SglangEngine(serving(pages_of(recorded, model, server))[0]).describe()
    assert (described.tasks, described.untold) == (tasks, untold)
    assert tuple(each.task for each in described.evidence) == tasks


async def test_an_older_server_has_other_paths(recorded: Recorded, serving: Serving) -> None:
    pages = pages_of(recorded, {}, {"quantization": "fp8", "tool_call_parser": "qwen25"})
    pages["/get_model_info"], pages["/get_server_info"] = pages.pop("/model_info"), pages.pop("/server_info")
    (model,) = await SglangEngine(serving(pages)[0]).describe()
    assert (model.tasks, model.facts.quantization) == (("generate", "tool_calling"), "fp8")


async def test_where_the_server_hides_how_it_was_started_tools_are_untold(recorded: Recorded, serving: Serving) -> None:
    pages = pages_of(recorded, {}, {})
    del pages["/server_info"]
    (model,) = await SglangEngine(serving(pages)[0]).describe()
    assert (model.tasks, model.untold) == (("generate",), ("tool_calling",))


@pytest.mark.parametrize("path", ["/model_info", "/server_info"])
@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_server_that_is_still_starting_is_asked_again(
    path: str, status: int, recorded: Recorded, serving: Serving
) -> None:
    pages = pages_of(recorded, {}, {"tool_call_parser": "qwen25"})
    page = pages[path]
    pages[path] = json_response({}, status)
    engine = SglangEngine(serving(pages)[0])
    with pytest.raises(UpstreamProtocolError):
        await engine.describe()
    pages[path] = page
    assert (await engine.describe())[0].tasks == ("generate", "tool_calling")


async def test_only_the_list_is_asked_for_as_long_as_it_stays(recorded: Recorded, serving: Serving) -> None:
    connection, http = serving(pages_of(recorded, {}, {}))
    engine = SglangEngine(connection)
    for _ in range(3):
        await engine.describe()
    assert [sent.url.removeprefix("http://engine") for sent in http.sent][3:] == ["/openapi.json", *["/v1/models"] * 2]


async def test_routes_say_what_else_it_has(recorded: Recorded, serving: Serving) -> None:
    routes: Any = {"/openapi.json": {"paths": {"/v1/messages": {}, "/v1/messages/count_tokens": {}}}}
    engine = SglangEngine(serving(pages_of(recorded, {}, {}) | routes)[0])
    await engine.describe()
    assert engine.has("/v1/messages/count_tokens")
    assert not engine.has("/v1/messages")


@pytest.mark.parametrize(
    "model", [{"is_generation": None}, {"is_generation": 1}, {"architectures": "x"}, {"model_type": 1}]
)
async def test_odd_answers_are_an_upstream_error(model: dict[str, Any], recorded: Recorded, serving: Serving) -> None:
    with pytest.raises(UpstreamProtocolError):
        await SglangEngine(serving(pages_of(recorded, model, {}))[0]).describe()


async def test_requests_pass_as_they_are(serving: Serving) -> None:
    connection, http = serving({"/v1/completions": {"id": 1}})
    assert await SglangEngine(connection).answer("/v1/completions", {"prompt": "a"}) == {"id": 1}
    assert http.sent[0].json() == {"prompt": "a"}
