import re
from typing import Any

import pytest

from privity.engines.translation.messages_request import Asked, asked_of, chat_of
from privity.errors import InvalidRequestError

HELLO = {"role": "user", "content": "Hello"}
BASE = {"model": "m", "max_tokens": 9, "messages": [HELLO]}
CHAT = {"model": "m", "max_tokens": 9, "messages": [HELLO]}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"name": "weather", "description": "Of a city", "input_schema": SCHEMA}
FUNCTION = {"name": "weather", "description": "Of a city", "parameters": SCHEMA}
TOOLS = [{"type": "function", "function": FUNCTION}]
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
WEB = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
PNG_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
WEB_PART = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": said, **more}


def use(number: int, **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"t{number}", "name": "weather", "input": given}


def call(number: int, arguments: str) -> dict[str, Any]:
    return {"id": f"t{number}", "type": "function", "function": {"name": "weather", "arguments": arguments}}


def result(number: int, content: Any = None, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": f"t{number}", **({"content": content} if content else {}), **more}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def document(source: Any, **more: Any) -> dict[str, Any]:
    return {"type": "document", "source": source, **more}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, {}),
        (
            {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "cache_salt": "s" * 32},
            {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "cache_salt": "s" * 32},
        ),
        ({"temperature": 0, "top_k": 0}, {"temperature": 0, "top_k": 0}),
        ({"stop_sequences": ["a", "b"]}, {"stop": ["a", "b"]}),
        ({"stop_sequences": []}, {}),
        ({"temperature": None, "tools": None, "thinking": None, "system": None, "container": None}, {}),
        ({"metadata": {"user_id": "u"}, "service_tier": "auto", "cache_control": {"type": "ephemeral"}}, {}),
        ({"stream": False}, {}),
        (
            {"stream": True},
            {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}},
        ),
        ({"tools": []}, {}),
        ({"tool_choice": {"type": "auto"}}, {}),
        ({"tools": [TOOL]}, {"tools": TOOLS}),
        ({"tools": [TOOL], "tool_choice": {"type": "auto"}}, {"tools": TOOLS, "tool_choice": "auto"}),
        ({"tools": [TOOL], "tool_choice": {"type": "none"}}, {"tools": TOOLS, "tool_choice": "none"}),
        (
            {"tools": [TOOL], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
            {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False},
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "weather"}},
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        ),
        (
            {
                "tools": [
                    {"name": "f", "input_schema": {}, "type": "custom", "strict": True, "allowed_callers": ["direct"]}
                    | {"cache_control": {"type": "ephemeral"}, "eager_input_streaming": True}
                ]
            },
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}, "strict": True}}]},
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}},
        ),
        (
            {"thinking": {"type": "disabled"}},
            {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
        ),
        ({"output_config": {"effort": "max"}}, {"reasoning_effort": "high"}),
        (
            {"output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}},
            {
                "reasoning_effort": "low",
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
                },
            },
        ),
    ],
)
def test_members_become_those_of_a_chat(members: dict[str, Any], expected: dict[str, Any]) -> None:
    assert chat_of(BASE | members) == CHAT | expected


@pytest.mark.parametrize(
    ("system", "expected"),
    [("Be brief.", "Be brief."), ([text("Be"), text("brief.", cache_control={"type": "ephemeral"})], "Be\nbrief.")],
)
def test_a_system_prompt_comes_first(system: Any, expected: str) -> None:
    assert chat_of(BASE | {"system": system})["messages"] == [{"role": "system", "content": expected}, HELLO]


@pytest.mark.parametrize("system", ["", [], None])
def test_an_empty_system_prompt_is_none(system: Any) -> None:
    assert chat_of(BASE | {"system": system})["messages"] == [HELLO]


@pytest.mark.parametrize(
    ("turns", "messages"),
    [
        pytest.param([user(text("a"), text(""), text("b"))], [{"role": "user", "content": "a\nb"}], id="texts"),
        pytest.param([user()], [{"role": "user", "content": ""}], id="nothing"),
        pytest.param(
            [HELLO, {"role": "assistant", "content": "Hi"}, HELLO],
            [HELLO, {"role": "assistant", "content": "Hi"}, HELLO],
            id="several turns",
        ),
        pytest.param(
            [HELLO, user(text("again")), assistant(text("a")), assistant(text("b")), HELLO],
            [{"role": "user", "content": "Hello\nagain"}, {"role": "assistant", "content": "ab"}, HELLO],
            id="turns in a row by one role",
        ),
        pytest.param(
            [{"role": "system", "content": "x"}, HELLO, {"role": "system", "content": [text("y")]}, HELLO],
            [{"role": "system", "content": "x"}, HELLO, {"role": "system", "content": "y"}, HELLO],
            id="system turns",
        ),
        pytest.param(
            [user(text("Look:"), PNG, WEB)],
            [{"role": "user", "content": [text("Look:"), PNG_PART, WEB_PART]}],
            id="images",
        ),
        pytest.param(
            [HELLO, assistant(text("I'll look."), use(1, city="Ulm")), user(result(1, "rain"))],
            [
                HELLO,
                {"role": "assistant", "content": "I'll look.", "tool_calls": [call(1, '{"city":"Ulm"}')]},
                {"role": "tool", "tool_call_id": "t1", "content": "rain"},
            ],
            id="a call and its result",
        ),
        pytest.param(
            [
                HELLO,
                assistant(use(1, n=12345678901234567890), use(2)),
                user(result(2, [text("a"), text("b")]), result(1, is_error=True), text("And?")),
            ],
            [
                HELLO,
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [call(1, '{"n":12345678901234567890}'), call(2, "{}")],
                },
                {"role": "tool", "tool_call_id": "t2", "content": "a\nb"},
                {"role": "tool", "tool_call_id": "t1", "content": "Error: "},
                {"role": "user", "content": "And?"},
            ],
            id="two results in their order, one an error",
        ),
        pytest.param(
            [HELLO, assistant(use(1)), user(result(1, [text("Seen:"), PNG], is_error=False), text("What is it?"))],
            [
                HELLO,
                {"role": "assistant", "content": None, "tool_calls": [call(1, "{}")]},
                {"role": "tool", "tool_call_id": "t1", "content": "Seen:"},
                {
                    "role": "user",
                    "content": [text("Images in the result of the call t1:"), PNG_PART, text("What is it?")],
                },
            ],
            id="an image in a result",
        ),
        pytest.param(
            [
                HELLO,
                assistant(
                    {"type": "thinking", "thinking": "Hm.", "signature": ""},
                    {"type": "redacted_thinking", "data": "x"},
                    text("Hi"),
                ),
                HELLO,
            ],
            [
                HELLO,
                {"role": "assistant", "content": "Hi", "reasoning": "Hm.", "reasoning_content": "Hm."},
                HELLO,
            ],
            id="thoughts",
        ),
        pytest.param(
            [
                user(
                    document({"type": "text", "media_type": "text/plain", "data": "Once"}, title="T", context="C"),
                    document({"type": "content", "content": [text("upon"), text("a time")]}),
                    document({"type": "content", "content": "x"}, citations={"enabled": False}),
                    {"type": "search_result", "title": "S", "source": "https://s", "content": [text("found")]},
                )
            ],
            [{"role": "user", "content": "T\nC\nOnce\nupon\na time\nx\nS\nhttps://s\nfound"}],
            id="documents",
        ),
    ],
)
def test_turns_become_messages(turns: list[Any], messages: list[Any]) -> None:
    assert chat_of(BASE | {"messages": turns})["messages"] == messages


def test_a_last_turn_of_the_assistant_is_continued() -> None:
    chat = chat_of(BASE | {"messages": [HELLO, assistant(text("Hel"))]})
    assert chat["messages"][-1] == {"role": "assistant", "content": "Hel"}
    assert (chat["continue_final_message"], chat["add_generation_prompt"]) == (True, False)
    called = chat_of(BASE | {"messages": [HELLO, assistant(use(1))]})
    assert not {"continue_final_message", "add_generation_prompt"} & set(called)


PDF = {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"mcp_servers": []}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"n": 2}, "n"),
        ({"tools": [TOOL | {"defer_loading": True}]}, "tools[0]"),
        ({"tools": [TOOL, TOOL | {"allowed_callers": ["code_execution_20260120"]}]}, "tools[1]"),
        ({"tools": [TOOL | {"input_examples": [{}]}]}, "tools[0].input_examples"),
        ({"messages": [HELLO, user(document(PDF))]}, "messages[1].content[0].source"),
        ({"messages": [user(document({"type": "url", "url": "https://x"}))]}, "messages[0].content[0].source"),
        (
            {"messages": [user(document({"type": "text", "data": "x"}, citations={"enabled": True}))]},
            "messages[0].content[0].citations",
        ),
        ({"messages": [user(result(1, [{"type": "tool_reference"}]))]}, "messages[0].content[0].content[0]"),
        ({"messages": [user(text("x"), {"type": "container_upload"})]}, "messages[0].content[1]"),
        ({"messages": [HELLO, assistant({"type": "server_tool_use"})]}, "messages[1].content[0]"),
    ],
)
def test_what_would_be_lost_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"^`{re.escape(param)}`: ") as caught:
        chat_of(BASE | members)
    assert (caught.value.param, caught.value.code) == (param, "unsupported_parameter")


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, Asked("m", frozenset(), shows_thinking=True)),
        ({"stop_sequences": ["a"]}, Asked("m", frozenset({"a"}), shows_thinking=True)),
        ({"thinking": {"type": "enabled", "display": "summarized"}}, Asked("m", frozenset(), shows_thinking=True)),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, Asked("m", frozenset(), shows_thinking=False)),
        ({"thinking": {"type": "disabled"}}, Asked("m", frozenset(), shows_thinking=False)),
    ],
)
def test_what_an_answer_depends_on(members: dict[str, Any], expected: Asked) -> None:
    assert asked_of(BASE | members) == expected
