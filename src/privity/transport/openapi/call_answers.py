"""Schemas of plain answers: what clients may count on. Engines add members."""

from privity.transport.openapi.parts import (
    Json,
    array,
    event,
    integer,
    number,
    one_of_type,
    or_null,
    record,
    schema_ref,
    text,
)

_ID = text("Made up for this answer.")
_MODEL = text("The ID that was asked for; for a floating alias, what it means.")
_USAGE = or_null(record({"prompt_tokens": integer(), "completion_tokens": integer(), "total_tokens": integer()}))
_CREATED = integer("Unix seconds.")
_REASON = or_null(text("Such as `stop`, `length` or `tool_calls`."))

_TIMES: Json = {"start": number("Seconds."), "end": number("Seconds.")}
_SPOKEN = record({"id": integer(), "text": text(), **_TIMES}, ("text", "start", "end"))

_MESSAGE = record(
    {
        "role": text(),
        "content": or_null(text()),
        "reasoning": or_null(text("What the model thought.")),
        "reasoning_content": or_null(text("The same as `reasoning`.")),
        "tool_calls": or_null(array({"type": "object"})),
    },
    ("role",),
)

SCHEMAS: Json = {
    "ChatAnswer": record(
        {
            "id": _ID,
            "object": text(const="chat.completion"),
            "created": _CREATED,
            "model": _MODEL,
            "choices": array(
                record(
                    {"index": integer(), "message": _MESSAGE, "finish_reason": _REASON}, ("message", "finish_reason")
                )
            ),
            "usage": _USAGE,
        },
        ("id", "object", "created", "model", "choices"),
    ),
    "CompletionAnswer": record(
        {
            "id": _ID,
            "object": text(const="text_completion"),
            "created": _CREATED,
            "model": _MODEL,
            "choices": array(
                record({"index": integer(), "text": text(), "finish_reason": _REASON}, ("text", "finish_reason"))
            ),
            "usage": _USAGE,
        },
        ("id", "object", "created", "model", "choices"),
    ),
    "EmbeddingsAnswer": record(
        {
            "object": text(const="list"),
            "model": _MODEL,
            "data": array(
                record(
                    {
                        "object": text(const="embedding"),
                        "index": integer(),
                        "embedding": one_of_type(
                            array(number()), text("Little-endian floats.", contentEncoding="base64")
                        ),
                    },
                    ("object", "index", "embedding"),
                )
            ),
            "usage": _USAGE,
        },
        ("object", "model", "data"),
    ),
    "TranscriptionAnswer": record(
        {
            "text": text(),
            "duration": number("Seconds."),
            "language": text(),
            "segments": array(_SPOKEN),
            "words": array(record({"word": text(), **_TIMES}, ("word", "start", "end"))),
        },
        ("text",),
        "`json` has the text alone.",
    ),
}

_TEXTS: Json = {
    "text/plain": {"schema": text("For the formats `text` and `srt`.")},
    "text/vtt": {"schema": text("For the format `vtt`.")},
}


def content(schema: str, streams: str) -> Json:
    """Return the content of an answer: whole, or as events.

    Args:
        schema: of the whole answer.
        streams: what its events are; "" where it never comes in events.
    """
    whole: Json = {"application/json": {"schema": schema_ref(schema)}}
    if schema == "TranscriptionAnswer":
        whole |= _TEXTS
    return whole | ({"text/event-stream": {"schema": event(streams)}} if streams else {})
