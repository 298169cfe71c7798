"""`response_format`: answers that are JSON."""

from collections.abc import AsyncGenerator
from typing import Any

from privity.engines.engine import Answer, Json
from privity.engines.llama_cpp.completion import Head, Usage, wants_usage
from privity.engines.llama_cpp.constrained import (
    Checker,
    ConstrainedGeneration,
    Piece,
    Prompt,
    compile_schema,
    fitting_value,
)
from privity.engines.llama_cpp.narrow_schema import Schema
from privity.errors import EngineFailedError
from privity.streams import Stream, owning

_PARAM = "response_format.json_schema.schema"


def wanted_schema(body: Json) -> Schema | None:
    """Return the schema that the answer must fit, None where text will do."""
    wanted: dict[str, Any] = body.get("response_format") or {}
    match wanted.get("type"):
        case "json_object":
            return {"type": "object"}
        case "json_schema":
            return wanted["json_schema"].get("schema") or {"type": "object"}
        case _:
            return None


async def structured_answer(generation: ConstrainedGeneration, body: Json, schema: Schema, model: str) -> Answer:
    """Return an answer that fits `schema`, whole or as events.

    Raises:
        InvalidRequestError: the schema is not one.
        EngineFailedError: the model did not get to a value that fits; also out of the events, at their end.
        ApiError: the engine fails.
    """
    validator = compile_schema(schema, _PARAM)
    prompt = await generation.render(body)
    if body.get("stream"):
        pieces = await generation.stream(prompt, schema, body)
        return _events(pieces, prompt, validator, Head.new(model), with_usage=wants_usage(body))
    piece = await generation.whole(prompt, schema, body)
    fits, text = fitting_value(piece, validator)
    if not fits and not piece.cut:
        raise _misfit()
    message = {"role": "assistant", "content": text, "refusal": None}
    finish = "length" if piece.cut else "stop"
    return Head.new(model).whole(message, finish, Usage(prompt.tokens, piece.tokens, piece.cached))


@owning
async def _events(
    pieces: Stream[Piece], prompt: Prompt, validator: Checker, head: Head, *, with_usage: bool
) -> AsyncGenerator[Json]:
    texts: list[str] = []
    yield head.chunk({"role": "assistant", "content": ""})
    async for piece in pieces:
        texts.append(piece.text)
        if piece.text:
            yield head.chunk({"content": piece.text})
    text = "".join(texts)
    if not piece.cut and fitting_value(Piece(text, piece.tokens), validator) != (True, text):
        raise _misfit()
    yield head.chunk({}, "length" if piece.cut else "stop")
    if with_usage:
        yield head.usage_chunk(Usage(prompt.tokens, piece.tokens, piece.cached).as_json())


def _misfit() -> EngineFailedError:
    return EngineFailedError(
        "The model could not produce an answer that fits the JSON schema.",
        code="model_output_invalid",
        param="response_format",
    )
