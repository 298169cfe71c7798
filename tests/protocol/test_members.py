import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import InvalidRequestError
from privity.protocol.members import MAX_MODEL_ID_CHARACTERS, read_members, read_model, read_object

NOT_OBJECTS = {
    "nothing": b"",
    "no JSON": b"hello",
    "cut": b'{"model": "m"',
    "surplus": b'{"model": "m"} x',
    "a list": b'["model"]',
    "a text": b'"model"',
    "null": b"null",
    "no UTF-8": b'{"\xff": 1}',
    "endless": b'{"a":' * 100_000,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize("read", [read_members, read_object])
@pytest.mark.parametrize("body", NOT_OBJECTS.values(), ids=NOT_OBJECTS)
def test_what_is_no_object_is_invalid_json(read: Callable[[bytes], Any], body: bytes) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read(body)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


@given(st.dictionaries(st.text(), JSON))
def test_members_keep_the_bytes_of_their_values(value: dict[str, Any]) -> None:
    body = json.dumps(value, indent=1).encode()
    members = read_members(body)
    assert {name: json.loads(bytes(raw)) for name, raw in members.items()} == value
    assert all(bytes(raw) in body for raw in members.values())
    assert read_object(body) == value


def test_numbers_are_not_touched() -> None:
    assert bytes(read_members(b'{"a": 1.0000000000000000000001e0}')["a"]) == b"1.0000000000000000000001e0"


@pytest.mark.parametrize(
    ("value", "model"), [('"m"', "m"), ('"org/M-1.5_x:free"', "org/M-1.5_x:free"), ('"\\u00e9"', "é")]
)
def test_the_model_is_a_text(value: str, model: str) -> None:
    assert read_model({"model": msgspec.Raw(value.encode())}) == model


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({}, "missing_model"),
        ({"model": "null"}, "invalid_model"),
        ({"model": "7"}, "invalid_model"),
        ({"model": '["m"]'}, "invalid_model"),
        ({"model": '""'}, "invalid_model"),
        ({"model": '"a\\nb"'}, "invalid_model"),
        ({"model": '"\\u0000"'}, "invalid_model"),
        ({"model": f'"{"m" * (MAX_MODEL_ID_CHARACTERS + 1)}"'}, "invalid_model"),
    ],
    ids=["missing", "null", "a number", "a list", "empty", "a line break", "a control character", "too long"],
)
def test_a_model_that_no_list_could_hold_is_refused(members: dict[str, str], code: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_model({name: msgspec.Raw(value.encode()) for name, value in members.items()})
    assert (caught.value.param, caught.value.code) == ("model", code)


def test_a_model_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        read_model(read_members(b'{"model": "\xff"}'))


def test_the_longest_model_id_is_taken() -> None:
    longest = "m" * MAX_MODEL_ID_CHARACTERS
    assert read_model(read_members(json.dumps({"model": longest}).encode())) == longest
