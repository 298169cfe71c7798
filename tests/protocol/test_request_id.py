import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.protocol.request_id import MAX_CHARACTERS, RANDOM_BYTES, loggable, uuid7

LATEST = (1 << 48) - 1
"""The last millisecond that has a UUID of version 7: in the year 10889."""

times = st.integers(0, LATEST)
randoms = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)


# UUIDs


def test_the_example_of_the_standard_comes_out() -> None:
    """RFC 9562 appendix A.6: rand_a is 0xCC3, rand_b is 0x18C4DC0C0C07398F; version and variant cover six bits."""
    random = (0xCC3 << 64 | 0x18C4DC0C0C07398F).to_bytes(RANDOM_BYTES, "big")
    assert uuid7(0x017F22E279B0, random) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(times, randoms)
def test_it_has_the_layout_of_version_7(milliseconds: int, random: bytes) -> None:
    text = uuid7(milliseconds, random)
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text)
    parsed = uuid.UUID(text)
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == milliseconds
    bits = int.from_bytes(random, "big")
    assert parsed.int >> 64 & 0xFFF == bits >> 64 & 0xFFF, "rand_a"
    assert parsed.int & (1 << 62) - 1 == bits & (1 << 62) - 1, "rand_b"


@given(times, times, randoms, randoms)
def test_it_sorts_by_time(first: int, second: int, random: bytes, other: bytes) -> None:
    if first != second:
        assert (uuid7(first, random) < uuid7(second, other)) is (first < second)


@pytest.mark.parametrize(
    ("milliseconds", "random", "expected"),
    [
        (0, b"\x00", "00000000-0000-7000-8000-000000000000"),
        (0, b"\xff", "00000000-0000-7fff-bfff-ffffffffffff"),
        (LATEST, b"\x00", "ffffffff-ffff-7000-8000-000000000000"),
        (LATEST, b"\xff", "ffffffff-ffff-7fff-bfff-ffffffffffff"),
    ],
)
def test_at_its_bounds_no_part_runs_over_into_another(milliseconds: int, random: bytes, expected: str) -> None:
    assert uuid7(milliseconds, random * RANDOM_BYTES) == expected


def test_after_its_last_millisecond_time_begins_anew() -> None:
    assert uuid7(LATEST + 1, bytes(RANDOM_BYTES)) == uuid7(0, bytes(RANDOM_BYTES))


@pytest.mark.parametrize("length", [0, RANDOM_BYTES - 1, RANDOM_BYTES + 1, 16])
def test_another_number_of_random_bytes_is_a_mistake(length: int) -> None:
    with pytest.raises(ValueError, match="10 random bytes"):
        uuid7(0, bytes(length))


# IDs from outside


@given(st.text())
def test_what_is_logged_is_short_and_harmless_whatever_came(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._?-]*", loggable(text))
    assert len(loggable(text)) == min(len(text), MAX_CHARACTERS)


@pytest.mark.parametrize(
    ("text", "logged"),
    [
        ("", ""),
        ("proxy_01890a5d-ac96-774b-bcce-b302099a8057_0", "proxy_01890a5d-ac96-774b-bcce-b302099a8057_0"),
        ("a" * MAX_CHARACTERS, "a" * MAX_CHARACTERS),
        ("a" * (MAX_CHARACTERS + 1), "a" * MAX_CHARACTERS),
        ("\x1b[31m\r\nlevel=error", "??31m??level?error"),
        ("naïve\u202e\u0661", "na?ve??"),
    ],
)
def test_harmless_characters_stay_and_others_become_question_marks(text: str, logged: str) -> None:
    assert loggable(text) == logged
