"""Generation under a JSON Schema: the engine's raw completion endpoint, behind the model's own chat template.

The chat endpoint is not enough: it does not enforce `tool_choice`, may wrap JSON in a Markdown fence, and answers 500
where constrained output is cut (engine.md section 4, traps 1, 4 and 5).
"""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from privity.engines.connection import EngineConnection
from privity.engines.engine import Json
from privity.engines.llama_cpp.narrow_schema import Schema, is_open_ended, narrow
from privity.engines.llama_cpp.repair import closed
from privity.engines.llama_cpp.salted import SaltedCalls
from privity.engines.llama_cpp.schema_work import SchemaWork
from privity.errors import ContextLengthError, EngineFailedError, InvalidRequestError
from privity.streams import Stream, owning

REGEX_STEPS = 100_000
"""Backtracking steps of one `pattern` match: schemas come from outside, and so do endless patterns."""

OPEN_ENDED_TOKENS = 512
"""Tokens of a value whose schema has no end, where the client sets no limit: a weak model would fill the context."""

MAX_SCHEMA_BYTES = 256 * 1024
"""Bytes of one schema, as JSON."""

_SAMPLING = (
    "frequency_penalty",
    "logit_bias",
    "min_p",
    "presence_penalty",
    "repeat_penalty",
    "seed",
    "temperature",
    "top_k",
    "top_p",
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as the engine's template renders it."""

    text: str
    tokens: int
    room: int
    """Tokens that are left for the answer."""
    limited: bool = False
    """Whether the client set that limit."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text that was generated."""

    text: str
    tokens: int
    """Tokens generated so far, this piece included; 0 before the last piece."""
    cut: bool = False
    """Whether generation ended because there was no room left."""
    cached: int = 0
    """Tokens of the prompt that were in the engine's cache; 0 before the last piece."""


class ConstrainedGeneration:
    """Generates under a schema on one llama.cpp server.

    Args:
        connection: the server.
        calls: what generates for the request.
        context: tokens of prompt and answer together.
        model: the server's name for the model, by which a router finds it.
    """

    def __init__(self, connection: EngineConnection, calls: SaltedCalls, context: int, model: str) -> None:
        self._connection = connection
        self._calls = calls
        self._context = context
        self._model = model

    async def render(self, body: Json, opening: str = "") -> Prompt:
        """Return the prompt of a chat request, with the beginning of the answer appended.

        Raises:
            ContextLengthError: no room is left for an answer.
        """
        asked = {key: body[key] for key in ("messages", "tools", "chat_template_kwargs") if body.get(key)}
        asked["model"] = self._model
        try:
            rendered = await self._connection.call("/apply-template", asked)
        except InvalidRequestError:
            # The server also makes a parser for calls, which some schemas are too much for; the prompt needs none.
            rendered = await self._connection.call("/apply-template", asked | {"tool_choice": "none"})
        text = str(rendered.get("prompt", "")) + opening
        counted = await self._connection.call(
            "/tokenize", {"model": self._model, "content": text, "add_special": True, "parse_special": True}
        )
        tokens = len(counted.get("tokens", ()))
        room = self._context - tokens
        if room < 1:
            raise ContextLengthError(
                f"The messages have {tokens} tokens; the model's context is {self._context} tokens.", param="messages"
            )
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        return Prompt(text, tokens, min(room, limit) if limit else room, limited=bool(limit))

    async def stream(self, prompt: Prompt, schema: Schema, body: Json) -> Stream[Piece]:
        """Return the pieces of an answer under `schema`; the last one carries the token count.

        Raises:
            InvalidRequestError: the schema is nested too deep.
            ApiError: the engine fails; also out of the pieces.
        """
        try:
            narrowed = narrow(schema, prompt.room)
        except RecursionError as error:
            raise InvalidRequestError("The JSON schema is nested too deep.", code="invalid_schema") from error
        budget = prompt.room if prompt.limited or not is_open_ended(narrowed) else min(prompt.room, OPEN_ENDED_TOKENS)
        sampling = {key: body[key] for key in _SAMPLING if body.get(key) is not None}
        asked = {"model": self._model, "prompt": prompt.text, "json_schema": narrowed, "n_predict": budget}
        return _pieces(await self._calls.events("/completion", asked | {"stream": True} | sampling))

    async def whole(self, prompt: Prompt, schema: Schema, body: Json) -> Piece:
        """Return the whole answer under `schema` as one piece; raises as `stream`."""
        texts: list[str] = []
        async with aclosing(await self.stream(prompt, schema, body)) as pieces:
            async for piece in pieces:
                texts.append(piece.text)
        return Piece("".join(texts), piece.tokens, piece.cut, piece.cached)


@owning
async def _pieces(events: Stream[Json]) -> AsyncGenerator[Piece]:
    async for event in events:
        text = str(event.get("content", ""))
        if event.get("stop"):
            is_cut = event.get("stop_type") == "limit"
            yield Piece(text, int(event.get("tokens_predicted", 0)), is_cut, _cached(event.get("timings")))
            return
        yield Piece(text, 0)
    raise EngineFailedError("The engine broke off its answer.")


def _cached(timings: Any) -> int:
    count = timings.get("cache_n") if isinstance(timings, dict) else None
    return count if isinstance(count, int) else 0


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks values against a schema, in reasonable time."""

    validator: jsonschema_rs.Validator
    work: SchemaWork

    def is_valid(self, value: Any) -> bool:
        """Return whether a value fits; one that would take too long to check doesn't."""
        return self.work.fits(value) and self.validator.is_valid(value)


def compile_schema(schema: Any, param: str) -> Checker:
    """Return what checks values against a schema from outside.

    Not checked: `format`, which JSON Schema 2020-12 makes an annotation. Nothing is ever fetched for a `$ref`.

    Raises:
        InvalidRequestError: it is not a valid JSON Schema, refers outside itself, is larger than `MAX_SCHEMA_BYTES`, or
            takes too long to check.
    """
    if not isinstance(schema, dict) or len(json.dumps(schema)) > MAX_SCHEMA_BYTES:
        raise _bad_schema(param)
    try:
        work = SchemaWork(schema)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(
            f"`{param}` is a JSON schema that can't be checked in reasonable time: let each `$ref` be like "
            "`#/$defs/Name`, none lead back to itself at once, and few definitions refer to the next one twice.",
            param=param,
            code="invalid_schema",
        ) from error
    try:
        options = jsonschema_rs.FancyRegexOptions(backtrack_limit=REGEX_STEPS)
        return Checker(jsonschema_rs.validator_for(schema, pattern_options=options, offline=True), work)
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        raise _bad_schema(param) from error


def _bad_schema(param: str) -> InvalidRequestError:
    return InvalidRequestError(f"`{param}` isn't a valid JSON schema.", param=param, code="invalid_schema")


def fitting_value(piece: Piece, validator: Checker) -> tuple[bool, str]:
    """Return whether a whole answer begins with a JSON value that fits, and that value's text.

    Of an answer that was cut, the part that can be closed counts.
    """
    text = (closed(piece.text) or piece.text) if piece.cut else piece.text
    try:
        value, end = json.JSONDecoder().raw_decode(text)
        fits = validator.is_valid(value)
        return fits, text[:end] if fits or not piece.cut else piece.text
    except (ValueError, RecursionError):
        return False, piece.text
