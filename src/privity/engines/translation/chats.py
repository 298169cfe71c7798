"""What several translations read in chats' answers, whole or in events, and write into chats."""

import msgspec

from privity.engines.engine import Json
from privity.errors import EngineFailedError


class Function(msgspec.Struct):
    """What is called, or a piece of it."""

    name: str | None = None
    arguments: str | None = None


class Call(msgspec.Struct):
    """A call, or a piece of it."""

    id: str | None = None
    index: int | None = None
    """Which call a piece belongs to; whole answers don't say it."""
    function: Function = msgspec.field(default_factory=Function)


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
        return self.reasoning_content or self.reasoning or ""

    @property
    def text(self) -> str:
        """What the model says; it may say that it won't."""
        return self.content or self.refusal or ""


class Logprobs(msgspec.Struct):
    """The probabilities of an answer's tokens."""

    content: list[Json] | None = None


class Choice(msgspec.Struct):
    """The one choice of an answer, or of an event."""

    message: Said | None = None
    delta: Said | None = None
    logprobs: Logprobs | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    """The stop sequence that ended it, as vLLM says it."""
    matched_stop: str | int | None = None
    """The same, as SGLang says it."""

    @property
    def said(self) -> Said:
        """What is said in it."""
        return self.delta or self.message or Said()


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class Usage(msgspec.Struct):
    """Token counts; those of the prompt include the cached ones."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None

    @property
    def prompt(self) -> int:
        """Tokens of the prompt."""
        return self.prompt_tokens or 0

    @property
    def answer(self) -> int:
        """Tokens of the answer."""
        return self.completion_tokens or 0

    @property
    def cached(self) -> int | None:
        """Those of the prompt that were in the engine's cache; None where it doesn't say."""
        return self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details is not None else None

    @property
    def thoughts(self) -> int:
        """Those of the answer that the model thought."""
        details = self.completion_tokens_details
        return (details.reasoning_tokens or 0) if details is not None else 0


class Completion(msgspec.Struct):
    """A chat's answer, or one of its events."""

    choices: list[Choice] | None = None
    usage: Usage | None = None


def read(answer: Json) -> Completion:
    """Return a chat's answer, or an event of it. Raises `EngineFailedError` where it is none."""
    try:
        return msgspec.convert(answer, Completion)
    except msgspec.ValidationError as error:
        raise EngineFailedError("The engine's answer isn't valid.") from error


def thought_before(text: str) -> Json:
    """Return the members of an earlier message that say what the model thought: engines know one name or the other."""
    return dict.fromkeys(("reasoning", "reasoning_content"), text) if text else {}
