"""The items of a response that is being made, and the events that say how each grows."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field

from privity.engines.engine import Json


@dataclass
class Item(ABC):
    """One item of a response's output.

    Attributes:
        id: random.
        index: its place in the output.
        text: what it has so far: a text, or the arguments of a call.
        status: `in_progress` until it has ended, then `completed` or `incomplete`.
    """

    id: str
    index: int
    text: str = ""
    status: str = "in_progress"

    @abstractmethod
    def shown(self) -> Json:
        """Return it as it is now."""

    @abstractmethod
    def grew(self, text: str, logprobs: list[Json]) -> Json:
        """Take what is added to it, with the probabilities of its tokens; return what says so."""

    def began(self) -> Iterator[Json]:
        """Yield what says that it is there, before it has anything."""
        yield self._event("response.output_item.added", item=self.shown())

    def ended(self, status: str) -> Iterator[Json]:
        """Yield what says that nothing more comes."""
        self.status = status
        yield self._event("response.output_item.done", item=self.shown())

    def _event(self, kind: str, **members: object) -> Json:
        return {"type": kind, "output_index": self.index, **members}


@dataclass
class _WithPart(Item):
    """An item with one part, which has the text."""

    def began(self) -> Iterator[Json]:
        yield self._event("response.output_item.added", item=self.shown() | {"content": []})
        yield self._of_part("response.content_part.added", part=self.part())

    def ended(self, status: str) -> Iterator[Json]:
        yield self._text_done()
        yield self._of_part("response.content_part.done", part=self.part())
        yield from super().ended(status)

    @abstractmethod
    def part(self) -> Json:
        """Return the part as it is now."""

    @abstractmethod
    def _text_done(self) -> Json: ...

    def _of_part(self, kind: str, **members: object) -> Json:
        return self._event(kind, item_id=self.id, content_index=0, **members)


@dataclass
class Thought(_WithPart):
    """What the model thinks before it answers."""

    def shown(self) -> Json:
        """Return it as it is now."""
        return {"id": self.id, "type": "reasoning", "summary": [], "content": [self.part()], "status": self.status}

    def part(self) -> Json:
        """Return its text as it is now."""
        return {"type": "reasoning_text", "text": self.text}

    def grew(self, text: str, _logprobs: list[Json]) -> Json:
        """Take more of it; return what says so."""
        self.text += text
        return self._of_part("response.reasoning_text.delta", delta=text)

    def _text_done(self) -> Json:
        return self._of_part("response.reasoning_text.done", text=self.text)


@dataclass
class Message(_WithPart):
    """What the model says."""

    logprobs: list[Json] = field(default_factory=list)

    def shown(self) -> Json:
        """Return it as it is now."""
        content = [self.part()]
        return {"id": self.id, "type": "message", "role": "assistant", "content": content, "status": self.status}

    def part(self) -> Json:
        """Return its text as it is now."""
        return {"type": "output_text", "text": self.text, "annotations": [], "logprobs": list(self.logprobs)}

    def grew(self, text: str, logprobs: list[Json]) -> Json:
        """Take more of it; return what says so."""
        self.text += text
        self.logprobs += logprobs
        return self._of_part("response.output_text.delta", delta=text, logprobs=logprobs)

    def _text_done(self) -> Json:
        return self._of_part("response.output_text.done", text=self.text, logprobs=list(self.logprobs))


@dataclass
class Call(Item):
    """A function that the app is to call; its text is the arguments."""

    call_id: str = ""
    name: str = ""

    def shown(self) -> Json:
        """Return it as it is now."""
        named = {"call_id": self.call_id, "name": self.name, "arguments": self.text}
        return {"id": self.id, "type": "function_call", **named, "status": self.status}

    def grew(self, text: str, _logprobs: list[Json]) -> Json:
        """Take more of the arguments; return what says so."""
        self.text += text
        return self._event("response.function_call_arguments.delta", item_id=self.id, delta=text)

    def ended(self, status: str) -> Iterator[Json]:
        """Yield what says that the arguments are whole."""
        whole = {"item_id": self.id, "name": self.name, "arguments": self.text}
        yield self._event("response.function_call_arguments.done", **whole)
        yield from super().ended(status)
