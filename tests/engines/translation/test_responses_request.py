from typing import Any

import pytest

from privity.engines.translation.responses_request import chat_of

USER = {"role": "user", "content": "hello"}
ASKED = {"role": "user", "content": "hello"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "So."}]}
THOUGHTS = {"reasoning": "So.", "reasoning_content": "So."}
SAID = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}],
}
FUNCTION = {"type": "function", "name": "f", "description": None, "parameters": {"type": "object"}, "strict": True}
OTHER = {"type": "function", "name": "g"}
IMAGE = {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "high"}
DECLARED = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}
DECLARED_OTHER = {"type": "function", "function": {"name": "g"}}


def call(number: int) -> dict[str, Any]:
    return {"type": "function_call", "id": f"fc_{number}", "call_id": f"c{number}", "name": "f", "arguments": "{}"}


def output(number: int, said: Any = "4") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": f"c{number}", "output": said}


def called(number: int) -> dict[str, Any]:
    return {"id": f"c{number}", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def returned(number: int, said: Any = "4") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": f"c{number}", "content": said}


def chat(request: dict[str, Any]) -> dict[str, Any]:
    return chat_of({"model": "m", "input": "hello"} | request)


def text(kind: str, said: str) -> dict[str, Any]:
    return {"type": kind, "text": said}


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        ("hello", [ASKED]),
        ([USER], [ASKED]),
        ([USER | {"type": "message"}], [ASKED]),
        (
            [{"role": "user", "content": [text("input_text", "a"), text("input_text", "b")]}],
            [ASKED | {"content": "a\nb"}],
        ),
        ([{"role": "user", "content": []}], [ASKED | {"content": ""}]),
        ([USER, {"role": "developer", "content": "Short."}], [ASKED, {"role": "system", "content": "Short."}]),
        (
            [{"role": "user", "content": [text("input_text", "a"), IMAGE, IMAGE | {"detail": "original"}]}],
            [
                {
                    "role": "user",
                    "content": [
                        text("text", "a"),
                        {"type": "image_url", "image_url": {"url": IMAGE["image_url"], "detail": "high"}},
                        {"type": "image_url", "image_url": {"url": IMAGE["image_url"]}},
                    ],
                }
            ],
        ),
        ([USER, SAID, USER], [ASKED, {"role": "assistant", "content": "Hi"}, ASKED]),
        ([USER, SAID, SAID], [ASKED, *[{"role": "assistant", "content": "Hi"}] * 2]),
        (
            [USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}],
            [ASKED, {"role": "assistant", "content": "No."}],
        ),
        (
            [USER, THOUGHT, SAID, call(1), call(2), output(1), output(2)],
            [
                ASKED,
                {
                    "role": "assistant",
                    "content": "Hi",
                    **THOUGHTS,
                    "tool_calls": [called(1), called(2)],
                },
                returned(1),
                returned(2),
            ],
        ),
        (
            [call(1), output(1), THOUGHT, call(2), output(2, [text("input_text", "5")])],
            [
                {"role": "assistant", "content": None, "tool_calls": [called(1)]},
                returned(1),
                {"role": "assistant", "content": None, **THOUGHTS, "tool_calls": [called(2)]},
                returned(2, "5"),
            ],
        ),
        (
            [call(1), output(1, [text("input_text", "a"), IMAGE])],
            [
                {"role": "assistant", "content": None, "tool_calls": [called(1)]},
                returned(
                    1,
                    [
                        text("text", "a"),
                        {"type": "image_url", "image_url": {"url": IMAGE["image_url"], "detail": "high"}},
                    ],
                ),
            ],
        ),
        ([THOUGHT, USER], [ASKED]),
        ([call(1) | {"role": "system"}], [{"role": "assistant", "content": None, "tool_calls": [called(1)]}]),
        (
            [USER, THOUGHT | {"content": None, "encrypted_content": "x"}, SAID],
            [ASKED, {"role": "assistant", "content": "Hi"}],
        ),
        (
            [SAID, THOUGHT, SAID],
            [
                {"role": "assistant", "content": "Hi"},
                {"role": "assistant", "content": "Hi", **THOUGHTS},
            ],
        ),
        ([{"role": "assistant", "content": ""}, USER], [{"role": "assistant", "content": ""}, ASKED]),
    ],
)
def test_a_conversation_is_that_of_a_chat(items: Any, messages: Any) -> None:
    assert chat({"input": items}) == {"model": "m", "messages": messages}


def test_what_comes_before_a_conversation_is_one_message() -> None:
    preface = [
        {"role": "system", "content": "Be kind."},
        {"role": "developer", "content": [text("input_text", "Be short.")]},
    ]
    expected = [{"role": "system", "content": "You are X.\n\nBe kind.\n\nBe short."}, ASKED]
    assert chat({"instructions": "You are X.", "input": [*preface, USER]})["messages"] == expected
    assert chat({"instructions": "You are X."})["messages"] == [{"role": "system", "content": "You are X."}, ASKED]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (dict.fromkeys(("instructions", "temperature", "tools", "tool_choice", "text", "reasoning", "include")), {}),
        ({"temperature": 0, "top_p": 0.5, "cache_salt": "s"}, {"temperature": 0, "top_p": 0.5, "cache_salt": "s"}),
        ({"max_output_tokens": 5}, {"max_tokens": 5}),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"stream": False, "stream_options": {"include_obfuscation": False}}, {"stream": False}),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"reasoning": {"effort": None}}, {}),
        ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True, "top_logprobs": 1}),
        ({"include": ["reasoning.encrypted_content"], "top_logprobs": 0}, {}),
        ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, {}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "description": None}}},
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}},
        ),
        ({"tools": [FUNCTION]}, {"tools": [DECLARED]}),
        ({"tools": [FUNCTION], "tool_choice": "required"}, {"tools": [DECLARED], "tool_choice": "required"}),
        (
            {"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "f"}, "parallel_tool_calls": False},
            {
                "tools": [DECLARED],
                "tool_choice": {"type": "function", "function": {"name": "f"}},
                "parallel_tool_calls": False,
            },
        ),
        (
            {
                "tools": [FUNCTION, OTHER],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "required",
                    "tools": [{"type": "function", "name": "g"}],
                },
            },
            {"tools": [DECLARED_OTHER], "tool_choice": "required"},
        ),
        ({"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}, {}),
        ({"n": 7, "messages": [], "user": "me", "prompt_cache_key": "k", "metadata": {"a": "b"}, "store": False}, {}),
    ],
)  # fmt: skip
def test_members_have_the_names_of_chats(members: dict[str, Any], expected: dict[str, Any]) -> None:
    assert chat(members) == {"model": "m", "messages": [ASKED], **expected}
