"""What a proxy can't know by itself: time and chance, which tests give it otherwise."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from privity.protocol.exchange import Random


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Two clocks, in seconds, since a laptop that sleeps stops the one, and whoever sets its time moves the other."""

    wall: Callable[[], float] = time.time
    """Unix time."""
    steady: Callable[[], float] = time.monotonic
    """Time that only goes forward."""
    random: Random = os.urandom
    """Gives that many random bytes, for keys."""
    nonces: Random = os.urandom
    """The same for what is used once and then known to others: nonces, IVs, boundaries, IDs, salts."""
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    """Waits that many seconds."""

    def utc(self) -> datetime:
        """Return the time by the first of the clocks."""
        return datetime.fromtimestamp(self.wall(), UTC)
