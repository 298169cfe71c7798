import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.engines.engine import Answer, Json
from privity.engines.llama_cpp.called_in_text import find_call, may_become_call
from privity.engines.llama_cpp.found_calls import callable_names, with_calls_found
from privity.streams import Stream

CALL = '{"name": "f", "arguments": {"x": 1}}'
F = frozenset({"f"})
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]


def event(delta: Json, finish: str | None = None, **more: Any) -> Json:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "i", "created": 1, "model": "m", "choices": choices, **more}


def whole(content: str | None, **message: Any) -> Json:
    return {"choices": [{"index": 0, "message": {"content": content, **message}, "finish_reason": "stop"}]}


ROLE = event({"role": "assistant", "content": None})
USAGE = {**event({}), "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}


def streaming(pieces: Iterable[str]) -> list[Json]:
    return [ROLE, *(event({"content": piece}) for piece in pieces), event({}, "stop"), USAGE]


class Source:
    """Events as an engine sends them; `sent` are those that were asked for."""

    def __init__(self, events: list[Json]) -> None:
        self._events = events
        self.sent: list[Json] = []
        self.closed = False

    async def stream(self) -> AsyncGenerator[Json]:
        try:
            for each in self._events:
                self.sent.append(each)
                yield each
        finally:
            self.closed = True

    def events(self) -> Stream[Json]:
        return Stream(self.stream())


def stream_of(answer: Answer) -> Stream[Json]:
    assert not isinstance(answer, dict)
    return answer


async def found(events: list[Json], declared: frozenset[str] = F) -> list[Json]:
    return [each async for each in stream_of(with_calls_found(Source(events).events(), declared))]


def deltas(events: Iterable[Json]) -> list[Json]:
    return [choice["delta"] for each in events for choice in each["choices"]]


def text_of(events: Iterable[Json]) -> str:
    return "".join(delta.get("content") or "" for delta in deltas(events))


def calls_of(events: Iterable[Json]) -> list[tuple[str, str]]:
    """Put a stream's calls together as clients do."""
    calls: dict[int, list[str]] = {}
    for part in (part for delta in deltas(events) for part in delta.get("tool_calls", ())):
        call = calls.setdefault(part["index"], ["", ""])
        call[0] += part["function"].get("name", "")
        call[1] += part["function"].get("arguments", "")
    return [(name, arguments) for name, arguments in calls.values()]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, set()),
        ({"tools": None}, set()),
        ({"tools": []}, set()),
        ({"tools": TOOLS}, {"f", "g"}),
        ({"tools": TOOLS, "tool_choice": "auto"}, {"f", "g"}),
        ({"tools": TOOLS, "tool_choice": "none"}, set()),
    ],
)
def test_what_may_be_called_is_what_the_request_declares(body: Json, names: set[str]) -> None:
    assert callable_names(body) == names


@pytest.mark.parametrize("text", [CALL, f"```json\n{CALL}\n```", f"<tool_call>\n{CALL}\n</tool_call>"])
def test_a_whole_answer_that_is_a_call_becomes_one(text: str) -> None:
    answer = with_calls_found(whole(text), F)
    assert isinstance(answer, dict)
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["type"] == "function"
    assert call["id"].startswith("call_")
    assert call["function"] == {"name": "f", "arguments": '{"x":1}'}


@pytest.mark.parametrize(
    "answer",
    [whole("Hello."), whole(None), whole(CALL.replace("f", "g")), whole(CALL, tool_calls=[{"id": "native"}]), {}],
)
def test_a_whole_answer_that_is_no_call_stays_as_it_is(answer: Json) -> None:
    before = json.dumps(answer)
    assert json.dumps(with_calls_found(answer, F)) == before


def test_without_declared_functions_nothing_is_touched() -> None:
    answer = Source([]).events()
    assert with_calls_found(answer, frozenset()) is answer


@pytest.mark.parametrize("text", [CALL, f"\n```json\n{CALL}\n```", f"<tool_call>\n{CALL}\n</tool_call>"])
@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_a_streamed_call_becomes_one(text: str, size: int) -> None:
    events = await found(streaming(text[at : at + size] for at in range(0, len(text), size)))
    assert calls_of(events) == [("f", '{"x":1}')]
    assert text_of(events) == ""
    assert [each["choices"][0]["finish_reason"] for each in events if each["choices"]][-1] == "tool_calls"
    assert sum("role" in delta for delta in deltas(events)) == 1
    assert {(each["id"], each["created"], each["model"]) for each in events} == {("i", 1, "m")}
    assert events[-1] is USAGE


async def test_a_call_brings_its_role_where_the_engine_sent_it_with_the_text() -> None:
    events = await found([event({"role": "assistant", "content": CALL}), event({}, "stop")])
    assert deltas(events)[0]["role"] == "assistant"
    assert sum("role" in delta for delta in deltas(events)) == 1


FRAGMENTS = ["", " ", "\n", "{", "}", "<", "<tool_call>", "```", "json", "Hello", CALL, CALL[:9], CALL[9:]]
PIECES = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3))


@given(PIECES)
async def test_no_text_is_lost_or_reordered_or_held_longer_than_needed(pieces: list[str]) -> None:
    source = Source(streaming(pieces))
    got: list[Json] = []
    async for each in stream_of(with_calls_found(source.events(), F)):
        got.append(each)
        read = text_of(source.sent[:-1])
        if not may_become_call(read):  # before the newest event nothing is left to come
            assert text_of(got).startswith(read)
    if find_call("".join(pieces), F) is None:
        assert got == streaming(pieces)
    else:
        assert (text_of(got), calls_of(got)) == ("", [("f", '{"x":1}')])


async def test_plain_text_goes_on_at_once() -> None:
    source = Source(streaming(["Hel", "lo"]))
    async with aclosing(stream_of(with_calls_found(source.events(), F))) as events:
        for number in (1, 2, 3):
            await anext(events)
            assert len(source.sent) == number


async def test_thoughts_go_on_at_once_and_are_kept_beside_a_call() -> None:
    thoughts = [event({"reasoning_content": each}) for each in ("I ", "think")]
    source = Source([ROLE, *thoughts, event({"content": CALL}), event({}, "stop")])
    async with aclosing(stream_of(with_calls_found(source.events(), F))) as events:
        got = [await anext(events) for _ in range(3)]
        assert len(source.sent) == 3
        got += [each async for each in events]
    assert got[:3] == [ROLE, *thoughts]
    assert calls_of(got) == [("f", '{"x":1}')]


async def test_a_call_that_the_engine_saw_itself_passes() -> None:
    native = [
        event({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]}),
        event({}, "tool_calls"),
    ]
    assert await found([ROLE, *native]) == [ROLE, *native]
    assert await found([ROLE, event({"content": "{"}), *native]) == [ROLE, event({"content": "{"}), *native]


async def test_text_that_ends_without_a_reason_is_not_lost() -> None:
    events = [ROLE, event({"content": "{"}), event({"content": '"na'})]
    assert await found(events) == events


async def test_leaving_early_closes_the_engines_events() -> None:
    source = Source(streaming(["Hello"]))
    async with aclosing(stream_of(with_calls_found(source.events(), F))) as events:
        await anext(events)
    assert source.closed
