"""OpenAI's Responses API by chats. Nothing is stored: a response is known by its ID to nobody."""

import os
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager

from privity.engines.engine import Answer, Json, NativeEngine
from privity.engines.translation.responses_events import ResponseEvents
from privity.engines.translation.responses_request import asked_alternatives, chat_of, wants_logprobs
from privity.errors import ApiError
from privity.protocol.exchange import Random
from privity.streams import Stream, owning

ID_BYTES = 16
"""Random bytes of an ID."""

_DEFAULTS: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
}
"""What a response repeats of its request, and what it says where the request doesn't: null where the engine decides."""

_PARAMS = {"messages": "input", "response_format": "text.format", "max_tokens": "max_output_tokens"}
_OF_TOOL = re.compile(r"(tools\[\d+\])\.function\b")


async def respond(
    engine: NativeEngine, request: Json, random: Random = os.urandom, now: Callable[[], float] = time.time
) -> Answer:
    """Answer a valid, stateless request by a chat on `engine`.

    Failures come as errors, also out of the events: `response.failed`, on which clients don't raise, is never sent.

    Args:
        engine: has chats.
        request: `model` is the engine's own name.
        random: gives that many random bytes, for IDs.
        now: Unix seconds.

    Raises:
        ApiError: it can't be carried out; `param` names the request's member.
    """

    def new_id(prefix: str) -> str:
        return prefix + random(ID_BYTES).hex()

    alternatives = asked_alternatives(request) if wants_logprobs(request) else None
    events = ResponseEvents(_head(request, new_id("resp_"), int(now())), alternatives, new_id)
    with _own_params():
        answer = await engine.answer("/v1/chat/completions", chat_of(request))
    if not isinstance(answer, dict):
        return _streamed(answer, events)
    *_, last = [*events.begin(), *events.feed(answer), *events.end()]
    response: Json = last["response"]
    return response


@owning
async def _streamed(chunks: Stream[Json], events: ResponseEvents) -> AsyncGenerator[Json]:
    for event in events.begin():
        yield event
    with _own_params():
        async for chunk in chunks:
            for event in events.feed(chunk):
                yield event
    for event in events.end():
        yield event


def _head(request: Json, response_id: str, created: int) -> Json:
    repeated = {name: request[name] if request.get(name) is not None else _DEFAULTS[name] for name in _DEFAULTS}
    return {
        "id": response_id,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": request["model"],
        "output": [],
        "previous_response_id": None,
        "store": False,
        "truncation": "disabled",
        "usage": None,
        **repeated,
    }


@contextmanager
def _own_params() -> Iterator[None]:
    """Have errors name the members of this API, not those of the chat."""
    try:
        yield
    except ApiError as error:
        if error.param is not None:
            own = _PARAMS.get(error.param) or _OF_TOOL.sub(r"\1", error.param)
            error.message = error.message.replace(f"`{error.param}`", f"`{own}`")
            error.param = own
        raise
