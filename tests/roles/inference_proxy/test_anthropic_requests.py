from typing import Any

import pytest

from privity.errors import InvalidRequestError
from privity.roles.inference_proxy.engine_request import read_request
from privity.roles.inference_proxy.requests import check_request

MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
HELLO = {"role": "user", "content": "x"}
BASE = {"model": "m", "max_tokens": 1, "messages": [HELLO]}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
WEB = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
TEXT = {"type": "text", "text": "x"}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def use(name: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "tool_use", "id": name, "name": "f", "input": {}}]}


def result(name: str, content: Any = "x") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": name, "content": content}


def refusal(members: dict[str, Any], path: str = MESSAGES) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        check_request(path, BASE | members)
    return caught.value


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"system": "x", "stream": True, "temperature": 0, "top_p": 1, "top_k": 0, "stop_sequences": ["a"]},
        {"system": [TEXT | {"cache_control": {"type": "ephemeral"}}], "metadata": {"user_id": "u"}, "unknown": 7},
        {"tools": [TOOL | {"type": "custom", "strict": True}], "tool_choice": {"type": "tool", "name": "f"}},
        {"tools": [TOOL], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
        {"tools": None, "tool_choice": {"type": "auto"}, "thinking": None, "output_config": None},
        {"thinking": {"type": "enabled", "budget_tokens": 1024}, "output_config": {"effort": "high"}},
        {"output_config": {"format": {"type": "json_schema", "schema": {}}}},
        {
            "messages": [
                HELLO,
                use("a"),
                user(result("a", [TEXT, WEB]), TEXT),
                HELLO,
                {"role": "system", "content": "y"},
            ]
        },
        {"messages": [HELLO, use("a"), use("b"), user(result("b"), result("a", None)), user(result("a"))]},
        {"messages": [user({"type": "document", "source": {"type": "text", "data": "x"}, "title": "t"}, WEB)]},
        {"messages": [user({"type": "document", "source": {"type": "content", "content": [TEXT]}})]},
        {"messages": [user({"type": "search_result", "source": "s", "title": "t", "content": [TEXT]})]},
        {
            "messages": [
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": ""}, TEXT]}
            ]
        },
        {"messages": [{"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]}]},
    ],
)
def test_a_good_request_passes_and_is_not_changed(members: dict[str, Any]) -> None:
    body = BASE | members
    before = repr(body)
    check_request(MESSAGES, body)
    check_request(COUNT, body)
    assert repr(body) == before


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"model": ""}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0]"),
        ({"messages": [user({"text": "x"})]}, "messages[0].content[0]"),
        ({"messages": [user({"type": "server_tool_use"})]}, "messages[0].content[0].type"),
        ({"messages": [user({"type": ["text"]})]}, "messages[0].content[0].type"),
        ({"messages": [user({"type": "text"})]}, "messages[0].content[0]"),
        ({"messages": [user({"type": "image", "source": {"type": "file", "file_id": "f"}})]}, None),
        ({"messages": [{"role": "assistant", "content": [WEB]}]}, "messages[0].content[0].type"),
        ({"messages": [user(use("a")["content"][0])]}, "messages[0].content[0].type"),
        ({"messages": [user(result("a"))]}, "messages[0].content[0].tool_use_id"),
        ({"messages": [use("a"), user(result("b"))]}, "messages[1].content[0].tool_use_id"),
        ({"messages": [user(result("a")), use("a")]}, "messages[0].content[0].tool_use_id"),
        ({"messages": [use("a"), user(TEXT, result("a"))]}, "messages[1].content[1]"),
        ({"messages": [{"role": "system", "content": [WEB]}]}, "messages[0].content[0].type"),
        ({"system": 7}, "system"),
        ({"system": [WEB]}, "system[0].type"),
        ({"system": [{"text": "x"}]}, "system[0]"),
        ({"messages": [{"role": "system", "content": [{"text": "x"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0]"),
        ({"tools": {}}, "tools"),
        ({"tools": [TOOL] * 2}, "tools"),
        ({"tools": [TOOL] * 129}, "tools"),
        ({"tools": [{"name": "f"}]}, "tools[0]"),
        ({"tools": [TOOL | {"name": "a b"}]}, "tools[0].name"),
        ({"tools": [TOOL | {"name": "f" * 129}]}, "tools[0].name"),
        ({"tools": [TOOL | {"type": "web_search_20250305"}]}, "tools[0].type"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "tool_choice.name"),
        ({"thinking": {"type": "between_tools"}}, "thinking.type"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
    ],
)
@pytest.mark.parametrize("path", [MESSAGES, COUNT])
def test_what_is_wrong_is_told_by_its_place(path: str, members: dict[str, Any], param: str | None) -> None:
    error = refusal(members, path)
    assert error.status == 400
    assert error.param == (param or "messages[0].content[0].source.type")


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"stop_sequences": [""]}, "stop_sequences[0]"),
        ({"stop_sequences": ["a"] * 17}, "stop_sequences"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"top_k": -1}, "top_k"),
    ],
)
def test_what_makes_an_answer_is_of_no_account_when_tokens_are_counted(members: dict[str, Any], param: str) -> None:
    assert refusal(members).param == param
    check_request(COUNT, BASE | members)


@pytest.mark.parametrize(("path", "missing"), [(MESSAGES, "max_tokens"), (MESSAGES, "messages"), (COUNT, "messages")])
def test_what_is_missing_is_named(path: str, missing: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_request(path, {name: value for name, value in BASE.items() if name != missing})
    assert (caught.value.param, caught.value.code) == (missing, "missing_parameter")


@pytest.mark.parametrize("url", ["http://example.org/a.png", "file:///etc/passwd", "data:image/png;base64,AAAA"])
def test_images_keep_to_the_policy_of_media_wherever_they_are(url: str) -> None:
    image = {"type": "image", "source": {"type": "url", "url": url}}
    document = {"type": "document", "source": {"type": "content", "content": [image]}}
    for turns in ([user(image)], [use("a"), user(result("a", [image]))], [user(document)]):
        for path in (MESSAGES, COUNT):
            assert "https:" in refusal({"messages": turns}, path).message


def test_tokens_are_counted_without_a_salt() -> None:
    asked = read_request(COUNT, b'{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[]}')
    assert (asked.model, asked.uses_tools, asked.media) == ("m", False, frozenset())
