"""A chat's answer as one of Anthropic's Messages API."""

import secrets

import msgspec

from privity.engines.engine import Json
from privity.engines.translation.messages_request import Asked
from privity.errors import EngineFailedError

_STOP_REASONS = {"length": "max_tokens", "content_filter": "refusal"}
"""By what a chat's choice calls it."""


class Function(msgspec.Struct):
    """What is called, or a piece of it."""

    name: str | None = None
    arguments: str | None = None


class Call(msgspec.Struct):
    """A call, or a piece of it."""

    function: Function
    id: str | None = None
    index: int = 0
    """Which call a piece belongs to."""

    @property
    def known_id(self) -> str:
        """The call's ID, one of ours where the engine gives it none."""
        return self.id or f"toolu_{secrets.token_hex(12)}"


class Said(msgspec.Struct):
    """A message, or what an event adds to it."""

    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[Call] | None = None

    @property
    def thought(self) -> str:
        """What the model thought, under either of its names."""
        return self.reasoning or self.reasoning_content or ""

    @property
    def text(self) -> str:
        """What the model says; it may say that it won't."""
        return self.content or self.refusal or ""


class Choice(msgspec.Struct):
    """The one choice of an answer, or of an event."""

    message: Said = msgspec.field(default_factory=Said)
    delta: Said = msgspec.field(default_factory=Said)
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    """The stop sequence that ended it, as vLLM says it."""
    matched_stop: str | int | None = None
    """The same, as SGLang says it."""


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class Usage(msgspec.Struct):
    """Token counts; those of the prompt include the cached ones."""

    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    prompt_tokens_details: _Details | None = None

    def as_anthropic(self) -> Json:
        """Return Anthropic's object, whose input tokens are those that were not cached."""
        cached = self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details is not None else None
        usage = {"input_tokens": max(0, (self.prompt_tokens or 0) - (cached or 0)), "cache_creation_input_tokens": 0}
        if cached is not None:
            usage["cache_read_input_tokens"] = cached
        return usage | {"output_tokens": self.completion_tokens or 0}


class Completion(msgspec.Struct):
    """A chat's answer, or one of its events."""

    choices: list[Choice] = []
    usage: Usage | None = None


def read(answer: Json) -> Completion:
    """Return a chat's answer, or an event of it. Raises `EngineFailedError` where it is none."""
    try:
        return msgspec.convert(answer, Completion)
    except msgspec.ValidationError as error:
        raise EngineFailedError("The engine's answer isn't valid.") from error


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
    said = choice.message
    content: list[Json] = []
    if said.thought and asked.shows_thinking:
        content.append({"type": "thinking", "thinking": said.thought, "signature": ""})
    if said.text:
        content.append({"type": "text", "text": said.text})
    content += [call for each in said.tool_calls or () if (call := _called(each, choice)) is not None]
    stopped = stop_of(choice, asked, refused=bool(said.refusal), called=bool(said.tool_calls))
    return head(asked) | {"content": content} | stopped | {"usage": (completion.usage or Usage()).as_anthropic()}


def head(asked: Asked) -> Json:
    """Return what every message begins with: no content yet, and an ID of its own."""
    same = {"id": f"msg_{secrets.token_hex(16)}", "type": "message", "role": "assistant", "model": asked.model}
    return same | {"content": [], "stop_reason": None, "stop_sequence": None}


def tool_use(call: Call) -> Json:
    """Return the block of a call without its input."""
    if not call.function.name:
        raise EngineFailedError("The engine sent a call of no tool.")
    return {"type": "tool_use", "id": call.known_id, "name": call.function.name, "input": {}}


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
