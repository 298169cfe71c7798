"""An engine's answers as clients see them."""

import re
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from privity.engines.engine import OPENAI_ENDPOINTS, Json
from privity.streams import Stream, owning

_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
"""What is counted, and of which kind it is: `cached_tokens`, `duration`."""


def public(answer: Json, asked: str, endpoint: str) -> Json:
    """Return an answer, or one of its events, under the ID that was asked for and without the engine's own timings.

    What a model thought is there under both of its names. OpenAI's answers always name the model; of Anthropic's
    events only the first does, in the message that it begins; those of the Responses API name it in the response that
    they show; transcriptions don't. Such an event gets the usage of its response at its top too, where it stays plain.
    Usage is numbers and the names of what is counted, whatever an engine puts there: a gateway reads it.
    """
    response = answer.get("response")
    if isinstance(response, dict) and isinstance(response.get("usage"), dict):
        answer.setdefault("usage", response["usage"])
    if "usage" in answer:
        answer["usage"] = _countable(answer["usage"])
    for holder in (answer, answer.get("message"), response):
        if isinstance(holder, dict) and ("model" in holder or (holder is answer and endpoint in OPENAI_ENDPOINTS)):
            holder["model"] = asked
    answer.pop("timings", None)
    for part in _parts(answer):
        if part.get("reasoning") is not None and part.get("reasoning_content") is None:
            part["reasoning_content"] = part["reasoning"]
    return answer


@owning
async def public_events(events: Stream[Json], asked: str, endpoint: str) -> AsyncGenerator[Json]:
    """Yield the events of an answer, each as `public` returns it."""
    async for event in events:
        yield public(event, asked, endpoint)


def _countable(usage: Any) -> Any:
    """Return usage without anything that may be content."""
    match usage:
        case dict():
            return {name: _countable(value) for name, value in usage.items() if _NAME.fullmatch(name)}
        case list():
            return [_countable(value) for value in usage]
        case str():
            return usage if _NAME.fullmatch(usage) else None
        case _:
            return usage


def _parts(answer: Json) -> Iterator[Json]:
    """Yield the messages, or the deltas, of all choices."""
    choices = answer.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        for name in ("message", "delta"):
            part = choice.get(name) if isinstance(choice, dict) else None
            if isinstance(part, dict):
                yield part
