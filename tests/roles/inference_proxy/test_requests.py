import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import ApiError, InvalidRequestError, RouteNotFoundError
from privity.roles.inference_proxy.members import MAX_TOOLS
from privity.roles.inference_proxy.requests import MAX_CHOICES, MAX_INPUTS, check_request
from privity.testing.pictures import image_part

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
USER = {"role": "user", "content": "hello"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
NAMED = {"type": "function", "function": {"name": "f"}}
ASKED = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


def tools(*names: str) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": name}} for name in names]


def message(**members: Any) -> dict[str, Any]:
    return {"messages": [USER | members]}


def calling(arguments: Any) -> dict[str, Any]:
    return message(tool_calls=[{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}])


def formatted(**json_schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": json_schema}}


GOOD: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {}),
    (CHAT, {"unknown": {"member": [1, None]}}),
    (CHAT, {"stream": True, "stream_options": {"include_usage": True, "new": 1}}),
    (CHAT, dict.fromkeys(("stream", "max_tokens", "n", "temperature", "stop", "tools", "tool_choice", "seed"))),
    (CHAT, {"temperature": 0, "top_p": 1, "frequency_penalty": -2, "presence_penalty": 2.0}),
    (CHAT, {"seed": -1, "n": MAX_CHOICES}),
    (CHAT, {"max_tokens": 1, "max_completion_tokens": 10**9, "stop": "x", "logit_bias": {"5": -100}}),
    (CHAT, {"stop": [str(each) for each in range(16)], "logprobs": True, "top_logprobs": 20}),
    (CHAT, {"tools": [TOOL], "tool_choice": "required"}),
    (CHAT, {"tools": [TOOL], "tool_choice": NAMED}),
    (CHAT, {"tools": [], "tool_choice": "auto"}),
    (CHAT, {"tools": tools(*(f"f{each}" for each in range(MAX_TOOLS)))}),
    (CHAT, {"tools": tools("a.b-c_9" * 9)}),
    (CHAT, {"response_format": {"type": "json_object"}}),
    (CHAT, formatted(name="x", schema={}, strict=True)),
    (CHAT, message(role="developer")),
    (CHAT, message(content="")),
    (CHAT, message(content=[{"type": "text", "text": ""}, image_part()])),
    (CHAT, {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [ASKED]}]}),
    (CHAT, {"messages": [USER, {"role": "assistant", "tool_calls": [ASKED]}]}),
    (CHAT, message(role="tool", tool_call_id="c")),
    (COMPLETIONS, {"prompt": "a"}),
    (COMPLETIONS, {"prompt": ["a", "b"]}),
    (COMPLETIONS, {"prompt": [1, 2, 3]}),
    (COMPLETIONS, {"prompt": [[1], [2, 3]]}),
    (EMBEDDINGS, {"input": "a"}),
    (EMBEDDINGS, {"input": ["a"] * MAX_INPUTS}),
    (EMBEDDINGS, {"input": [0, 1]}),
    (EMBEDDINGS, {"input": [[0], [1]], "encoding_format": "base64", "dimensions": 1, "user": "me"}),
]  # fmt: skip


def request(endpoint: str, members: dict[str, Any]) -> dict[str, Any]:
    needed: dict[str, Any] = {CHAT: {"messages": [USER]}, COMPLETIONS: {"prompt": "a"}, EMBEDDINGS: {"input": "a"}}
    return {"model": "m", **needed[endpoint], **members}


@pytest.mark.parametrize(("endpoint", "members"), GOOD)
def test_a_good_request_passes_and_is_not_changed(endpoint: str, members: dict[str, Any]) -> None:
    body = request(endpoint, members)
    before = json.dumps(body)
    check_request(endpoint, body)
    assert json.dumps(body) == before


BAD: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, {"model": 7}, "model"),
    (CHAT, {"model": None}, "model"),
    (CHAT, {"messages": None}, "messages"),
    (CHAT, {"messages": "hello"}, "messages"),
    (CHAT, {"messages": []}, "messages"),
    (CHAT, {"messages": [USER, "hello"]}, "messages[1]"),
    (CHAT, {"messages": [{"content": "x"}]}, "messages[0]"),
    (CHAT, {"messages": [USER, {"role": "robot", "content": "x"}]}, "messages[1].role"),
    (CHAT, message(content=7), "messages[0].content"),
    (CHAT, message(content=None), "messages[0].content"),
    (CHAT, message(content=[]), "messages[0].content"),
    (CHAT, message(content=[{"text": "x"}]), "messages[0].content[0]"),
    (CHAT, message(content=[{"type": "hologram"}]), "messages[0].content[0].type"),
    (CHAT, message(content=[{"type": "text", "text": "x"}, {"type": "text"}]), "messages[0].content"),
    (CHAT, message(content=[{"type": "text", "text": 7}]), "messages[0].content[0].text"),
    (CHAT, message(role="assistant", content=None), "messages[0].content"),
    (CHAT, message(tool_calls=[{"id": "c"}]), "messages[0].tool_calls[0]"),
    (CHAT, calling({}), "messages[0].tool_calls[0].function.arguments"),
    (CHAT, calling("["), "messages[0].tool_calls[0].function.arguments"),
    (CHAT, calling("[]"), "messages[0].tool_calls[0].function.arguments"),
    (CHAT, {"stream": "yes"}, "stream"),
    (CHAT, {"stream": 1}, "stream"),
    (CHAT, {"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    (CHAT, {"max_tokens": 0}, "max_tokens"),
    (CHAT, {"max_tokens": 1.0}, "max_tokens"),
    (CHAT, {"max_completion_tokens": -1}, "max_completion_tokens"),
    (CHAT, {"n": 0}, "n"),
    (CHAT, {"n": MAX_CHOICES + 1}, "n"),
    (CHAT, {"n": True}, "n"),
    (CHAT, {"n": 2.0}, "n"),
    (CHAT, {"temperature": -0.1}, "temperature"),
    (CHAT, {"temperature": 2.1}, "temperature"),
    (CHAT, {"temperature": "0"}, "temperature"),
    (CHAT, {"top_p": 1.1}, "top_p"),
    (CHAT, {"frequency_penalty": 3}, "frequency_penalty"),
    (CHAT, {"presence_penalty": -3}, "presence_penalty"),
    (CHAT, {"seed": 1.5}, "seed"),
    (CHAT, {"stop": 7}, "stop"),
    (CHAT, {"stop": ["x"] * 17}, "stop"),
    (CHAT, {"stop": ["x", 7]}, "stop[1]"),
    (CHAT, {"logit_bias": {"5": "x"}}, "logit_bias[...]"),
    (CHAT, {"logprobs": 1}, "logprobs"),
    (CHAT, {"top_logprobs": 21}, "top_logprobs"),
    (CHAT, {"tools": {}}, "tools"),
    (CHAT, {"tools": [{}]}, "tools[0]"),
    (CHAT, {"tools": [{"type": "function"}]}, "tools[0]"),
    (CHAT, {"tools": [TOOL | {"type": "retrieval"}]}, "tools[0].type"),
    (CHAT, {"tools": tools("two words")}, "tools[0].function.name"),
    (CHAT, {"tools": tools("x" * 65)}, "tools[0].function.name"),
    (CHAT, {"tools": tools("")}, "tools[0].function.name"),
    (CHAT, {"tools": [NAMED | {"function": {"name": "f", "parameters": []}}]}, "tools[0].function.parameters"),
    (CHAT, {"tools": tools(*(f"f{each}" for each in range(MAX_TOOLS + 1)))}, "tools"),
    (CHAT, {"tools": tools("f", "g", "f")}, "tools"),
    (CHAT, {"tool_choice": "always", "tools": [TOOL]}, "tool_choice"),
    (CHAT, {"tool_choice": "required"}, "tool_choice"),
    (CHAT, {"tool_choice": "required", "tools": []}, "tool_choice"),
    (CHAT, {"tool_choice": NAMED}, "tool_choice"),
    (CHAT, {"tool_choice": NAMED, "tools": tools("g")}, "tool_choice"),
    (CHAT, {"tool_choice": {"type": "function"}, "tools": [TOOL]}, "tool_choice"),
    (CHAT, {"response_format": "json"}, "response_format"),
    (CHAT, {"response_format": {"type": "xml"}}, "response_format.type"),
    (CHAT, {"response_format": {"type": "json_schema"}}, "response_format"),
    (CHAT, formatted(schema={}), "response_format.json_schema"),
    (CHAT, formatted(name="x", schema=[]), "response_format.json_schema.schema"),
    (COMPLETIONS, {"prompt": None}, "prompt"),
    (COMPLETIONS, {"prompt": ""}, "prompt"),
    (COMPLETIONS, {"prompt": []}, "prompt"),
    (COMPLETIONS, {"prompt": ["a", ""]}, "prompt"),
    (COMPLETIONS, {"prompt": {"text": "a"}}, "prompt"),
    (EMBEDDINGS, {"input": ""}, "input"),
    (EMBEDDINGS, {"input": []}, "input"),
    (EMBEDDINGS, {"input": ["a", ""]}, "input"),
    (EMBEDDINGS, {"input": ["a", 1]}, "input"),
    (EMBEDDINGS, {"input": [1, "a"]}, "input"),
    (EMBEDDINGS, {"input": [-1]}, "input"),
    (EMBEDDINGS, {"input": [True]}, "input"),
    (EMBEDDINGS, {"input": [1.5]}, "input"),
    (EMBEDDINGS, {"input": [[1], []]}, "input"),
    (EMBEDDINGS, {"input": [[1], ["a"]]}, "input"),
    (EMBEDDINGS, {"input": [None]}, "input"),
    (EMBEDDINGS, {"input": ["a"] * (MAX_INPUTS + 1)}, "input"),
    (EMBEDDINGS, {"encoding_format": "hex"}, "encoding_format"),
    (EMBEDDINGS, {"dimensions": 0}, "dimensions"),
    (EMBEDDINGS, {"dimensions": 2.0}, "dimensions"),
]  # fmt: skip


@pytest.mark.parametrize(("endpoint", "members", "param"), BAD)
def test_a_bad_request_is_told_which_member_is_wrong(endpoint: str, members: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_request(endpoint, request(endpoint, members))
    error = caught.value
    assert (error.status, error.type, error.param) == (400, "invalid_request_error", param)
    assert error.code in ("invalid_value", "missing_parameter", "invalid_request")
    assert error.message.endswith(".")


@pytest.mark.parametrize(
    ("endpoint", "missing"),
    [(CHAT, "model"), (CHAT, "messages"), (COMPLETIONS, "prompt"), (EMBEDDINGS, "input"), (EMBEDDINGS, "model")],
)
def test_a_missing_member_is_named(endpoint: str, missing: str) -> None:
    body = request(endpoint, {})
    del body[missing]
    with pytest.raises(InvalidRequestError) as caught:
        check_request(endpoint, body)
    assert (caught.value.param, caught.value.code) == (missing, "missing_parameter")


def test_an_unknown_endpoint_is_not_found() -> None:
    with pytest.raises(RouteNotFoundError):
        check_request("/v1/moderations", {"model": "m"})


MEMBERS = sorted({name for endpoint, members in GOOD for name in request(endpoint, members)})
KEYS = st.sampled_from(["type", "role", "name"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([CHAT, COMPLETIONS, EMBEDDINGS]), st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=5))
def test_any_request_passes_or_is_the_clients_error(endpoint: str, body: dict[str, Any]) -> None:
    caught: ApiError | None = None
    try:
        check_request(endpoint, body)
    except InvalidRequestError as error:
        caught = error
    assert caught is None or caught.param is not None
