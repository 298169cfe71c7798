"""What values of a configuration file have to be, and how a message shows one that isn't. Pure code."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, Generic, TypeVar

MAX_SHOWN = 60
"""Characters of a wrong value, or of a key, that a message repeats."""

MAX_SHOWN_BITS = 64
"""Bits of a wrong number that a message repeats."""

MAX_NAME = 256
"""Characters of an ID or another name: the longest IDs of the Hub have half as many."""

MAX_TOKENS = 2**53 - 1
"""What JavaScript reads exactly out of JSON."""

MAX_SECONDS = 253_402_300_799
"""The end of the year 9999, in Unix seconds."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """What a value has to be."""

    expected: str
    """With its article, to follow "expected" and "each"."""
    read: Callable[[Any], T | None]
    """Returns the value as it is used, or None where it isn't of this kind."""
    is_secret: bool = False
    """Whether no message may repeat a wrong value."""


def one_of(*choices: str) -> Kind[str]:
    """Return the kind of a text that is one of several."""
    return Kind(f"one of {', '.join(choices)}", lambda value: value if value in choices else None)


def whole_number(least: int, most: int, expected: str) -> Kind[int]:
    """Return the kind of an integer within bounds."""

    def read(value: object) -> int | None:
        return value if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most else None

    return Kind(expected, read)


def name(expected: str) -> Kind[str]:
    """Return the kind of a text that is shown on one line and compared letter by letter."""

    def read(value: object) -> str | None:
        if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME:
            return None
        return value if value.isprintable() and value == value.strip() else None

    return Kind(f"{expected} of at most {MAX_NAME} printable characters", read)


def _moment(value: object) -> datetime | None:
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime) or value.tzinfo is None:
        return None
    try:
        return value.astimezone(UTC)
    except OverflowError:  # its offset leads out of the years that Python knows
        return None


def _unix_seconds(value: object) -> int | None:
    moment = _moment(value)
    return _ANY_SECONDS.read(value if moment is None else int(moment.timestamp()))


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


_ANY_SECONDS = whole_number(0, MAX_SECONDS, "Unix seconds")

FLAG = Kind("true or false", _flag)
TOKENS = whole_number(1, MAX_TOKENS, "an integer above 0")
MOMENT = Kind("a date, or a date and time with its offset such as 2026-01-31T12:00:00Z", _moment)
UNIX_SECONDS = Kind("a date from 1970 on, a date and time with its offset, or Unix seconds", _unix_seconds)


def shown(value: object) -> str:
    """Return a wrong value as a message shows it, on one line and without what could steer a terminal."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return quoted(value)
        case int() | float():
            is_huge = isinstance(value, int) and value.bit_length() > MAX_SHOWN_BITS
            return "a huge number" if is_huge else str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case list():
            return "a list" if value else "an empty list"
        case _:
            return "a table"


def quoted(text: str) -> str:
    """Return a text in quotes, cut after `MAX_SHOWN` characters."""
    cut = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
    return json.dumps(cut, ensure_ascii=not cut.isprintable())
