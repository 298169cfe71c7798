"""A llama.cpp server's slots: whose prompt is in each of them, so that none is reused under another cache salt.

A slot keeps the tokens of its last request until the next one. A request is sent to a slot by its number, and may reuse
what is there only where that came from a request with the same salt. What a slot holds is known only of requests whose
answer had begun: after any other end nobody can tell, so nothing is reused there.
"""

import asyncio
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass

from privity.errors import EngineTimeoutError
from privity.protocol.shard_key import common_length

MAX_SLOTS = 256
"""Slots of one model: llama.cpp can't have more sequences."""

SETTLE_SECONDS = 5.0
"""Seconds in which a request that was given up may still begin: the server looks each second whether clients are there,
and may be in the middle of a batch."""


@dataclass(slots=True, eq=False)
class _Slot:
    number: int
    owner: bytes | None = None
    """The hash of the salt of all that it holds; None where that is not known."""
    prompt: str = ""
    """The shard key of what it holds, without the salt's part."""
    last_used: int = 0
    is_busy: bool = False
    unsettled_until: float = 0.0
    """Until when, by the clock, a request that was given up may still begin here."""


class Slots:
    """The slots of one model.

    Args:
        clock: a steady clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.keeps_apart: bool | None = None
        """Whether a slot's prompts are in that slot only; None as long as nobody found out."""
        self._clock = clock
        self._slots: list[_Slot] = []
        self._free = asyncio.Semaphore(0)
        self._uses = 0

    def __len__(self) -> int:
        return len(self._slots)

    def grow(self, count: int) -> None:
        """Have at least so many."""
        for number in range(len(self._slots), min(count, MAX_SLOTS)):
            self._slots.append(_Slot(number))
            self._free.release()

    async def lease(self, owner: bytes | None, prompt: str, patience: float) -> "Lease":
        """Return a slot for one request, once one is free, in the order of asking.

        Args:
            owner: the hash of the request's salt, without which nothing is reused.
            prompt: a shard key without its salt: what begins alike is looked for.
            patience: seconds to wait at most.

        Raises:
            EngineTimeoutError: none becomes free in time.
        """
        try:
            async with asyncio.timeout(patience):
                await self._free.acquire()
        except TimeoutError as error:
            raise EngineTimeoutError("The model's engine had no time for this request.") from error
        slot = max(
            (slot for slot in self._slots if not slot.is_busy),
            key=lambda slot: (_common(slot, owner, prompt), -slot.last_used),
        )
        reuses = bool(self.keeps_apart) and _is_same(slot.owner, owner)
        self._uses += 1
        slot.owner, slot.prompt, slot.last_used, slot.is_busy = None, prompt, self._uses, True
        is_settled = slot.unsettled_until <= self._clock()
        return Lease(slot, owner if is_settled else None, self._give_back, reuses=reuses)

    def _give_back(self, slot: _Slot, *, began: bool) -> None:
        slot.is_busy = False
        if not began:
            slot.unsettled_until = self._clock() + SETTLE_SECONDS
        self._free.release()


class SlotTables:
    """The slots of all models of a server. They outlive its being away: what was given up may begin afterwards.

    Args:
        clock: a steady clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._slots: dict[str, Slots] = {}

    def of(self, model: str, count: int) -> Slots:
        """Return a model's slots, so many; where there were more, the server was started anew, and none is known."""
        slots = self._slots.get(model)
        if slots is None or len(slots) > count:
            slots = self._slots[model] = Slots(self._clock)
        slots.grow(count)
        return slots

    def find_out_again(self) -> None:
        """Forget whether the server keeps prompts apart: another one may answer now."""
        for slots in self._slots.values():
            slots.keeps_apart = None


class Lease:
    """A slot in the hands of one request, until it is closed."""

    def __init__(self, slot: _Slot, owner: bytes | None, give_back: Callable[..., None], *, reuses: bool) -> None:
        self.number = slot.number
        self.reuses = reuses
        """Whether the request may go on from what the slot holds."""
        self._slot = slot
        self._owner = owner
        self._give_back: Callable[..., None] | None = give_back
        self._began = False

    def began(self) -> None:
        """Take note that the answer has begun: the slot holds this request's prompt, and nothing else."""
        self._began = True
        self._slot.owner = self._owner

    async def aclose(self) -> None:
        """Give the slot back."""
        if self._give_back is not None:
            self._give_back(self._slot, began=self._began)
            self._give_back = None


def _common(slot: _Slot, owner: bytes | None, prompt: str) -> int:
    """Return how many blocks of a prompt are in a slot, for its owner."""
    return common_length(slot.prompt, prompt) if _is_same(slot.owner, owner) else 0


def _is_same(owner: bytes | None, other: bytes | None) -> bool:
    return owner is not None and other is not None and hmac.compare_digest(owner, other)
