"""Tool calls that the client demands: the name out of the declared ones, then arguments that fit its schema."""

import json
from dataclasses import dataclass
from typing import Any

from privity.engines.engine import Json
from privity.engines.llama_cpp.called_in_text import TextCall
from privity.engines.llama_cpp.completion import Head, Usage, tool_call
from privity.engines.llama_cpp.constrained import (
    Checker,
    ConstrainedGeneration,
    Piece,
    Prompt,
    compile_schema,
    fitting_value,
)
from privity.errors import EngineFailedError, InvalidRequestError

ATTEMPTS = 3
"""Tries to get arguments that fit what the grammar could not express."""

MAX_SPENT = 1024
"""Tokens after which there is no further try: what takes that long has gone astray, and somebody is waiting."""

NAME_TOKENS = 64
"""Tokens for a function's name, which has at most 64 characters."""

_OPENING = '<tool_call>\n{"name": '
_NO_PARAMETERS: Json = {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True)
class Tool:
    """A declared function."""

    name: str
    parameters: Json
    validator: Checker


def read_tools(body: Json) -> list[Tool]:
    """Return the functions that a request declares. Raises `InvalidRequestError` where a schema is not one."""
    tools = []
    for index, declared in enumerate(body.get("tools") or ()):
        function = declared["function"]
        parameters = function.get("parameters") or _NO_PARAMETERS
        validator = compile_schema(parameters, f"tools[{index}].function.parameters")
        tools.append(Tool(function["name"], parameters, validator))
    return tools


@dataclass(frozen=True, slots=True)
class Forced:
    """That a function must be called."""

    name: str | None = None
    """Which one; None lets the model choose."""


def forced_choice(body: Json) -> Forced | None:
    """Return what `tool_choice` demands, None where it demands nothing."""
    choice: Any = body.get("tool_choice")
    if choice == "required":
        return Forced()
    return Forced(choice["function"]["name"]) if isinstance(choice, dict) else None


async def forced_call(generation: ConstrainedGeneration, body: Json, forced: Forced, model: str) -> Json:
    """Return a `chat.completion` with exactly one call.

    Args:
        generation: the engine.
        body: a valid request.
        forced: what must be called.
        model: for the answer.

    Raises:
        InvalidRequestError: a schema is not one, or no such function is declared.
        EngineFailedError: the model did not get to arguments that fit.
        ApiError: the engine fails.
    """
    tools = {tool.name: tool for tool in read_tools(body)}
    name = forced.name
    if name is not None and name not in tools:
        raise InvalidRequestError(f"`tool_choice` names `{name}`, which `tools` doesn't declare.", param="tool_choice")
    greedy = {"temperature": 0} | {key: value for key, value in body.items() if value is not None}
    opening = await generation.render(body, _OPENING)
    chosen: Piece | None = None
    if name is None and len(tools) > 1:
        name, chosen = await _choose(generation, opening, list(tools), greedy)
    name = name or next(iter(tools))
    spent = chosen.tokens if chosen is not None else 0
    inside = f'{json.dumps(name)}, "arguments": '
    prompt = Prompt(opening.text + inside, opening.tokens, max(1, opening.room - spent), limited=opening.limited)
    arguments, finish = await _arguments(generation, prompt, tools[name], greedy)
    message = {"role": "assistant", "content": None, "tool_calls": [tool_call(TextCall(name, arguments.text))]}
    cached = min((chosen or arguments).cached, opening.tokens)  # the name of the function may be cached, too
    usage = Usage(opening.tokens, spent + arguments.tokens, cached)
    return Head.new(model).whole(message, finish, usage)


async def _choose(generation: ConstrainedGeneration, prompt: Prompt, names: list[str], body: Json) -> tuple[str, Piece]:
    short = Prompt(prompt.text, prompt.tokens, NAME_TOKENS)
    chosen = await generation.whole(short, {"enum": names}, body)
    try:
        name = json.loads(chosen.text)
    except ValueError as error:
        raise EngineFailedError("The model did not choose a tool.", code="model_output_invalid") from error
    if name not in names:
        raise EngineFailedError("The model did not choose a tool.", code="model_output_invalid")
    return name, chosen


async def _arguments(generation: ConstrainedGeneration, prompt: Prompt, tool: Tool, body: Json) -> tuple[Piece, str]:
    """Return the arguments, with the tokens of all tries and what the first found cached, and the finish reason."""
    spent = cached = 0
    for attempt in range(ATTEMPTS):
        # A second greedy try would repeat the first one.
        varied = body if attempt == 0 else body | {"temperature": 0.4 * attempt, "seed": attempt}
        piece = await generation.whole(prompt, tool.parameters, varied)
        spent += piece.tokens
        cached = piece.cached if attempt == 0 else cached
        fits, text = fitting_value(piece, tool.validator)
        if fits:
            return Piece(text, spent, cached=cached), "tool_calls"
        if piece.cut or spent > MAX_SPENT:
            break
    if piece.cut and prompt.limited:
        return Piece(piece.text, spent, cached=cached), "length"
    raise EngineFailedError(
        f"The model could not produce arguments that fit the schema of `{tool.name}`.",
        code="model_output_invalid",
        param="tools",
    )
