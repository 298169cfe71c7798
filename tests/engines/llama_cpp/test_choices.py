from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.engines.engine import Answer, Json
from privity.engines.llama_cpp.choices import for_each_choice
from privity.engines.llama_cpp.completion import Usage
from privity.errors import EngineFailedError
from privity.streams import Stream


class Asked:
    """Answers each request with one choice that says which request it was."""

    def __init__(self, *, fails_at: int | None = None) -> None:
        self.bodies: list[Json] = []
        self.open: set[int] = set()
        self._fails_at = fails_at

    async def __call__(self, body: Json) -> Answer:
        number = len(self.bodies)
        self.bodies.append(body)
        if number == self._fails_at:
            raise EngineFailedError("no")
        return (
            Stream(self._events(number, body)) if body.get("stream") else {**self._head(number), **self._usage(number)}
        )

    def _head(self, number: int) -> Json:
        return {"id": f"id{number}", "created": number, "choices": [{"index": 0, "text": str(number)}]}

    @staticmethod
    def _usage(number: int) -> Json:
        return {"usage": Usage(5, number + 1, 2).as_json()}

    async def _events(self, number: int, body: Json) -> AsyncGenerator[Json]:
        self.open.add(number)
        try:
            for _ in range(2):
                yield self._head(number)
            if body.get("stream_options"):
                yield {**self._head(number), "choices": [], **self._usage(number)}
        finally:
            self.open.remove(number)


def usage_of(n: int) -> Json:
    """Return the usage of `n` requests: the prompt counts once, as OpenAI has it."""
    completion = sum(range(1, n + 1))
    return Usage(5, completion, 2).as_json()


async def whole(asked: Asked, body: Json) -> Json:
    answer = await for_each_choice(asked, body)
    assert isinstance(answer, dict)
    return answer


async def streamed(asked: Asked, body: Json) -> Stream[Json]:
    answer = await for_each_choice(asked, body | {"stream": True})
    assert not isinstance(answer, dict)
    return answer


@given(st.integers(1, 16))
async def test_each_choice_is_a_request_of_its_own(n: int) -> None:
    asked = Asked()
    answer = await whole(asked, {"n": n, "prompt": "x"})
    assert [(choice["index"], choice["text"]) for choice in answer["choices"]] == [(i, str(i)) for i in range(n)]
    assert answer["id"] == "id0"
    assert answer["usage"] == usage_of(n)
    assert asked.bodies == [{"prompt": "x"}] * n


@given(st.integers(1, 16))
async def test_streamed_choices_share_a_head_and_one_usage(n: int) -> None:
    asked = Asked()
    events = [each async for each in await streamed(asked, {"n": n, "stream_options": {"include_usage": True}})]
    assert [[choice["index"] for choice in each["choices"]] for each in events[:-1]] == [
        [i] for i in range(n) for _ in "ab"
    ]
    assert {(each["id"], each["created"]) for each in events} == {("id0", 0)}
    assert (events[-1]["choices"], events[-1]["usage"]) == ([], usage_of(n))
    assert not asked.open


@pytest.mark.parametrize("n", [1, 3])
async def test_a_stream_without_usage_has_none(n: int) -> None:
    events = [each async for each in await streamed(Asked(), {"n": n})]
    assert len(events) == 2 * n
    assert not any("usage" in each for each in events)


@pytest.mark.parametrize("body", [{}, {"n": None}, {"n": 1}])
async def test_one_choice_is_one_request(body: Json) -> None:
    asked = Asked()
    assert len((await whole(asked, body))["choices"]) == 1
    assert asked.bodies == [{}]


@pytest.mark.parametrize(("seed", "seeds"), [(7, [7, 8, 9]), (0, [0, 1, 2]), (None, [None] * 3)])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_seed_does_not_repeat_the_first_choice(seed: int | None, seeds: list[Any], *, stream: bool) -> None:
    asked = Asked()
    answer = await for_each_choice(asked, {"n": 3, "seed": seed, "stream": stream})
    if not isinstance(answer, dict):
        assert [each async for each in answer]
    assert [body["seed"] for body in asked.bodies] == seeds


@pytest.mark.parametrize("stream", [False, True])
async def test_each_prompt_has_its_choices_one_after_the_other(*, stream: bool) -> None:
    asked = Asked()
    body = {"n": 2, "prompt": ["x", "y"], "stream_options": {"include_usage": True}}
    if stream:
        events = [each async for each in await streamed(asked, body)]
        indices = sorted({choice["index"] for each in events for choice in each["choices"]})
        usage = events[-1]["usage"]
    else:
        answer = await whole(asked, body)
        indices = [choice["index"] for choice in answer["choices"]]
        usage = answer["usage"]
    assert indices == [0, 1, 2, 3]
    assert [each["prompt"] for each in asked.bodies] == ["x", "x", "y", "y"]
    assert usage == Usage(10, 10, 4).as_json()


async def test_a_list_of_tokens_is_one_prompt() -> None:
    asked = Asked()
    await whole(asked, {"prompt": [1, 2, 3]})
    assert len(asked.bodies) == 1


@pytest.mark.parametrize("at", [0, 1, 2])
async def test_one_choice_that_fails_fails_them_all(at: int) -> None:
    with pytest.raises(EngineFailedError):
        await whole(Asked(fails_at=at), {"n": 3})


async def test_a_streamed_choice_that_fails_ends_the_stream_with_its_error() -> None:
    asked = Asked(fails_at=1)
    got = []
    with pytest.raises(EngineFailedError):  # noqa: PT012  # what came before the error is of interest
        async for each in await streamed(asked, {"n": 2}):
            got.append(each)  # noqa: PERF401
    assert len(got) == 2
    assert not asked.open


@pytest.mark.parametrize("taken", [1, 2, 3])
async def test_leaving_early_closes_what_is_open_and_asks_no_further(taken: int) -> None:
    asked = Asked()
    async with aclosing(await streamed(asked, {"n": 3})) as events:
        for _ in range(taken):
            await anext(events)
        assert asked.open
    assert not asked.open
    assert len(asked.bodies) == (taken + 1) // 2
