"""Secrets in the memory of one process."""

import asyncio
import heapq
import time
from collections.abc import Callable

from privity.protocol.secret import Secret

MAX_SECRETS = 100_000
"""Secrets kept at once, some 300 MB: 28 new ones each second of an hour."""

_End = tuple[float, str]
"""When a secret ends, in seconds on the clock, and its ID."""


class MemoryStore:
    """Keeps each secret for its lifetime, and forgets it when that is over.

    Does not check: who asks.

    Args:
        limit: secrets kept at once, where one that was put again counts twice until its first time has ended; one more
            takes the place of the one that would end first.
        clock: seconds.
    """

    def __init__(self, limit: int = MAX_SECRETS, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._held: dict[str, tuple[Secret, _End]] = {}
        self._ends: list[_End] = []
        """A heap. A secret that was put again has an entry for each time; the one in `_held` counts."""
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._held)

    async def put(self, secret: Secret, lifetime_seconds: float) -> None:
        """Keep a secret, in place of another with its ID."""
        now = self._clock()
        self._forget_ended(now)
        end = (now + lifetime_seconds, secret.id)
        self._held[secret.id] = (secret, end)
        heapq.heappush(self._ends, end)
        if len(self._ends) > self._limit:
            self._forget_first()
        if self._timer is None or self._ends[0] is end:
            self._wake_at_first()

    async def get(self, secret_id: str) -> tuple[Secret, float] | None:
        """Return a secret and the seconds that are left to it."""
        now = self._clock()
        self._forget_ended(now)
        found = self._held.get(secret_id)
        return (found[0], found[1][0] - now) if found is not None else None

    async def aclose(self) -> None:
        """Forget all."""
        self._held.clear()
        self._ends.clear()
        self._wake_at_first()

    def _wake_at_first(self) -> None:
        """See to it that the next one to end is forgotten even if nobody calls."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ends:
            delay = self._ends[0][0] - self._clock()
            self._timer = asyncio.get_running_loop().call_later(delay, self._wake)

    def _wake(self) -> None:
        self._forget_ended(self._clock())
        self._wake_at_first()

    def _forget_ended(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            self._forget_first()

    def _forget_first(self) -> None:
        end = heapq.heappop(self._ends)
        held = self._held.get(end[1])
        if held is not None and held[1] is end:
            del self._held[end[1]]
