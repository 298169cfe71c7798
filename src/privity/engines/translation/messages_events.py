"""A chat's events as those of Anthropic's Messages API."""

from collections.abc import AsyncGenerator, Iterator

from privity.engines.engine import Json
from privity.engines.translation.chats import Call, Choice, Completion, Said, Usage, read
from privity.engines.translation.messages_answer import head, stop_of, tool_use, usage_of
from privity.engines.translation.messages_request import Asked
from privity.errors import EngineFailedError
from privity.streams import Stream, owning

_THINKING: Json = {"type": "thinking", "thinking": "", "signature": ""}
_TEXT: Json = {"type": "text", "text": ""}


@owning
async def message_events(chunks: Stream[Json], asked: Asked) -> AsyncGenerator[Json]:
    """Yield the events of a message while its chat's come; nothing of it is held back.

    Raises:
        EngineFailedError: an event isn't one of a chat, or there is none.
        ApiError: as the chat's events.
    """
    message = _Message(asked)
    async for chunk in chunks:
        for event in message.add(read(chunk)):
            yield event
    for event in message.end():
        yield event


class _Message:
    """A message as far as it has come."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._blocks = _Blocks()
        self._begun = False
        self._called = -1
        """The number of the call that began last."""
        self._refused = False
        self._last = Choice()
        self._usage = Usage()

    def add(self, chunk: Completion) -> Iterator[Json]:
        """Yield what an event of the chat adds."""
        self._usage = chunk.usage or self._usage
        if not self._begun:
            self._begun = True
            yield {"type": "message_start", "message": head(self._asked) | {"usage": usage_of(self._usage)}}
        for choice in chunk.choices or ():
            yield from self._added(choice.said)
            if choice.finish_reason is not None:
                self._last = choice

    def _added(self, delta: Said) -> Iterator[Json]:
        self._refused = self._refused or bool(delta.refusal)
        if delta.thought and self._asked.shows_thinking:
            yield from self._blocks.add("thinking", _THINKING, {"type": "thinking_delta", "thinking": delta.thought})
        if delta.text:
            yield from self._blocks.add("text", _TEXT, {"type": "text_delta", "text": delta.text})
        for call in delta.tool_calls or ():
            yield from self._call(call)

    def _call(self, call: Call) -> Iterator[Json]:
        index = call.index or 0
        name = f"call {index}"
        if index > self._called:
            self._called = index
            yield from self._blocks.begin(name, tool_use(call))
        elif not self._blocks.is_open(name):
            raise EngineFailedError("The engine sent a piece of a call after its end.")
        if call.function.arguments:
            yield self._blocks.delta({"type": "input_json_delta", "partial_json": call.function.arguments})

    def end(self) -> Iterator[Json]:
        """Yield what ends it."""
        if not self._begun:
            raise EngineFailedError("The engine's answer is empty.")
        yield from self._blocks.close()
        stopped = stop_of(self._last, self._asked, refused=self._refused, called=self._called >= 0)
        yield {"type": "message_delta", "delta": stopped, "usage": usage_of(self._usage)}
        yield {"type": "message_stop"}


class _Blocks:
    """The content blocks of a message: one is open at a time, and none opens again."""

    def __init__(self) -> None:
        self._name = ""
        self._index = -1

    def is_open(self, name: str) -> bool:
        """Return whether the block of this name is the open one."""
        return self._name == name

    def add(self, name: str, empty: Json, delta: Json) -> Iterator[Json]:
        """Yield what adds something to a block, which begins as `empty`."""
        if not self.is_open(name):
            yield from self.begin(name, empty)
        yield self.delta(delta)

    def begin(self, name: str, block: Json) -> Iterator[Json]:
        """Yield what ends the open block, and begins another."""
        yield from self.close()
        self._name = name
        self._index += 1
        yield {"type": "content_block_start", "index": self._index, "content_block": block}

    def delta(self, delta: Json) -> Json:
        """Return what adds something to the open block."""
        return {"type": "content_block_delta", "index": self._index, "delta": delta}

    def close(self) -> Iterator[Json]:
        """Yield what ends the open block, if one is."""
        if self._name:
            yield {"type": "content_block_stop", "index": self._index}
        self._name = ""
