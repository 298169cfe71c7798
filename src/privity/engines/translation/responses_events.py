"""A chat's answer, whole or in chunks, as the events of OpenAI's Responses API."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from privity.engines.engine import Json
from privity.engines.translation import chats
from privity.engines.translation.chats import Choice, Usage
from privity.engines.translation.responses_items import Call, Item, Message, Thought
from privity.errors import EngineFailedError

NewId = Callable[[str], str]
"""Returns an ID that begins with a prefix."""

MAX_OUTPUT = 16 * 1024 * 1024
"""Characters of a response, which its last event has once more: far more than any model writes."""

_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why an answer is incomplete, by the reasons for which chats end."""

WithText = TypeVar("WithText", Thought, Message)


class ResponseEvents:
    """Makes the events of one response.

    An item ends where one of another kind begins; only calls, whose chunks may be mixed, all end at the end.

    Args:
        head: the response as it is before it has any output.
        alternatives: how many each token comes with, where the probabilities are asked for; None where they aren't.
        new_id: for the items.
    """

    def __init__(self, head: Json, alternatives: int | None, new_id: NewId) -> None:
        self._head = head
        self._alternatives = alternatives
        self._new_id = new_id
        self._items: list[Item] = []
        self._open: Item | None = None
        self._calls: dict[int, Call] = {}
        self._finish_reason: str | None = None
        self._usage: Usage | None = None
        self._written = 0
        self._sent = 0

    def begin(self) -> Iterator[Json]:
        """Yield the events before all output."""
        yield self._numbered({"type": "response.created", "response": dict(self._head)})
        yield self._numbered({"type": "response.in_progress", "response": dict(self._head)})

    def feed(self, chunk: Json) -> Iterator[Json]:
        """Yield what a chunk of the chat's answer, or the whole of it, means.

        Raises:
            EngineFailedError: it isn't a chat's.
        """
        read = chats.read(chunk)
        self._usage = read.usage or self._usage
        for choice in read.choices or ():
            self._finish_reason = choice.finish_reason or self._finish_reason
            for event in self._of(choice):
                yield self._numbered(event)

    def end(self) -> Iterator[Json]:
        """Yield the events after all chunks; the last one has the whole response."""
        for event in self._rest():
            yield self._numbered(event)
        response = self._head | {
            "status": self._status,
            "output": [item.shown() for item in self._items],
            "usage": None if self._usage is None else _usage(self._usage),
        }
        if self._finish_reason in _REASONS:
            response["incomplete_details"] = {"reason": _REASONS[self._finish_reason]}
        yield self._numbered({"type": f"response.{self._status}", "response": response})

    @property
    def _status(self) -> str:
        return "incomplete" if self._finish_reason in _REASONS else "completed"

    def _numbered(self, event: Json) -> Json:
        event["sequence_number"] = self._sent
        self._sent += 1
        return event

    def _of(self, choice: Choice) -> Iterator[Json]:
        said = choice.said
        if said.thought:
            yield from self._grown(Thought, "rs_", said.thought, [])
        if said.text:
            yield from self._grown(Message, "msg_", said.text, self._logprobs(choice))
        for position, called in enumerate(said.tool_calls or ()):
            yield from self._called(position if called.index is None else called.index, called)

    def _grown(self, kind: type[WithText], prefix: str, text: str, logprobs: list[Json]) -> Iterator[Json]:
        if not isinstance(self._open, kind):
            yield from self._closed()
            self._open = kind(self._new_id(prefix), len(self._items))
            yield from self._added(self._open)
        yield self._added_to(self._open, text, logprobs)

    def _called(self, index: int, called: chats.Call) -> Iterator[Json]:
        function = called.function
        if index not in self._calls:
            if not function.name:
                raise EngineFailedError("The engine's answer has a call without a name.")
            yield from self._closed()
            call_id = called.id or self._new_id("call_")
            call = Call(self._new_id("fc_"), len(self._items), call_id=call_id, name=function.name)
            self._calls[index] = call
            yield from self._added(call)
        if function.arguments:
            yield self._added_to(self._calls[index], function.arguments, [])

    def _added_to(self, item: Item, text: str, logprobs: list[Json]) -> Json:
        self._written += len(text)
        if self._written > MAX_OUTPUT:
            raise EngineFailedError(f"The engine's answer has more than {MAX_OUTPUT} characters.")
        return item.grew(text, logprobs)

    def _added(self, item: Item) -> Iterator[Json]:
        self._items.append(item)
        yield from item.began()

    def _closed(self) -> Iterator[Json]:
        if self._open is not None:
            yield from self._open.ended("completed")
            self._open = None

    def _rest(self) -> Iterator[Json]:
        """Yield the ends of what is open; an answer without anything is an empty message."""
        if not self._items:
            yield from self._added(Message(self._new_id("msg_"), 0))
        for item in self._items:
            if item.status == "in_progress":
                yield from item.ended(self._status if item is self._items[-1] else "completed")

    def _logprobs(self, choice: Choice) -> list[Json]:
        if self._alternatives is None or choice.logprobs is None:
            return []
        return [
            token | {"top_logprobs": (token.get("top_logprobs") or [])[: self._alternatives]}
            for token in choice.logprobs.content or ()
        ]


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached or 0, "cache_write_tokens": 0},
        "output_tokens": usage.answer,
        "output_tokens_details": {"reasoning_tokens": usage.thoughts},
        "total_tokens": usage.prompt + usage.answer,
    }
