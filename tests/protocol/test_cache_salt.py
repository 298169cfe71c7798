import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.errors import InvalidRequestError
from privity.protocol.cache_salt import MIN_CHARACTERS, RANDOM_BYTES, check_salt, random_salt

NO_SALTS = {
    "too short": json.dumps("a" * (MIN_CHARACTERS - 1)).encode(),
    "too few characters in enough bytes": json.dumps("é" * (MIN_CHARACTERS - 1), ensure_ascii=False).encode(),
    "too few characters in enough escapes": b'"' + b"\\u0061" * (MIN_CHARACTERS - 1) + b'"',
    "empty": b'""',
    "null": b"null",
    "a number": b"1" * 40,
    "a list": b'["' + b"a" * 40 + b'"]',
    "endless": b"[" * 100_000,
    "no JSON": b"a" * 40,
    "cut": b'"' + b"a" * 40,
    "nothing": b"",
    "a lone surrogate": b'"' + b"a" * 40 + b'\\ud800"',
    "an encoded surrogate": b'"' + b"a" * 40 + b'\xed\xa0\x80"',
    "no UTF-8": b'"' + b"a" * 40 + b'\xff"',
    "a raw line break": b'"' + b"a" * 40 + b'\n"',
}


@pytest.mark.parametrize("raw", NO_SALTS.values(), ids=NO_SALTS)
def test_what_is_no_salt_is_an_invalid_request(raw: bytes) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_salt(raw)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, "cache_salt", "invalid_value")


@settings(max_examples=40)
@given(st.text(min_size=MIN_CHARACTERS, max_size=64), st.booleans())
def test_a_long_enough_string_is_taken_as_it_is(salt: str, ascii_only: bool) -> None:  # noqa: FBT001  # drawn
    assert check_salt(json.dumps(salt, ensure_ascii=ascii_only).encode()) == salt


def test_a_random_salt_is_a_valid_one() -> None:
    salt = random_salt(bytes(RANDOM_BYTES))
    assert salt == "A" * 43 + "="
    assert check_salt(json.dumps(salt).encode()) == salt


@pytest.mark.parametrize("length", [0, RANDOM_BYTES - 1, RANDOM_BYTES + 1])
def test_a_random_salt_is_made_from_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        random_salt(bytes(length))
