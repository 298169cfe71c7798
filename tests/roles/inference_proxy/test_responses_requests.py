import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.engines.translation.responses_request import chat_of
from privity.errors import ApiError, InvalidRequestError
from privity.roles.inference_proxy.members import MAX_TOOLS
from privity.roles.inference_proxy.requests import check_request
from privity.roles.inference_proxy.responses_requests import MAX_METADATA

USER = {"role": "user", "content": "hello"}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True, "description": "x"}
NAMED = {"type": "function", "name": "f"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": '{"x": 1}', "status": None}
OUTPUT = {"type": "function_call_output", "call_id": "c", "output": "4"}
THOUGHT: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None}
IMAGE = {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "auto"}
SCHEMA = {"type": "json_schema", "name": "n", "schema": {}}


def text(kind: str = "input_text") -> dict[str, Any]:
    return {"type": kind, "text": "x"}


def said(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"input": [{"type": "message", "role": role, "content": list(parts)}]}


def allowed(*names: str, mode: str = "auto") -> dict[str, Any]:
    return {"type": "allowed_tools", "mode": mode, "tools": [{"type": "function", "name": name} for name in names]}


def checked(members: dict[str, Any]) -> dict[str, Any]:
    body = {"model": "m", "input": "hello", **members}
    check_request("/v1/responses", body)
    return body


GOOD: list[dict[str, Any]] = [
    {},
    dict.fromkeys(("instructions", "store", "tools", "tool_choice", "text", "reasoning", "include", "metadata")),
    dict.fromkeys(("previous_response_id", "conversation", "background", "prompt", "truncation", "stream")),
    {"store": False, "background": False, "truncation": "auto", "stream": True},
    {"stream_options": {"include_obfuscation": False}, "user": "me", "safety_identifier": "s", "prompt_cache_key": "k"},
    {"service_tier": "auto", "max_tool_calls": 3, "seed": 1},
    {"temperature": 0, "top_p": 1, "max_output_tokens": 1, "top_logprobs": 20},
    {"include": ["reasoning.encrypted_content", "message.output_text.logprobs"]},
    {"metadata": {str(each): "x" * 512 for each in range(MAX_METADATA)}},
    {"reasoning": {"effort": "xhigh", "summary": "auto"}},
    {"text": {"verbosity": "low"}},
    {"text": {"format": {"type": "text"}}},
    {"text": {"format": SCHEMA | {"strict": True, "description": None}}},
    {"tools": [FUNCTION], "tool_choice": "required", "parallel_tool_calls": False},
    {"tools": [FUNCTION], "tool_choice": NAMED},
    {"tools": [FUNCTION, FUNCTION | {"name": "g"}], "tool_choice": allowed("g", mode="required")},
    {"tools": [], "tool_choice": "auto"},
    {"tools": [{"type": "function", "name": f"f{each}"} for each in range(MAX_TOOLS)]},
    {"input": [USER, {"role": "assistant", "content": "x"}, {"role": "system", "content": ""}]},
    {"input": [USER, THOUGHT, CALL, OUTPUT]},
    {"input": [THOUGHT | {"content": [{"type": "reasoning_text", "text": "So."}]}, CALL | {"arguments": ""}]},
    {"input": [CALL, OUTPUT | {"output": [text(), IMAGE]}]},
    said(text(), IMAGE, IMAGE | {"image_url": "https://x.org"}),
    said(text("output_text"), {"type": "refusal", "refusal": "No."}, role="assistant"),
    said(),
]  # fmt: skip


@pytest.mark.parametrize("members", GOOD)
def test_a_good_request_passes_is_not_changed_and_has_its_chat(members: dict[str, Any]) -> None:
    before = json.dumps(members)
    body = checked(members)
    assert chat_of(body)["messages"]
    assert json.dumps(members) == before


BAD: list[tuple[dict[str, Any], str]] = [
    ({"model": 7}, "model"),
    ({"input": None}, "input"),
    ({"input": []}, "input"),
    ({"input": ["hello"]}, "input[0]"),
    ({"input": [USER, {"role": "robot", "content": "x"}]}, "input[1].role"),
    ({"input": [{"content": "x"}]}, "input[0]"),
    ({"input": [{"role": "user"}]}, "input[0]"),
    ({"input": [{"role": "user", "content": 7}]}, "input[0].content"),
    ({"input": [{"type": None, "role": "user", "content": "x"}]}, "input[0].type"),
    ({"input": [{"type": ["message"], "role": "user", "content": "x"}]}, "input[0].type"),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
    ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, "input[0].type"),
    ({"input": [OUTPUT]}, "input[0].call_id"),
    ({"input": [OUTPUT, CALL]}, "input[0].call_id"),
    ({"input": [CALL, OUTPUT | {"call_id": "d"}]}, "input[1].call_id"),
    ({"input": [CALL, OUTPUT | {"output": {}}]}, "input[1].output"),
    ({"input": [CALL, OUTPUT | {"output": [{"type": "input_file", "file_id": "f"}]}]}, "input[1].output[0].type"),
    ({"input": [CALL | {"arguments": "[]"}]}, "input[0].arguments"),
    ({"input": [CALL | {"arguments": "{"}]}, "input[0].arguments"),
    ({"input": [CALL | {"arguments": {}}]}, "input[0].arguments"),
    ({"input": [CALL | {"name": "a b"}]}, "input[0].name"),
    ({"input": [THOUGHT | {"content": [7]}]}, "input[0].content[0]"),
    ({"input": [THOUGHT, {"type": "reasoning"}]}, "input"),
    (said(text(), text("text")), "input[0].content[1].type"),
    (said({"type": "input_text"}), "input[0].content[0]"),
    (said({"type": "input_text", "text": 7}), "input[0].content[0].text"),
    (said({"type": "input_audio", "input_audio": {}}), "input[0].content[0].type"),
    (said({"type": "input_file", "file_url": "https://x"}), "input[0].content[0].type"),
    (said({"type": "input_image", "file_id": "f"}), "input[0].content[0]"),
    (said({"type": "input_image", "image_url": {"url": "https://x"}}), "input[0].content[0].image_url"),
    (said(IMAGE | {"image_url": "http://x"}), "input[0].content"),
    (said(IMAGE | {"detail": "huge"}), "input[0].content[0].detail"),
    (said(IMAGE, role="assistant"), "input[0].content[0].type"),
    (said(IMAGE, role="developer"), "input[0].content[0].type"),
    (said({"text": "x"}), "input[0].content[0].type"),
    (said("x"), "input[0].content[0]"),
    ({"instructions": ["x"]}, "instructions"),
    ({"stream": "yes"}, "stream"),
    ({"store": True}, "store"),
    ({"store": "no"}, "store"),
    ({"previous_response_id": "resp_1"}, "previous_response_id"),
    ({"conversation": "conv_1"}, "conversation"),
    ({"conversation": {"id": "conv_1"}}, "conversation"),
    ({"background": True}, "background"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ({"context_management": []}, "context_management"),
    ({"moderation": {"model": "x"}}, "moderation"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"temperature": 2.1}, "temperature"),
    ({"top_p": -1}, "top_p"),
    ({"top_logprobs": 21}, "top_logprobs"),
    ({"include": ["web_search_call.action.sources"]}, "include"),
    ({"include": [7]}, "include[0]"),
    ({"metadata": {"a": 1}}, "metadata[...]"),
    ({"metadata": {str(each): "" for each in range(MAX_METADATA + 1)}}, "metadata"),
    ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
    ({"text": {"format": {"type": "yaml"}}}, "text.format.type"),
    ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format"),
    ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format"),
    ({"text": {"format": SCHEMA | {"schema": 7}}}, "text.format.schema"),
    ({"text": {"verbosity": "loud"}}, "text.verbosity"),
    ({"truncation": "yes"}, "truncation"),
    ({"tools": {}}, "tools"),
    ({"tools": [FUNCTION | {"type": "web_search"}]}, "tools[0].type"),
    ({"tools": [FUNCTION, {"type": "mcp", "server_url": "https://x"}]}, "tools[1].type"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0]"),
    ({"tools": [FUNCTION | {"name": "a b"}]}, "tools[0].name"),
    ({"tools": [FUNCTION | {"parameters": []}]}, "tools[0].parameters"),
    ({"tools": [FUNCTION, FUNCTION]}, "tools"),
    ({"tools": [FUNCTION | {"name": f"f{each}"} for each in range(MAX_TOOLS + 1)]}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": "always"}, "tool_choice"),
    ({"tool_choice": NAMED}, "tool_choice"),
    ({"tools": [FUNCTION], "tool_choice": NAMED | {"name": "g"}}, "tool_choice"),
    ({"tools": [FUNCTION], "tool_choice": {"type": "function"}}, "tool_choice"),
    ({"tools": [FUNCTION], "tool_choice": {"type": "web_search"}}, "tool_choice"),
    ({"tools": [FUNCTION], "tool_choice": allowed("g")}, "tool_choice"),
    ({"tools": [FUNCTION], "tool_choice": allowed()}, "tool_choice.tools"),
    ({"tools": [FUNCTION], "tool_choice": allowed("f", mode="none")}, "tool_choice.mode"),
]  # fmt: skip


@pytest.mark.parametrize(("members", "param"), BAD)
def test_a_bad_request_says_which_member_is_to_blame(members: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        checked(members)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize(
    ("members", "advice"),
    [
        ({"store": True}, "send `store` as false"),
        ({"previous_response_id": "resp_1"}, "send the whole conversation as `input`"),
        ({"background": True}, "wait for it, or stream it"),
        ({"input": [OUTPUT]}, "send the whole conversation as `input`, with the model's calls"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "send the item itself"),
        ({"tools": [{"type": "web_search"}]}, "Declare a function, and run it in your app"),
        (said({"type": "input_file", "file_id": "f"}), "send its text as `input_text`"),
        (said({"type": "input_audio"}), "POST /v1/audio/transcriptions"),
    ],
)
def test_what_needs_a_memory_or_a_service_is_refused_with_what_to_do_instead(
    members: dict[str, Any], advice: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        checked(members)
    assert advice in caught.value.message


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from(["", "user", "system", "assistant", "message", "c", "f", "{}", "x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "text", "output", "call_id", "name", "arguments", "refusal"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
ITEMS = st.sampled_from([USER, CALL, OUTPUT, THOUGHT, said(text())["input"][0]])
CHANGED = st.builds(
    lambda item, members: item | members,
    ITEMS,
    st.dictionaries(st.sampled_from(["type", "role", "content", "output", "call_id", "arguments"]), JSON, max_size=2),
)


@given(st.lists(CHANGED | JSON, max_size=3), JSON, JSON, JSON)
def test_what_passes_can_be_translated(items: Any, tools: Any, choice: Any, form: Any) -> None:
    body = {"model": "m", "input": items, "tools": tools, "tool_choice": choice, "text": {"format": form}}
    try:
        check_request("/v1/responses", body)
    except ApiError as error:
        assert error.status == 400  # noqa: PT017  # most are refused
        return
    assert json.dumps(chat_of(body))
