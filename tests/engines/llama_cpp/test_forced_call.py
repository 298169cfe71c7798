import json
from typing import Any

import jsonschema_rs
import pytest

from privity.engines.engine import Json
from privity.engines.llama_cpp.completion import Usage
from privity.engines.llama_cpp.forced_call import ATTEMPTS, NAME_TOKENS, Forced, forced_choice
from privity.errors import EngineFailedError, InvalidRequestError
from privity.testing.fake_llama import CANARY, FakeLlama, llama_error, ready

CHAT = "/v1/chat/completions"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "not": {"const": 0}}},
    "required": ["city"],
}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
TIME = {"type": "function", "function": {"name": "time"}}
NAMED = {"type": "function", "function": {"name": "time"}}
FITS, FITS_NOT, NO_JSON = '{"city":"Köln"}', '{"city":"Köln","days":0}', '{"city":"Kö'


def asking(*tools: Json, choice: Any = "required", **members: Any) -> Json:
    messages = [{"role": "user", "content": "hello"}]
    return {"model": "tiny", "messages": messages, "tools": list(tools), "tool_choice": choice, **members}


async def answered(body: Json, *writes: str, context: int = 4096) -> tuple[Json, list[Json]]:
    """Return the answer, and the generations that were asked for."""
    engine, http = await ready(FakeLlama(context=context, writes=list(writes)))
    answer = await engine.answer(CHAT, body)
    assert isinstance(answer, dict)
    assert all(each.closed for each in http.answers)
    return answer, [sent.json() for sent in http.sent if sent.url.endswith("/completion")]


def call_of(answer: Json) -> tuple[str, str]:
    (choice,) = answer["choices"]
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["type"] == "function"
    assert call["id"].startswith("call_")
    return call["function"]["name"], call["function"]["arguments"]


@pytest.mark.parametrize(
    ("body", "choice"),
    [
        ({}, None),
        ({"tool_choice": None}, None),
        ({"tool_choice": "auto"}, None),
        ({"tool_choice": "none"}, None),
        ({"tool_choice": "required"}, Forced()),
        ({"tool_choice": NAMED}, Forced("time")),
    ],
)
def test_a_call_is_forced_where_the_request_demands_one(body: Json, choice: Forced | None) -> None:
    assert forced_choice(body) == choice


async def test_a_required_call_chooses_a_tool_and_then_writes_its_arguments() -> None:
    answer, (choosing, writing) = await answered(asking(WEATHER, TIME), '"weather"', FITS)
    assert call_of(answer) == ("weather", FITS)
    assert jsonschema_rs.validator_for(PARAMETERS).is_valid(json.loads(FITS))
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert choosing["prompt"].endswith('<tool_call>\n{"name": ')
    assert choosing["json_schema"]["enum"] == ["weather", "time"]
    assert choosing["n_predict"] == NAME_TOKENS
    assert writing["prompt"] == choosing["prompt"] + '"weather", "arguments": '
    assert set(writing["json_schema"]["properties"]) == {"city", "days"}
    prompt, completion = len(choosing["prompt"]), len('"weather"' + FITS)
    assert answer["usage"] == Usage(prompt, completion).as_json()


async def test_with_one_tool_there_is_nothing_to_choose() -> None:
    answer, (writing,) = await answered(asking(WEATHER), FITS)
    assert call_of(answer) == ("weather", FITS)
    assert answer["usage"]["completion_tokens"] == len(FITS)
    assert writing["prompt"].endswith('{"name": "weather", "arguments": ')


async def test_a_named_tool_is_the_one_that_is_called() -> None:
    answer, (writing,) = await answered(asking(WEATHER, TIME, choice=NAMED), "{}")
    assert call_of(answer) == ("time", "{}")
    assert writing["json_schema"]["additionalProperties"] is False


async def test_what_follows_the_arguments_is_dropped() -> None:
    assert call_of((await answered(asking(WEATHER), FITS + "}\n</tool_call>"))[0]) == ("weather", FITS)


@pytest.mark.parametrize("bad", [FITS_NOT, NO_JSON, ""])
@pytest.mark.parametrize("tries", range(1, ATTEMPTS))
async def test_arguments_that_do_not_fit_are_written_again_otherwise(bad: str, tries: int) -> None:
    answer, asked = await answered(asking(WEATHER), *[bad] * tries, FITS)
    assert call_of(answer) == ("weather", FITS)
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert answer["usage"]["completion_tokens"] == tries * len(bad) + len(FITS)
    assert len({(each["temperature"], each.get("seed")) for each in asked}) == tries + 1


@pytest.mark.parametrize("bad", [FITS_NOT, NO_JSON])
async def test_after_the_last_try_it_is_an_error(bad: str) -> None:
    engine, http = await ready(FakeLlama(writes=[bad] * (ATTEMPTS + 1)))
    with pytest.raises(EngineFailedError) as caught:
        await engine.answer(CHAT, asking(WEATHER))
    assert (caught.value.status, caught.value.code, caught.value.param) == (502, "model_output_invalid", "tools")
    assert sum(sent.url.endswith("/completion") for sent in http.sent) == ATTEMPTS
    assert all(each.closed for each in http.answers)


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
async def test_arguments_that_the_client_cuts_finish_with_length(limit: str) -> None:
    answer, _ = await answered(asking(WEATHER, **{limit: 5}), *[FITS] * ATTEMPTS)
    assert call_of(answer) == ("weather", FITS[:5])
    assert answer["choices"][0]["finish_reason"] == "length"


async def test_arguments_that_only_the_context_cuts_are_an_error() -> None:
    llama = FakeLlama(context=60, writes=["x" * 100] * ATTEMPTS)
    engine, _ = await ready(llama)
    with pytest.raises(EngineFailedError):
        await engine.answer(CHAT, asking(WEATHER))


@pytest.mark.parametrize("chosen", ["", "hello", '"nobody"', '["weather"]', '{"weather":1}', "null"])
async def test_a_choice_that_is_none_is_an_error(chosen: str) -> None:
    engine, http = await ready(FakeLlama(writes=[chosen]))
    with pytest.raises(EngineFailedError) as caught:
        await engine.answer(CHAT, asking(WEATHER, TIME))
    assert caught.value.code == "model_output_invalid"
    assert all(each.closed for each in http.answers)


async def test_greedy_unless_the_request_says_otherwise_and_never_with_its_stop() -> None:
    _, (greedy,) = await answered(asking(WEATHER, temperature=None, stop=["}"]), FITS)
    _, (warm,) = await answered(asking(WEATHER, temperature=0.7, seed=5), FITS)
    assert (greedy["temperature"], "stop" in greedy) == (0, False)
    assert (warm["temperature"], warm["seed"]) == (0.7, 5)


@pytest.mark.parametrize(
    ("tools", "choice", "param"),
    [
        ((WEATHER,), NAMED, "tool_choice"),
        (
            (TIME, {"function": {"name": "x", "parameters": {"type": "text"}}}),
            "required",
            "tools[1].function.parameters",
        ),
        (
            (TIME, {"function": {"name": "x", "parameters": {"$ref": "http://x/"}}}),
            NAMED,
            "tools[1].function.parameters",
        ),
    ],
)
async def test_what_cannot_be_called_is_the_clients_error(tools: tuple[Json, ...], choice: Any, param: str) -> None:
    engine, http = await ready(FakeLlama())
    with pytest.raises(InvalidRequestError) as caught:
        await engine.answer(CHAT, asking(*tools, choice=choice))
    assert (caught.value.status, caught.value.param) == (400, param)
    assert http.sent == []


@pytest.mark.parametrize("path", ["/apply-template", "/tokenize", "/completion"])
async def test_an_engine_that_fails_underway_keeps_its_words_inside(path: str) -> None:
    engine, http = await ready(FakeLlama(writes=[FITS], instead={path: lambda _request: llama_error(500)}))
    with pytest.raises(EngineFailedError) as caught:
        await engine.answer(CHAT, asking(WEATHER))
    assert CANARY not in json.dumps(caught.value.body())
    assert all(each.closed for each in http.answers)


@pytest.mark.parametrize("usage", [True, False])
async def test_a_streamed_call_comes_in_openais_chunks(*, usage: bool) -> None:
    options = {"stream": True, "stream_options": {"include_usage": usage}}
    engine, http = await ready(FakeLlama(writes=[FITS]))
    answer = await engine.answer(CHAT, asking(WEATHER, **options))
    assert not isinstance(answer, dict)
    chunks = [chunk async for chunk in answer]
    assert {(chunk["object"], chunk["id"], chunk["model"]) for chunk in chunks} == {
        ("chat.completion.chunk", chunks[0]["id"], "tiny")
    }
    choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    assert choices[0]["delta"]["role"] == "assistant"
    parts = [part for choice in choices for part in choice["delta"].get("tool_calls", ())]
    assert "".join(part["function"].get("name", "") for part in parts) == "weather"
    assert "".join(part["function"]["arguments"] for part in parts) == FITS
    assert {part["index"] for part in parts} == {0}
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["tool_calls"]
    assert ("usage" in chunks[-1], chunks[-1]["choices"] == []) == (usage, usage)
    assert all(each.closed for each in http.answers)


async def test_each_of_several_choices_is_a_call() -> None:
    answer, _ = await answered(asking(WEATHER, n=3), FITS, '{"city":"Bonn"}', '{"city":"Ulm"}')
    calls = [choice["message"]["tool_calls"][0]["function"]["arguments"] for choice in answer["choices"]]
    assert [json.loads(call)["city"] for call in calls] == ["Köln", "Bonn", "Ulm"]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
