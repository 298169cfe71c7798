"""Schemas of the Responses API: what of its requests is checked, and what clients may count on in its answers."""

from privity.transport.openapi.call_bodies import (
    FUNCTION_NAME,
    IMAGE_URL,
    MAX_TOOLS,
    MODEL,
    OBJECT,
    POSITIVE,
    SALT,
    STREAM,
)
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

_NULL: Json = {"type": "null"}
_CALL_ID = text("Which call an output belongs to.")

_TEXT = one_of_type(
    record({"type": text(enum=["input_text", "output_text"]), "text": text()}, ("type", "text")),
    record({"type": text(const="refusal"), "refusal": text()}, ("type", "refusal")),
)
_IMAGE = record(
    {
        "type": text(const="input_image"),
        "image_url": text("An address on the public web, or `data:`.", pattern=IMAGE_URL),
        "detail": or_null(text(enum=["low", "high", "auto", "original"])),
    },
    ("type", "image_url"),
    "Where the model sees images.",
)
_RICH = one_of_type(text(), array(one_of_type(_TEXT, _IMAGE)))

_ITEM = one_of_type(
    record(
        {"type": text(const="message"), "role": text(const="user"), "content": _RICH},
        ("role", "content"),
    ),
    record(
        {
            "type": text(const="message"),
            "role": text(enum=["assistant", "system", "developer"]),
            "content": one_of_type(text(), array(_TEXT)),
        },
        ("role", "content"),
    ),
    record(
        {
            "type": text(const="function_call"),
            "call_id": _CALL_ID,
            "name": FUNCTION_NAME,
            "arguments": text("A JSON object, as text; or empty.", pattern=r"^(\{\})?$"),
        },
        ("type", "call_id", "name", "arguments"),
    ),
    record(
        {"type": text(const="function_call_output"), "call_id": _CALL_ID, "output": _RICH},
        ("type", "call_id", "output"),
        "After its call.",
    ),
    record(
        {"type": text(const="reasoning"), "content": or_null(array(record({"text": text()}, ("text",))))},
        ("type",),
    ),
)

_TOOL = record(
    {
        "type": text(const="function"),
        "name": FUNCTION_NAME,
        "description": or_null(text()),
        "parameters": or_null(OBJECT),
        "strict": or_null(flag()),
    },
    ("type", "name"),
)
_NAMED = record({"type": text(const="function"), "name": FUNCTION_NAME}, ("type", "name"), "One of `tools`.")

_CHOICE = one_of_type(
    text("`required` needs `tools`.", enum=["none", "auto", "required"]),
    _NAMED,
    record(
        {
            "type": text(const="allowed_tools"),
            "mode": text(enum=["auto", "required"]),
            "tools": array(_NAMED, minItems=1, maxItems=MAX_TOOLS),
        },
        ("type", "mode", "tools"),
    ),
)

_FORMAT = one_of_type(
    record({"type": text(enum=["text", "json_object"])}, ("type",)),
    record(
        {
            "type": text(const="json_schema"),
            "name": text(minLength=1),
            "schema": OBJECT,
            "strict": or_null(flag()),
            "description": or_null(text()),
        },
        ("type", "name", "schema"),
    ),
)

_REQUEST = record(
    {
        "model": MODEL,
        "input": one_of_type(text(), array(_ITEM, minItems=1), description="The whole conversation."),
        "instructions": or_null(text()),
        "stream": STREAM,
        "store": or_null(flag("Nothing is stored. Absent means false.", const=False)),
        "previous_response_id": _NULL,
        "conversation": _NULL,
        "background": or_null(flag(const=False)),
        "prompt": _NULL,
        "context_management": _NULL,
        "moderation": _NULL,
        "max_output_tokens": or_null(integer("Tokens of the answer at most.", **POSITIVE)),
        "temperature": or_null(number(minimum=0, maximum=2)),
        "top_p": or_null(number(minimum=0, maximum=1)),
        "top_logprobs": or_null(integer(minimum=0, maximum=20)),
        "tools": or_null(array(_TOOL, "Functions that the model may call. No name twice.", maxItems=MAX_TOOLS)),
        "tool_choice": or_null(_CHOICE),
        "parallel_tool_calls": or_null(flag()),
        "text": or_null(
            record({"format": or_null(_FORMAT), "verbosity": or_null(text(enum=["low", "medium", "high"]))})
        ),
        "reasoning": or_null(
            record(
                {"effort": or_null(text(enum=["none", "minimal", "low", "medium", "high", "xhigh", "max"]))},
            )
        ),
        "include": or_null(array(text(enum=["reasoning.encrypted_content", "message.output_text.logprobs"]))),
        "metadata": or_null(
            {
                "type": "object",
                "maxProperties": 16,
                "propertyNames": {"maxLength": 64},
                "additionalProperties": text(maxLength=512),
            }
        ),
        "truncation": or_null(text("`auto` means `disabled`.", enum=["auto", "disabled"])),
        "cache_salt": SALT,
    },
    ("model", "input"),
    "As OpenAI has it, without a memory: what is only null or false here needs one, or a service behind the model.",
    **{
        "if": record({"tool_choice": {"anyOf": [{"const": "required"}, OBJECT]}}, ("tool_choice",)),
        "then": record({"tools": array({}, minItems=1)}, ("tools",)),
    },
)

_ANSWER = record(
    {
        "id": text("Made up for this answer. Nothing can be had by it."),
        "object": text(const="response"),
        "created_at": number("Unix seconds."),
        "model": text("The ID that was asked for; for a floating alias, what it means."),
        "status": text(enum=["completed", "incomplete"]),
        "incomplete_details": or_null(record({"reason": text()})),
        "output": array(record({"type": text("`reasoning`, `message` or `function_call`.")}, ("type",))),
        "usage": or_null(record({"input_tokens": integer(), "output_tokens": integer(), "total_tokens": integer()})),
    },
    ("id", "object", "created_at", "model", "status", "output"),
)

SCHEMAS: Json = {"ResponsesRequest": _REQUEST, "ResponsesAnswer": _ANSWER}
