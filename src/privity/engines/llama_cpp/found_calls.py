"""Answers in which a call that was written as text becomes a call (engine.md section 5)."""

from collections.abc import AsyncGenerator, Iterable
from itertools import islice

from privity.engines.engine import Answer, Json
from privity.engines.llama_cpp.called_in_text import find_call, may_become_call
from privity.engines.llama_cpp.completion import Head, message_chunks, tool_call
from privity.streams import Stream, owning


def callable_names(body: Json) -> frozenset[str]:
    """Return the functions that a request lets the model call."""
    if body.get("tool_choice") == "none":
        return frozenset()
    return frozenset(tool["function"]["name"] for tool in body.get("tools") or ())


def with_calls_found(answer: Answer, declared: frozenset[str]) -> Answer:
    """Return a chat answer of one choice, with text that is nothing but a declared call turned into that call."""
    if not declared:
        return answer
    return _found_in_whole(answer, declared) if isinstance(answer, dict) else _found_in_events(answer, declared)


def _found_in_whole(completion: Json, declared: frozenset[str]) -> Json:
    for choice in completion.get("choices", ()):
        message = choice.get("message", {})
        call = find_call(message.get("content") or "", declared)
        if call is not None and not message.get("tool_calls"):
            message["content"] = None
            message["tool_calls"] = [tool_call(call)]
            choice["finish_reason"] = "tool_calls"
    return completion


@owning
async def _found_in_events(events: Stream[Json], declared: frozenset[str]) -> AsyncGenerator[Json]:
    """Yield the events, holding text back for as long as it may turn out to be nothing but a call."""
    held: list[Json] = []
    text = ""
    holding = True
    async for event in events:
        delta, finished = _delta(event)
        text += delta.get("content") or ""
        holding = holding and not delta.get("tool_calls") and may_become_call(text)
        held.append(event)
        if holding and text and not finished:
            continue
        for each in _resolved(held, text, declared) if holding and finished else held:
            yield each
        held, holding = [], holding and not finished
    for each in held:
        yield each


def _delta(event: Json) -> tuple[Json, bool]:
    """Return what an event adds to its choice, and whether it ends it."""
    choices = event.get("choices") or [{}]
    return choices[0].get("delta") or {}, choices[0].get("finish_reason") is not None


def _resolved(held: list[Json], text: str, declared: frozenset[str]) -> Iterable[Json]:
    """Return the events of a call where the text is one, else the held ones."""
    call = find_call(text, declared)
    if call is None:
        return held
    last = held[-1]
    head = Head(last["id"], last["created"], last["model"])
    chunks = message_chunks(head, {"tool_calls": [tool_call(call)]}, "tool_calls")
    opened = not any("role" in _delta(event)[0] for event in held)
    return islice(chunks, 1, None) if opened else chunks
