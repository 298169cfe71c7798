from collections.abc import AsyncGenerator
from typing import Any

import pytest

from privity.engines.connection import EngineConnection
from privity.engines.engine import Json
from privity.engines.llama_cpp.native_chat import asked_for_stop, count_prompt, like_others
from privity.errors import EngineFailedError, UnavailableError
from privity.streams import Stream
from privity.testing.fake_http import FakeHttpClient, FakeResponse, json_response
from privity.testing.fake_llama import llama_error

USER = {"role": "user", "content": "Count."}
BODY: Json = {"model": "m", "messages": [USER]}
STOPS = BODY | {"stop": ["3"]}
COUNT = "/v1/chat/completions/input_tokens"


def whole(content: str | None, **members: Any) -> Json:
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}], **members}


def inside(word: str) -> Json:
    return {"__verbose": {"prompt": "<user>Count.", "stop_type": "word" if word else "eos", "stopping_word": word}}


def test_only_who_stops_at_words_is_told_which() -> None:
    assert asked_for_stop(STOPS) == STOPS | {"verbose": True}
    for body in (BODY, BODY | {"stop": []}, BODY | {"stop": None}):
        assert asked_for_stop(body) == body


@pytest.mark.parametrize(("word", "told"), [("3", "3"), ("", None)])
async def test_the_word_is_told_as_vllm_does_and_nothing_else_of_the_inside(word: str, told: str | None) -> None:
    expected = {"choices": [{**whole("1, 2, ")["choices"][0], "stop_reason": told}]}
    assert like_others(whole("1, 2, ", **inside(word)), STOPS) == expected

    async def events() -> AsyncGenerator[Json]:
        yield {"choices": [{"delta": {"content": "1"}}]}
        yield {"choices": [{"delta": {}, "finish_reason": "stop"}], **inside(word)}

    answer = like_others(Stream(events()), STOPS)
    assert isinstance(answer, Stream)
    assert [event async for event in answer] == [
        {"choices": [{"delta": {"content": "1"}}]},
        {"choices": [{"delta": {}, "finish_reason": "stop", "stop_reason": told}]},
    ]


@pytest.mark.parametrize(
    ("last", "content", "expected"),
    [
        ({"role": "assistant", "content": "1, "}, "1, 2", "2"),
        ({"role": "assistant", "content": "1, "}, "2", "2"),
        ({"role": "assistant", "content": None, "tool_calls": []}, "2", "2"),
        ({"role": "assistant", "content": [{"type": "text", "text": "1, "}]}, "1, 2", "1, 2"),
        ({"role": "assistant", "content": "1, "}, None, None),
        ({"role": "user", "content": "1, "}, "1, 2", "1, 2"),
    ],
)
def test_an_answer_does_not_repeat_its_beginning(last: Json, content: str | None, expected: str | None) -> None:
    assert like_others(whole(content), BODY | {"messages": [USER, last]}) == whole(expected)


def connection(answer: FakeResponse) -> EngineConnection:
    return EngineConnection(FakeHttpClient(lambda _request: answer), "http://engine", 7.0)


async def test_the_server_counts() -> None:
    http = FakeHttpClient(lambda _request: json_response({"input_tokens": 7, "object": "response.input_tokens"}))
    chat = BODY | {"tools": [], "max_tokens": 5, "chat_template_kwargs": {"enable_thinking": False}}
    assert await count_prompt(EngineConnection(http, "http://engine", 7.0), chat) == 7
    assert http.sent[0].url.endswith(COUNT)
    assert http.sent[0].json() == BODY | {"chat_template_kwargs": {"enable_thinking": False}}


async def test_one_that_is_too_old_does_not() -> None:
    assert await count_prompt(connection(llama_error(404)), BODY) is None


@pytest.mark.parametrize("answer", [{}, {"input_tokens": -1}, {"input_tokens": "7"}])
async def test_a_count_that_is_none_is_the_engines_failure(answer: Json) -> None:
    with pytest.raises(EngineFailedError):
        await count_prompt(connection(json_response(answer)), BODY)


async def test_its_other_failures_are_told() -> None:
    with pytest.raises(UnavailableError):
        await count_prompt(connection(llama_error(503)), BODY)
    with pytest.raises(EngineFailedError):
        await count_prompt(connection(llama_error(500)), BODY)
