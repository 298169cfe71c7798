"""OpenAI's chat answers, whole and as chunks, for what the engine's own chat endpoint does not generate."""

import secrets
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import Any

from privity.engines.engine import Json
from privity.engines.llama_cpp.called_in_text import TextCall
from privity.streams import Stream, owning


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    """Those of the prompt that were in the engine's cache."""

    def as_json(self) -> Json:
        """Return OpenAI's `usage` object."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


@dataclass(frozen=True, slots=True)
class Head:
    """What every chunk of one answer repeats."""

    id: str
    created: int
    model: str

    @classmethod
    def new(cls, model: str) -> "Head":
        """Return a head with a fresh ID."""
        return cls("chatcmpl-" + secrets.token_urlsafe(18), int(time.time()), model)

    def whole(self, message: Json, finish_reason: str, usage: Usage) -> Json:
        """Return a `chat.completion`."""
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
        return self._object("chat.completion", [choice]) | {"usage": usage.as_json()}

    def chunk(self, delta: Json, finish_reason: str | None = None) -> Json:
        """Return a `chat.completion.chunk`."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._object("chat.completion.chunk", [choice])

    def usage_chunk(self, usage: Json) -> Json:
        """Return the chunk that `stream_options.include_usage` asks for."""
        return self._object("chat.completion.chunk", []) | {"usage": usage}

    def _object(self, kind: str, choices: list[Json]) -> Json:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}


def tool_call(call: TextCall) -> Json:
    """Return a `tool_calls` entry with a fresh ID."""
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": "call_" + secrets.token_urlsafe(18), "type": "function", "function": function}


def wants_usage(body: Json) -> bool:
    """Return whether a streaming request asks for its usage."""
    options: dict[str, Any] = body.get("stream_options") or {}
    return bool(options.get("include_usage"))


def message_chunks(head: Head, message: Json, finish_reason: str) -> Iterator[Json]:
    """Yield the chunks of a message that is all there."""
    yield head.chunk({"role": "assistant", "content": message.get("content") or ""})
    for index, call in enumerate(message.get("tool_calls") or ()):
        opened = {**call, "function": {**call["function"], "arguments": ""}}
        yield head.chunk({"tool_calls": [{"index": index, **opened}]})
        yield head.chunk({"tool_calls": [{"index": index, "function": {"arguments": call["function"]["arguments"]}}]})
    yield head.chunk({}, finish_reason)


def as_events(completion: Json, *, with_usage: bool) -> Stream[Json]:
    """Return a whole `chat.completion` of one choice as events."""
    return Stream(_as_events(completion, with_usage=with_usage))


async def _as_events(completion: Json, *, with_usage: bool) -> AsyncGenerator[Json]:
    head = Head(completion["id"], completion["created"], completion["model"])
    choice = completion["choices"][0]
    for chunk in message_chunks(head, choice["message"], choice["finish_reason"]):
        yield chunk
    if with_usage:
        yield head.usage_chunk(completion["usage"])


@owning
async def with_usage_apart(events: Stream[Json], *, wanted: bool) -> AsyncGenerator[Json]:
    """Yield a text completion's events with the usage in an event of its own, as OpenAI does, and only where wanted."""
    async for event in events:
        usage = event.pop("usage", None)
        yield event
        if usage and wanted:
            yield event | {"choices": [], "usage": usage}
