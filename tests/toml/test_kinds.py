from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

import pytest

from privity.toml.kinds import (
    FLAG,
    MAX_NAME,
    MAX_SECONDS,
    MAX_SHOWN,
    MAX_TOKENS,
    MOMENT,
    TOKENS,
    UNIX_SECONDS,
    Kind,
    name,
    one_of,
    quoted,
    shown,
    whole_number,
)

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        (one_of("a", "b"), "b", "b"),
        (one_of("a", "b"), "c", None),
        (one_of("a", "b"), 1, None),
        (whole_number(0, 9, "a digit"), 0, 0),
        (whole_number(0, 9, "a digit"), 9, 9),
        (whole_number(0, 9, "a digit"), 10, None),
        (whole_number(0, 9, "a digit"), -1, None),
        (whole_number(0, 9, "a digit"), True, None),
        (whole_number(0, 9, "a digit"), 1.0, None),
        (name("an ID"), "org/M", "org/M"),
        (name("an ID"), "m" * MAX_NAME, "m" * MAX_NAME),
        (name("an ID"), "m" * (MAX_NAME + 1), None),
        (name("an ID"), "", None),
        (name("an ID"), " m", None),
        (name("an ID"), "m\n", None),
        (name("an ID"), "\x1b[31m", None),
        (name("an ID"), 7, None),
        (FLAG, False, False),
        (FLAG, 0, None),
        (FLAG, "true", None),
        (TOKENS, MAX_TOKENS, MAX_TOKENS),
        (TOKENS, MAX_TOKENS + 1, None),
        (TOKENS, 0, None),
    ],
)
def test_a_value_is_read_or_is_not_of_its_kind(kind: Kind[Any], value: Any, read: Any) -> None:
    got = kind.read(value)
    assert (got, type(got)) == (read, type(read))


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (date(2026, 1, 1), NEW_YEAR),
        (datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), NEW_YEAR),
        (datetime(2026, 1, 1), None),  # noqa: DTZ001  # without an offset, as TOML may have it
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2))), None),
        (time(12), None),
        (1767225600, None),
        ("2026-01-01", None),
    ],
)
def test_a_moment_is_a_date_or_has_an_offset(value: Any, moment: datetime | None) -> None:
    assert MOMENT.read(value) == moment


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0),
        (MAX_SECONDS, MAX_SECONDS),
        (MAX_SECONDS + 1, None),
        (-1, None),
        (NEW_YEAR, 1767225600),
        (date(1970, 1, 1), 0),
        (date(1969, 12, 31), None),
        (True, None),
        ("0", None),
    ],
)
def test_unix_seconds_are_a_number_or_a_moment_from_1970_on(value: Any, seconds: int | None) -> None:
    assert UNIX_SECONDS.read(value) == seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        ("a", '"a"'),
        (7, "7"),
        (0.5, "0.5"),
        (2**63, "9223372036854775808"),
        (2**99, "a huge number"),
        (NEW_YEAR, "2026-01-01T00:00:00+00:00"),
        (date(2026, 1, 1), "2026-01-01"),
        (time(12), "12:00:00"),
        ([], "an empty list"),
        ([1], "a list"),
        ({"a": 1}, "a table"),
    ],
)
def test_a_wrong_value_is_shown_on_one_line(value: Any, text: str) -> None:
    assert shown(value) == text


def test_a_text_is_quoted_cut_and_steers_no_terminal() -> None:
    assert quoted("\N{OGHAM LETTER BEITH}") == '"\N{OGHAM LETTER BEITH}"'
    assert quoted('a"\n\x1b[31m') == r'"a\"\n\u001b[31m"'
    assert quoted("m" * MAX_SHOWN) == f'"{"m" * MAX_SHOWN}"'
    assert quoted("m" * (MAX_SHOWN + 1)) == f'"{"m" * MAX_SHOWN}\N{HORIZONTAL ELLIPSIS}"'
