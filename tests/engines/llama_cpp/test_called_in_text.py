import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.engines.llama_cpp.called_in_text import TextCall, find_call, may_become_call

CALL = '{"name": "weather", "arguments": {"city": "Köln"}}'
DECLARED = {"weather"}
WRAPPED = [
    CALL,
    f"\n  {CALL}\n",
    f"```json\n{CALL}\n```",
    f"```\n{CALL}\n```",
    f"```json{CALL}```",
    f"<tool_call>\n{CALL}\n</tool_call>",
    f"<tool_call>{CALL}",
    f" <tool_call>\n{CALL}\n",
    CALL.replace("arguments", "parameters"),
]
NUMBERS = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
ARGUMENTS = st.dictionaries(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | NUMBERS | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)


@pytest.mark.parametrize("text", WRAPPED)
def test_a_text_that_is_nothing_but_a_call_is_one(text: str) -> None:
    call = find_call(text, DECLARED)
    assert call is not None
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Köln"})


@given(
    arguments=ARGUMENTS,
    wrapping=st.sampled_from(["{}", "```json\n{}\n```", "<tool_call>{}</tool_call>"]),
    ascii_only=st.booleans(),
)
def test_arguments_come_through_whatever_they_are(
    arguments: dict[str, Any], wrapping: str, *, ascii_only: bool
) -> None:
    text = json.dumps({"name": "f", "arguments": arguments}, ensure_ascii=ascii_only)
    call = find_call(wrapping.replace("{}", text), {"f"})
    assert call is not None
    assert json.loads(call.arguments) == arguments


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello.",
        "{",
        f"Sure! {CALL}",
        f"{CALL} There you go.",
        f"{CALL}{CALL}",
        f"```python\n{CALL}\n```",
        f"```json\n{CALL}",
        CALL[:-1],
        CALL.replace("weather", "unknown"),
        CALL.replace('"weather"', '["weather"]'),
        CALL.replace('"weather"', '{"weather": 1}'),
        CALL.replace('"weather"', "null"),
        '{"name": "weather"}',
        '{"name": "weather", "arguments": "{}"}',
        '{"name": "weather", "arguments": []}',
        '{"name": "weather", "arguments": null}',
        '{"arguments": {}}',
        '{"name": "weather", "arguments": {"x": NaN}}',
        '{"name": "weather", "arguments": {"x": Infinity}}',
        '{"name": "weather", "arguments": {"x": "\\ud800"}}',
        '{"name": "weather", "arguments": ' + '{"a":' * 100_000 + "}",
        '{"name": "weather", "arguments": {"x": ' + "1" * 10_000 + "}",
        "[" + CALL + "]",
    ],
)
def test_other_text_stays_text(text: str) -> None:
    assert find_call(text, DECLARED) is None


def test_nothing_is_a_call_where_nothing_is_declared() -> None:
    assert find_call(CALL, ()) is None


@given(st.text())
def test_any_text_is_looked_at_without_harm(text: str) -> None:
    assert find_call(text, DECLARED) is None


@pytest.mark.parametrize("text", WRAPPED)
def test_every_beginning_of_a_call_may_become_one(text: str) -> None:
    assert all(may_become_call(text[:length]) for length in range(len(text)))


@pytest.mark.parametrize("text", ["H", " Hello", "<b>", "<tool_calls>"[:2] + "x", "`code`", "``x", "[", '"{'])
def test_plain_text_is_known_as_such_by_its_first_characters(text: str) -> None:
    assert not may_become_call(text)


def test_a_call_holds_its_arguments_as_json_text() -> None:
    assert find_call(CALL, DECLARED) == TextCall("weather", '{"city":"Köln"}')
