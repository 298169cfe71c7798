"""How many clients may wait for changes of the list at a time."""

from collections import Counter
from hashlib import sha256

from privity.errors import TooManyRequestsError
from privity.http import Headers, header

MAX_SUBSCRIBERS = 2000
"""Of one listener: a change costs an event for each, and the thousandth still gets his within a second."""

MAX_SUBSCRIBERS_OF_KEY = 1000
"""With one API key: half of them, so that nobody takes the places of all others."""

RETRY_AFTER = 30
"""Seconds until somebody for whom there was no place asks again: a long poll lasts as long by default."""


class Subscribers:
    """Those who wait.

    Args:
        most: how many may.
        most_of_key: how many may with one API key.
    """

    def __init__(self, most: int = MAX_SUBSCRIBERS, most_of_key: int = MAX_SUBSCRIBERS_OF_KEY) -> None:
        self._most = most
        self._most_of_key = most_of_key
        self._count = 0
        self._by_key: Counter[bytes] = Counter()

    def take(self, headers: Headers) -> "Place":
        """Return a place for whoever sends these headers. Raises `TooManyRequestsError` where there is none."""
        given = header(headers, b"authorization") or header(headers, b"x-api-key")
        key = sha256(given).digest() if given else None
        if self._count >= self._most or (key is not None and self._by_key[key] >= self._most_of_key):
            raise TooManyRequestsError(
                "Too many clients wait for changes of the models. Ask without `wait`, or later.",
                retry_after=RETRY_AFTER,
                code="too_many_subscribers",
            )
        self.count(key, 1)
        return Place(self, key)

    def count(self, key: bytes | None, more: int) -> None:
        """Take note that so many more wait."""
        self._count += more
        if key is not None:
            self._by_key[key] += more
            if not self._by_key[key]:
                del self._by_key[key]


class Place:
    """The place of one who waits, until it is closed."""

    def __init__(self, subscribers: Subscribers, key: bytes | None) -> None:
        self._subscribers: Subscribers | None = subscribers
        self._key = key

    async def aclose(self) -> None:
        """Give it back."""
        if self._subscribers is not None:
            self._subscribers.count(self._key, -1)
            self._subscribers = None
