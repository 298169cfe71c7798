"""What the server's own chat endpoints are asked, and what of their answers is unlike other engines'."""

from collections.abc import AsyncGenerator
from typing import Annotated

import msgspec

from privity.engines.connection import EngineConnection, StatusError
from privity.engines.engine import Answer, Json
from privity.errors import EngineFailedError
from privity.streams import Stream, owning

_COUNTED = ("model", "messages", "tools", "chat_template_kwargs")
_INSIDE = "__verbose"
"""The member in which the server says all about an answer, the prompt included."""


class _Count(msgspec.Struct):
    input_tokens: Annotated[int, msgspec.Meta(ge=0)]


async def count_prompt(connection: EngineConnection, chat: Json) -> int | None:
    """Return how many tokens the prompt of a chat has; None where the server is too old to count them.

    Raises:
        ApiError: it fails, or refuses the chat.
    """
    asked = {name: chat[name] for name in _COUNTED if chat.get(name)}
    try:
        return msgspec.convert(await connection.call("/v1/chat/completions/input_tokens", asked), _Count).input_tokens
    except msgspec.ValidationError as error:
        raise EngineFailedError("The engine's answer isn't valid.") from error
    except EngineFailedError as error:
        if isinstance(error.__cause__, StatusError) and error.__cause__.status == 404:
            return None
        raise


def asked_for_stop(body: Json) -> Json:
    """Return a chat request that makes the server say which stop sequence ended the answer."""
    return body | {"verbose": True} if body.get("stop") else body


def like_others(answer: Answer, body: Json) -> Answer:
    """Return an answer to `asked_for_stop(body)` as other engines give it.

    Each choice has vLLM's `stop_reason`: the stop sequence that ended it, or null. And where the last message is the
    model's own, which it continues, the answer doesn't repeat that.
    """
    if not isinstance(answer, dict):
        return _events(answer) if body.get("stop") else answer
    last = body["messages"][-1]
    begun = last.get("content") if last["role"] == "assistant" else None
    for choice in answer.get("choices", ()):
        message = choice.get("message", {})
        if isinstance(begun, str) and isinstance(message.get("content"), str):
            message["content"] = message["content"].removeprefix(begun)
    return _with_stop(answer) if body.get("stop") else answer


@owning
async def _events(events: Stream[Json]) -> AsyncGenerator[Json]:
    async for event in events:
        yield _with_stop(event)


def _with_stop(answer: Json) -> Json:
    inside = answer.pop(_INSIDE, None)
    if isinstance(inside, dict):
        for choice in answer.get("choices", ()):
            choice["stop_reason"] = inside.get("stopping_word") or None
    return answer
