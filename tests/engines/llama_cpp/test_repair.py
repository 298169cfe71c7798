import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.engines.llama_cpp.repair import closed

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("cut", "whole"),
    [
        ("{", "{}"),
        ('{"a":1', "{}"),
        ('{"a":1,', '{"a":1}'),
        ('{"a":[1,2', '{"a":[1]}'),
        ('{"a":{"b":"x,y}"', '{"a":{}}'),
        ('{"a":"\\"},', "{}"),
        ('[{"a":1},{"b"', '[{"a":1},{}]'),
        ('{"a":1}', '{"a":1}'),
        ("12", None),
        ("]", None),
        ("[}", None),
        ("", None),
    ],
)
def test_what_is_whole_is_kept_and_closed(cut: str, whole: str | None) -> None:
    assert closed(cut) == whole


@given(st.lists(VALUES, max_size=3) | st.dictionaries(st.text(), VALUES, max_size=4), st.data())
def test_however_it_is_cut_it_is_json_again(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value)
    repaired = closed(text[: data.draw(st.integers(1, len(text)))])
    assert repaired is not None
    assert isinstance(json.loads(repaired), type(value))
