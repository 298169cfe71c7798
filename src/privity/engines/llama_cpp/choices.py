"""Several choices of one request: `n`, and several prompts.

The server generates at most one choice a slot, and counts the tokens of one of them only. So each choice is a request
of its own, one after the other, and `n` choices of a prompt read it from the cache.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from privity.engines.engine import Answer, Json
from privity.engines.llama_cpp.completion import Usage
from privity.streams import Stream, owning

AnswerOne = Callable[[Json], Awaitable[Answer]]


async def for_each_choice(answer_one: AnswerOne, body: Json) -> Answer:
    """Return the answer with all choices, those of the first prompt first; raises as `answer_one`."""
    count = body.get("n") or 1
    singles = _single_requests(body, count)
    first = await answer_one(singles[0])
    if len(singles) == 1:
        return first
    if isinstance(first, Stream):
        return _streamed(first, answer_one, singles, count)
    answers = [first]
    for single in singles[1:]:
        other = await answer_one(single)
        if isinstance(other, dict):
            answers.append(other)
    choices = [choice | {"index": index} for index, answer in enumerate(answers) for choice in answer["choices"]]
    return first | {"choices": choices, "usage": _total([answer.get("usage") for answer in answers], count)}


def _single_requests(body: Json, count: int) -> list[Json]:
    shared = {key: value for key, value in body.items() if key != "n"}
    requests = [shared]
    prompt = body.get("prompt")
    if isinstance(prompt, list) and not all(isinstance(each, int) for each in prompt):
        requests = [shared | {"prompt": each} for each in prompt]
    repeated = [request for request in requests for _ in range(count)]
    if body.get("seed") is not None and count > 1:  # the same seed would give the same choice
        return [request | {"seed": body["seed"] + index % count} for index, request in enumerate(repeated)]
    return repeated


def _total(usages: list[Json | None], count: int) -> Json:
    """Return the usage of all choices; a prompt counts once, whatever the number of its choices."""
    known = [usage or {} for usage in usages]
    prompt = sum(usage.get("prompt_tokens", 0) for usage in known[::count])
    completion = sum(usage.get("completion_tokens", 0) for usage in known)
    details = [usage.get("prompt_tokens_details") or {} for usage in known[::count]]
    return Usage(prompt, completion, sum(each.get("cached_tokens", 0) for each in details)).as_json()


@owning
async def _streamed(
    first: Stream[Json], answer_one: AnswerOne, singles: list[Json], count: int
) -> AsyncGenerator[Json]:
    """Yield the events of one choice after the other, under the first one's head, and one usage at the end."""
    head: Json = {}
    usages: list[Json | None] = []
    usage_event: Json | None = None
    for index, single in enumerate(singles):
        events = first if index == 0 else await answer_one(single)
        if isinstance(events, dict):
            raise TypeError("a streaming request has a streamed answer")
        async with aclosing(events):
            async for event in events:
                head = head or {"id": event.get("id"), "created": event.get("created")}
                if event.get("usage") and not event.get("choices"):
                    usages.append(event["usage"])
                    usage_event = event | head
                else:
                    yield event | head | {"choices": [choice | {"index": index} for choice in event["choices"]]}
    if usage_event is not None:
        yield usage_event | {"usage": _total(usages, count)}
