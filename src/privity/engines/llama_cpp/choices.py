"""`n`: several choices of one request.

The server generates at most one choice a slot, and counts the tokens of one of them only; so each choice is a request
of its own, one after the other, and the prompt comes out of the cache.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from privity.engines.engine import Answer, Json

AnswerOne = Callable[[Json], Awaitable[Answer]]


async def for_each_choice(answer_one: AnswerOne, body: Json) -> Answer:
    """Return the answer with `n` choices; raises as `answer_one`."""
    count = body.get("n") or 1
    single = {key: value for key, value in body.items() if key != "n"}
    first = await answer_one(single)
    if count == 1:
        return first
    if not isinstance(first, dict):
        return _chained(first, answer_one, single, count)
    for index in range(1, count):
        other = await answer_one(_varied(single, index))
        if isinstance(other, dict):
            _merge(first, other, index)
    return first


def _varied(body: Json, index: int) -> Json:
    """Return the request for one of the later choices: a given seed would repeat the first one."""
    return body | {"seed": body["seed"] + index} if body.get("seed") is not None else body


def _merge(first: Json, other: Json, index: int) -> None:
    offset = len(first["choices"]) // index
    first["choices"] += [choice | {"index": choice["index"] + offset * index} for choice in other["choices"]]
    _add_usage(first["usage"], other["usage"])


def _add_usage(total: Json, other: Json) -> None:
    total["completion_tokens"] += other["completion_tokens"]
    total["total_tokens"] += other["completion_tokens"]


async def _chained(first: AsyncGenerator[Json], answer_one: AnswerOne, body: Json, count: int) -> AsyncGenerator[Json]:
    last: Json | None = None
    head: Json = {}
    for index in range(count):
        events = first if index == 0 else await answer_one(_varied(body, index))
        if isinstance(events, dict):
            continue
        async with aclosing(events):
            async for event in events:
                head = head or {"id": event.get("id"), "created": event.get("created")}
                usage = event.get("usage")
                if usage and not event.get("choices"):
                    if last is not None:
                        _add_usage(usage, last["usage"])
                    last = event
                    continue
                choices = [choice | {"index": choice["index"] + index} for choice in event.get("choices", ())]
                yield event | head | {"choices": choices}
    if last is not None:
        yield last | head
