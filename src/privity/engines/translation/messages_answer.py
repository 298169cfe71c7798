"""A chat's answer as one of Anthropic's Messages API."""

import secrets

import msgspec

from privity.engines.engine import Json
from privity.engines.translation.chats import Call, Choice, Usage, read
from privity.engines.translation.messages_request import Asked
from privity.errors import EngineFailedError

_STOP_REASONS = {"length": "max_tokens", "content_filter": "refusal"}
"""By what a chat's choice calls it."""


def message_of(answer: Json, asked: Asked) -> Json:
    """Return the message that a chat's whole answer is.

    A call that was cut short by `max_tokens` is left out: it must not be carried out.

    Raises:
        EngineFailedError: it isn't an answer, or the arguments of a call aren't a JSON object.
    """
    completion = read(answer)
    if not completion.choices:
        raise EngineFailedError("The engine's answer isn't valid.")
    choice = completion.choices[0]
    said = choice.said
    content: list[Json] = []
    if said.thought and asked.shows_thinking:
        content.append({"type": "thinking", "thinking": said.thought, "signature": ""})
    if said.text:
        content.append({"type": "text", "text": said.text})
    content += [call for each in said.tool_calls or () if (call := _called(each, choice)) is not None]
    stopped = stop_of(choice, asked, refused=bool(said.refusal), called=bool(said.tool_calls))
    return head(asked) | {"content": content} | stopped | {"usage": usage_of(completion.usage or Usage())}


def head(asked: Asked) -> Json:
    """Return what every message begins with: no content yet, and an ID of its own."""
    same = {"id": f"msg_{secrets.token_hex(16)}", "type": "message", "role": "assistant", "model": asked.model}
    return same | {"content": [], "stop_reason": None, "stop_sequence": None}


def usage_of(usage: Usage) -> Json:
    """Return Anthropic's token counts, whose input tokens are those that were not cached."""
    counts = {"input_tokens": max(0, usage.prompt - (usage.cached or 0)), "cache_creation_input_tokens": 0}
    if usage.cached is not None:
        counts["cache_read_input_tokens"] = usage.cached
    return counts | {"output_tokens": usage.answer}


def tool_use(call: Call) -> Json:
    """Return the block of a call without its input; its ID is one of ours where the engine gives it none."""
    if not call.function.name:
        raise EngineFailedError("The engine sent a call of no tool.")
    call_id = call.id or f"toolu_{secrets.token_hex(12)}"
    return {"type": "tool_use", "id": call_id, "name": call.function.name, "input": {}}


def stop_of(choice: Choice, asked: Asked, *, refused: bool, called: bool) -> Json:
    """Return why an answer ended.

    Args:
        choice: what the engine says of it.
        asked: the request.
        refused: whether the model said that it won't.
        called: whether it called tools.
    """
    told = (each for each in (choice.stop_reason, choice.matched_stop) if each in asked.stop_sequences)
    sequence = None if called else next(told, None)
    reason = _STOP_REASONS.get(choice.finish_reason or "")
    if reason is not None:
        return {"stop_reason": reason, "stop_sequence": None}
    if called:
        reason = "tool_use"
    elif sequence is not None:
        reason = "stop_sequence"
    return {"stop_reason": reason or ("refusal" if refused else "end_turn"), "stop_sequence": sequence}


def _called(call: Call, choice: Choice) -> Json | None:
    try:
        arguments = msgspec.json.decode(call.function.arguments or "{}", type=dict)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        if choice.finish_reason == "length":
            return None
        raise EngineFailedError("The model's call has no valid arguments.", code="model_output_invalid") from error
    return tool_use(call) | {"input": arguments}
