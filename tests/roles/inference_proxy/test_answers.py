from typing import Any

import pytest

from privity.roles.inference_proxy.answers import public

CHAT, MESSAGES, TRANSCRIPTIONS = "/v1/chat/completions", "/v1/messages", "/v1/audio/transcriptions"
RESPONSES = "/v1/responses"


def choices(name: str, **part: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0}, {"index": 1, name: part}]}


@pytest.mark.parametrize("name", ["message", "delta"])
@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"reasoning": "so"}, {"reasoning": "so", "reasoning_content": "so"}),
        ({"reasoning": "so", "reasoning_content": None}, {"reasoning": "so", "reasoning_content": "so"}),
        ({"reasoning": "so", "reasoning_content": "x"}, {"reasoning": "so", "reasoning_content": "x"}),
        ({"reasoning": None}, {"reasoning": None}),
        ({"content": "x"}, {"content": "x"}),
    ],
)
def test_reasoning_is_repeated(name: str, part: dict[str, Any], expected: dict[str, Any]) -> None:
    assert public(choices(name, **part), "m", CHAT) == {**choices(name, **expected), "model": "m"}


@pytest.mark.parametrize("given", [None, [], 7, [None, 7, "x", [], {}, {"message": None, "delta": "x"}]])
def test_choices_of_another_form_stay(given: Any) -> None:
    assert public({"choices": given, "timings": 1}, "m", CHAT) == {"choices": given, "model": "m"}


@pytest.mark.parametrize(
    ("path", "given", "expected"),
    [
        (MESSAGES, {"type": "ping"}, {"type": "ping"}),
        (MESSAGES, {"model": "x"}, {"model": "m"}),
        (MESSAGES, {"message": {"model": "x", "id": "1"}}, {"message": {"model": "m", "id": "1"}}),
        (MESSAGES, {"message": "x"}, {"message": "x"}),
        (TRANSCRIPTIONS, {"text": "x"}, {"text": "x"}),
        (RESPONSES, {"object": "response", "model": "x"}, {"object": "response", "model": "m"}),
        (RESPONSES, {"response": {"model": "x", "usage": None}}, {"response": {"model": "m", "usage": None}}),
        (RESPONSES, {"delta": "x"}, {"delta": "x"}),
        (RESPONSES, {"response": "x"}, {"response": "x"}),
    ],
)
def test_the_model_is_named_where_the_api_names_it(path: str, given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert public(given, "m", path) == expected


def test_the_usage_of_a_response_is_at_the_top_of_its_event_too() -> None:
    usage = {"input_tokens": 1}
    assert public({"response": {"usage": usage}}, "m", RESPONSES) == {"response": {"usage": usage}, "usage": usage}


def test_usage_says_nothing_but_numbers_and_names_of_what_is_counted() -> None:
    usage = {"type": "duration", "seconds": 1.5, "details": {"cached_tokens": 2, "per_turn": [1, 2]}, "cost": None}
    assert public({"usage": usage}, "m", "/v1/audio/transcriptions")["usage"] == usage
    told = {"total_tokens": 3, "note": "What they said.", "What they asked": 1, "details": [{"a": "Yes."}]}
    answer = public({"type": "response.completed", "response": {"usage": told}}, "m", "/v1/responses")
    assert answer["usage"] == {"total_tokens": 3, "note": None, "details": [{"a": None}]}
    assert answer["response"]["usage"] == told
