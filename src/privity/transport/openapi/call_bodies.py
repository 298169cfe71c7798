"""Schemas of plain requests: what of them is checked. Other members are left to the engine."""

from privity.protocol.cache_salt import MIN_CHARACTERS
from privity.protocol.fields import MAX_MODEL_ID_CHARACTERS
from privity.transport.openapi.models import EXAMPLE
from privity.transport.openapi.parts import (
    Json,
    array,
    flag,
    integer,
    number,
    one_of_type,
    or_null,
    record,
    schema_ref,
    text,
)

MAX_CHOICES = 16
MAX_INPUTS = 2048
MAX_TOOLS = 128
"""The same limits as inference proxies have: a test compares them."""

MODEL = text(
    "Any ID of a listed model: printable characters.",
    minLength=1,
    maxLength=MAX_MODEL_ID_CHARACTERS,
    pattern=r"^( |[^\p{C}\p{Z}])+$",
    examples=[EXAMPLE],
)
STREAM = or_null(flag("Whether the answer comes as server-sent events."))
SALT = text(
    "Only requests with the same salt share an engine's prompt cache. The proxy adds a random one.",
    minLength=MIN_CHARACTERS,
)
POSITIVE: Json = {"minimum": 1, "maximum": 2**31 - 1}
_MAX_TOKENS = or_null(integer("Tokens of the answer at most.", **POSITIVE))
_PENALTY = or_null(number(minimum=-2, maximum=2))
FUNCTION_NAME = text(pattern="^[A-Za-z0-9_.-]{1,64}$")
_SOME_TEXT = text(minLength=1)
OBJECT: Json = {"type": "object"}
_TOKENS = array(integer(minimum=0), minItems=1)

_GENERATION: Json = {
    "model": MODEL,
    "stream": STREAM,
    "stream_options": or_null(record({"include_usage": or_null(flag("A last event with the usage."))})),
    "max_tokens": _MAX_TOKENS,
    "n": or_null(integer("Choices of the answer.", minimum=1, maximum=MAX_CHOICES)),
    "temperature": or_null(number(minimum=0, maximum=2)),
    "top_p": or_null(number(minimum=0, maximum=1)),
    "frequency_penalty": _PENALTY,
    "presence_penalty": _PENALTY,
    "seed": or_null(integer()),
    "stop": or_null(one_of_type(_SOME_TEXT, array(_SOME_TEXT, maxItems=16))),
    "logit_bias": or_null({"type": "object", "additionalProperties": number()}),
    "cache_salt": SALT,
}

_FUNCTION = record({"name": FUNCTION_NAME, "description": or_null(text()), "parameters": or_null(OBJECT)}, ("name",))

WEB = r"https://([a-z0-9-]{1,63}\.)+[a-z]{2,63}(/[a-z0-9._~-]*)?$"
"""How addresses of the public web look; others do, too."""

IMAGE_URL = rf"^(data:|{WEB})"

_PART = one_of_type(
    record({"type": text(const="text"), "text": text()}, ("type", "text")),
    record(
        {
            "type": text(const="image_url"),
            "image_url": record(
                {"url": text("An address on the web, or `data:` with a PNG, JPEG, WebP or GIF.", pattern=IMAGE_URL)},
                ("url",),
            ),
        },
        ("type", "image_url"),
    ),
    record({"type": text(const="refusal"), "refusal": or_null(text())}, ("type",)),
    description="Images where the model sees them; no sound and no film.",
)

_CONTENT = one_of_type(text(), array(_PART, minItems=1))

_MESSAGE = one_of_type(
    record(
        {
            "role": text(enum=["system", "developer", "user", "tool", "function", "assistant"]),
            "content": _CONTENT,
            "tool_call_id": or_null(text("Which call a message of the role `tool` answers.")),
        },
        ("role", "content"),
    ),
    record(
        {
            "role": text(const="assistant"),
            "content": {"type": "null"},
            "tool_calls": array(
                record(
                    {
                        "id": text(),
                        "type": text(const="function"),
                        "function": record(
                            {
                                "name": text(),
                                "arguments": text("A JSON object, as text; or empty.", pattern=r"^(\{\})?$"),
                            },
                            ("name", "arguments"),
                        ),
                    },
                    ("id", "function"),
                ),
                minItems=1,
            ),
        },
        ("role", "tool_calls"),
    ),
)

_CHAT = record(
    {
        **_GENERATION,
        "messages": array(_MESSAGE, minItems=1),
        "max_completion_tokens": _MAX_TOKENS,
        "tools": or_null(
            array(
                record({"type": text(const="function"), "function": _FUNCTION}, ("type", "function")),
                "Functions that the model may call. No name twice.",
                maxItems=MAX_TOOLS,
            )
        ),
        "tool_choice": or_null(
            one_of_type(
                text("`required` needs `tools`.", enum=["none", "auto", "required"]),
                record(
                    {"type": text(const="function"), "function": record({"name": FUNCTION_NAME}, ("name",))},
                    ("type", "function"),
                    "One of `tools`.",
                ),
            )
        ),
        "response_format": or_null(
            one_of_type(
                record({"type": text(enum=["text", "json_object"])}, ("type",)),
                record(
                    {
                        "type": text(const="json_schema"),
                        "json_schema": record({"name": text(), "schema": or_null(OBJECT)}, ("name",)),
                    },
                    ("type", "json_schema"),
                ),
            )
        ),
        "logprobs": or_null(flag()),
        "top_logprobs": or_null(integer(minimum=0, maximum=20)),
    },
    ("model", "messages"),
    "As OpenAI has it. Members that aren't named here reach the engine as they are.",
    **{
        "if": record({"tool_choice": {"anyOf": [{"const": "required"}, {"type": "object"}]}}, ("tool_choice",)),
        "then": record({"tools": array({}, minItems=1)}, ("tools",)),
    },
)

_COMPLETION = record(
    {
        **_GENERATION,
        "prompt": one_of_type(
            _SOME_TEXT,
            array(_SOME_TEXT, minItems=1),
            _TOKENS,
            array(_TOKENS, minItems=1),
            description="Prompts times `n` are at most 128.",
        ),
    },
    ("model", "prompt"),
    "As OpenAI has it.",
)

_EMBEDDINGS = record(
    {
        "model": MODEL,
        "input": one_of_type(
            _SOME_TEXT,
            array(_SOME_TEXT, minItems=1, maxItems=MAX_INPUTS),
            {**_TOKENS, "maxItems": MAX_INPUTS},
            array(_TOKENS, minItems=1, maxItems=MAX_INPUTS),
        ),
        "encoding_format": or_null(text(enum=["float", "base64"])),
        "dimensions": or_null(integer("Numbers of each embedding, at most as many as the model's.", **POSITIVE)),
    },
    ("model", "input"),
    "As OpenAI has it.",
)

_SPEECH: Json = {
    "file": text("The recording, up to 50 MiB.", contentMediaType="application/octet-stream"),
    "model": MODEL,
    "prompt": text("What was said before, or how it is to be written."),
    "response_format": text(enum=["json", "verbose_json", "text", "srt", "vtt"]),
    "temperature": text("A number. Left to the engine."),
    "stream": text(enum=["true", "false"]),
}
_TEXTS: Json = {"enum": ["text", "srt", "vtt"]}


def _speech_form(**further: Json) -> Json:
    return record(
        {**_SPEECH, **further},
        ("file", "model"),
        "As OpenAI has it. No field is there twice, unless its name ends in `[]`.",
        patternProperties={r"\[\]$": one_of_type(text(), array(text()))},
        additionalProperties=text(),
        propertyNames={"pattern": r'^[^\r\n\x00"\\]{1,256}$'},
        **{
            "if": record({"response_format": _TEXTS}, ("response_format",)),
            "then": record({"stream": {"const": "false"}}),
        },
    )


SCHEMAS: Json = {
    "ChatRequest": _CHAT,
    "CompletionRequest": _COMPLETION,
    "EmbeddingsRequest": _EMBEDDINGS,
    "TranscriptionRequest": _speech_form(language=text("That is spoken, in ISO 639-1.")),
    "TranslationRequest": _speech_form(),
}


def json_body(schema: str) -> Json:
    """Return a body that is one of these, in JSON."""
    return {"required": True, "content": {"application/json": {"schema": schema_ref(schema)}}}


def form_body(schema: str) -> Json:
    """Return a body that is one of these, as a form."""
    return {"required": True, "content": {"multipart/form-data": {"schema": schema_ref(schema)}}}
