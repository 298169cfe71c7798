"""The Responses API through `privity up`, with the official client."""

import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import FunctionToolParam, Response, ResponseFunctionToolCall
from pydantic import BaseModel

from privity.testing.programs import Up

CHAT, EMBED = "smollm2-135m-instruct", "all-minilm-l6-v2"
HELLO = "Say hello."
GET_WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "Weather of a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
    "strict": True,
}
WEATHER: list[Any] = [{"role": "user", "content": "What's the weather in Paris for 3 days?"}]


class City(BaseModel):
    name: str
    inhabitants: int


def test_the_clients_default_call_is_answered_and_nothing_is_stored(client: OpenAI) -> None:
    response = client.responses.create(model=CHAT, input=HELLO, temperature=0)
    assert response.output_text
    assert (response.status, response.model, response.model_dump()["store"]) == ("completed", CHAT, False)
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert response.id.startswith("resp_")
    with pytest.raises(openai.NotFoundError, match="not stored"):
        client.responses.retrieve(response.id)


def test_a_response_is_of_the_form_that_the_client_documents(client: OpenAI) -> None:
    raw = client.responses.with_raw_response.create(model=CHAT, input=HELLO, max_output_tokens=8, metadata={"a": "b"})
    response = Response.model_validate(json.loads(raw.text), strict=True)
    assert (response.metadata, response.max_output_tokens) == ({"a": "b"}, 8)


def test_instructions_and_earlier_turns_reach_the_model(client: OpenAI) -> None:
    alone = client.responses.create(model=CHAT, input=HELLO, max_output_tokens=1)
    turns: list[Any] = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [{"type": "input_text", "text": HELLO}]},
        *alone.output,
        {"role": "user", "content": "Again."},
    ]
    more = client.responses.create(model=CHAT, instructions="You are a parrot.", input=turns, max_output_tokens=1)
    assert more.instructions == "You are a parrot."
    assert more.usage is not None
    assert alone.usage is not None
    assert more.usage.input_tokens > alone.usage.input_tokens + 8


def test_an_answer_that_is_cut_is_incomplete(client: OpenAI) -> None:
    response = client.responses.create(model=CHAT, input="Count to a hundred.", max_output_tokens=3)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    *_, last = client.responses.create(model=CHAT, input="Count to a hundred.", max_output_tokens=3, stream=True)
    assert last.type == "response.incomplete"


def test_a_stream_adds_up_to_its_response(client: OpenAI) -> None:
    with client.responses.stream(model=CHAT, input=HELLO, temperature=0) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) > 1
    assert "".join(deltas) == final.output_text
    whole = client.responses.create(model=CHAT, input=HELLO, temperature=0)
    assert (final.output_text, final.model, final.usage) == (whole.output_text, CHAT, whole.usage)
    ids = {event.response.id for event in events if event.type in ("response.created", "response.completed")}
    assert ids == {final.id}


async def test_an_asynchronous_stream(running: Up) -> None:
    url = f"{running.url}/v1"
    async with AsyncOpenAI(base_url=url, api_key="unused", max_retries=0, timeout=120) as app:
        stream = await app.responses.create(model=CHAT, input=HELLO, temperature=0, stream=True)
        kinds = [event.type async for event in stream]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")


def test_a_structured_answer_is_parsed(client: OpenAI) -> None:
    asked: dict[str, Any] = {"model": CHAT, "input": "Name a city.", "text_format": City, "temperature": 0}
    response = client.responses.parse(**asked, max_output_tokens=200)
    assert isinstance(response.output_parsed, City)
    with client.responses.stream(**asked, max_output_tokens=200) as stream:
        assert stream.get_final_response().output_parsed == response.output_parsed


def test_a_forced_call_and_what_it_returns(client: OpenAI) -> None:
    asked: dict[str, Any] = {"model": CHAT, "tools": [GET_WEATHER]}
    turns = list(WEATHER)
    first = client.responses.create(**asked, input=turns, tool_choice="required")
    (call,) = first.output
    assert isinstance(call, ResponseFunctionToolCall)
    assert call.name == "get_weather"
    assert 1 <= json.loads(call.arguments)["days"] <= 7
    turns += [call, {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny, 20 degrees."}]
    second = client.responses.create(**asked, input=turns, tool_choice="none", temperature=0, max_output_tokens=16)
    assert second.output_text


def test_a_forced_call_streams(client: OpenAI) -> None:
    choice: Any = {"type": "function", "name": "get_weather"}
    with client.responses.stream(model=CHAT, tools=[GET_WEATHER], input=WEATHER, tool_choice=choice) as stream:
        kinds = {event.type.removeprefix("response.") for event in stream}
        (call,) = stream.get_final_response().output
    assert {"function_call_arguments.delta", "function_call_arguments.done"} <= kinds
    assert call.type == "function_call"
    assert isinstance(call.parsed_arguments, dict)
    assert 1 <= call.parsed_arguments["days"] <= 7


IMAGE = {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "auto"}


@pytest.mark.parametrize(
    ("asked", "param", "says"),
    [
        ({"store": True}, "store", "send `store` as false"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "send the whole conversation as `input`"),
        ({"conversation": "conv_1"}, "conversation", "Nothing is stored here"),
        ({"background": True}, "background", "wait for it, or stream it"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "only functions are tools here"),
        ({"input": [{"role": "user", "content": [IMAGE]}]}, "input", "takes no images"),
        ({"input": "hi " * 6000}, "input", "context"),
        ({"model": EMBED}, "model", "does not support the task `generate`"),
        (
            {"tools": [GET_WEATHER | {"parameters": {"type": 7}}], "tool_choice": "required"},
            "tools[0].parameters",
            "`tools[0].parameters` isn't a valid JSON schema",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_had_is_refused_clearly(
    client: OpenAI, asked: dict[str, Any], param: str, says: str, *, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(**{"model": CHAT, "input": HELLO, "stream": stream, **asked})
    assert caught.value.param == param
    assert says in str(caught.value.body)
