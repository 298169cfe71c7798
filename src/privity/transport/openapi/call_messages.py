"""Schemas of Anthropic's Messages API: what of requests is checked, and what clients may count on in answers."""

from privity.transport.openapi.call_bodies import MAX_TOOLS, MODEL, OBJECT, POSITIVE, SALT, STREAM, WEB
from privity.transport.openapi.parts import (
    Json,
    array,
    flag,
    integer,
    number,
    one_of_type,
    or_null,
    record,
    text,
)

_TOOL_NAME = text(pattern="^[A-Za-z0-9_-]{1,128}$")
_CALL_ID = text(minLength=1)
_WEB = record(
    {"type": text(const="url"), "url": text("An address on the public web.", pattern=f"^{WEB}")}, ("type", "url")
)


def _base64(of: str) -> Json:
    return record(
        {"type": text(const="base64"), "media_type": text(), "data": text(of, contentEncoding="base64")},
        ("type", "media_type", "data"),
    )


_TEXT = record({"type": text(const="text"), "text": text()}, ("type", "text"))
_IMAGE = record(
    {"type": text(const="image"), "source": one_of_type(_base64("A PNG, JPEG, WebP or GIF."), _WEB)},
    ("type", "source"),
    "Where the model sees images.",
)
_CITATIONS = or_null(record({"enabled": or_null(flag("Few engines have citations."))}))
_DOCUMENT = record(
    {
        "type": text(const="document"),
        "source": one_of_type(
            record({"type": text(const="text"), "data": text()}, ("type", "data")),
            record(
                {
                    "type": text(const="content"),
                    "content": one_of_type(text(), array(one_of_type(_TEXT, _IMAGE))),
                },
                ("type", "content"),
            ),
            _base64("A PDF, which few engines read."),
            _WEB,
        ),
        "title": or_null(text()),
        "context": or_null(text()),
        "citations": _CITATIONS,
    },
    ("type", "source"),
)
_FOUND = record(
    {
        "type": text(const="search_result"),
        "source": text(),
        "title": text(),
        "content": array(_TEXT),
        "citations": _CITATIONS,
    },
    ("type", "source", "title", "content"),
)
_RESULT = record(
    {
        "type": text(const="tool_result"),
        "tool_use_id": _CALL_ID,
        "content": or_null(one_of_type(text(), array(one_of_type(_TEXT, _IMAGE, _DOCUMENT, _FOUND)))),
        "is_error": or_null(flag()),
    },
    ("type", "tool_use_id"),
    "Of an earlier `tool_use`. Results come before all else of a message.",
)
_USE = record(
    {"type": text(const="tool_use"), "id": _CALL_ID, "name": _TOOL_NAME, "input": OBJECT},
    ("type", "id", "name", "input"),
)
_THOUGHT = one_of_type(
    record({"type": text(const="thinking"), "thinking": text()}, ("type", "thinking")),
    record({"type": text(const="redacted_thinking"), "data": text()}, ("type", "data"), "Left out."),
)


def _turn(role: str, *blocks: Json) -> Json:
    content = one_of_type(text(), array(one_of_type(*blocks)))
    return record({"role": text(const=role), "content": content}, ("role", "content"))


_TOOL = record(
    {
        "name": _TOOL_NAME,
        "input_schema": {**OBJECT, "description": "A JSON Schema."},
        "type": or_null(text(const="custom")),
        "description": or_null(text()),
        "strict": or_null(flag()),
    },
    ("name", "input_schema"),
)
_CHOICE = record(
    {
        "type": text("`any` and `tool` need `tools`.", enum=["auto", "any", "none", "tool"]),
        "name": or_null({**_TOOL_NAME, "description": "One of `tools`, for `tool`."}),
        "disable_parallel_tool_use": or_null(flag()),
    },
    ("type",),
    "",
    **{"if": record({"type": {"const": "tool"}}), "then": record({"name": text()}, ("name",))},
)
_PROMPT: Json = {
    "model": MODEL,
    "messages": array(
        one_of_type(
            _turn("user", _TEXT, _IMAGE, _DOCUMENT, _FOUND, _RESULT),
            _turn("assistant", _TEXT, _THOUGHT, _USE),
            _turn("system", _TEXT),
        ),
        minItems=1,
    ),
    "system": or_null(one_of_type(text(), array(_TEXT))),
    "tools": or_null(array(_TOOL, "No name twice.", maxItems=MAX_TOOLS)),
    "tool_choice": or_null(_CHOICE),
    "thinking": or_null(
        record(
            {
                "type": text(enum=["enabled", "disabled", "adaptive"]),
                "budget_tokens": or_null(integer("A wish: `max_tokens` is the limit.", **POSITIVE)),
                "display": or_null(text(enum=["summarized", "omitted"])),
            },
            ("type",),
        )
    ),
    "output_config": or_null(
        record(
            {
                "effort": or_null(text(enum=["low", "medium", "high", "xhigh", "max"])),
                "format": or_null(
                    record({"type": text(const="json_schema"), "schema": OBJECT}, ("type", "schema")),
                ),
            }
        )
    ),
}
_FORCED: Json = {
    "if": record({"tool_choice": record({"type": {"enum": ["any", "tool"]}}, ("type",))}, ("tool_choice",)),
    "then": record({"tools": array({}, minItems=1)}, ("tools",)),
}

_MESSAGES = record(
    {
        **_PROMPT,
        "max_tokens": integer("Tokens of the answer at most.", **POSITIVE),
        "stream": STREAM,
        "stop_sequences": or_null(array(text(minLength=1), maxItems=16)),
        "temperature": or_null(number(minimum=0, maximum=2)),
        "top_p": or_null(number(minimum=0, maximum=1)),
        "top_k": or_null(integer(minimum=0, maximum=2**31 - 1)),
        "cache_salt": SALT,
    },
    ("model", "messages", "max_tokens"),
    "As Anthropic has it. Where the engine has only chats, what has no meaning there is refused by its name.",
    **_FORCED,
)

_COUNT = record(_PROMPT, ("model", "messages"), "As Anthropic has it.", **_FORCED)

_ANSWER = record(
    {
        "id": text("Made up for this answer."),
        "type": text(const="message"),
        "role": text(const="assistant"),
        "model": text("The ID that was asked for; for a floating alias, what it means."),
        "content": array(record({"type": text("`thinking`, `text` or `tool_use`.")}, ("type",))),
        "stop_reason": or_null(text("Such as `end_turn`, `max_tokens`, `stop_sequence` or `tool_use`.")),
        "stop_sequence": or_null(text()),
        "usage": record({"input_tokens": integer("Without cached ones."), "output_tokens": integer()}),
    },
    ("id", "type", "role", "content"),
)

SCHEMAS: Json = {
    "MessagesRequest": _MESSAGES,
    "MessagesAnswer": _ANSWER,
    "CountTokensRequest": _COUNT,
    "CountTokensAnswer": record({"input_tokens": integer("Of the whole prompt.")}, ("input_tokens",)),
}
