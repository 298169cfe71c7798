import asyncio

import pytest

from privity.engines.llama_cpp.slots import MAX_SLOTS, SETTLE_SECONDS, Lease, Slots
from privity.errors import EngineTimeoutError

ANN, BOB = b"a" * 32, b"b" * 32


class Table:
    """Slots, and a clock that stands still."""

    def __init__(self, count: int = 2, *, keeps_apart: bool | None = True) -> None:
        self.seconds = 0.0
        self.slots = Slots(lambda: self.seconds)
        self.slots.keeps_apart = keeps_apart
        self.slots.grow(count)

    async def lease(self, owner: bytes | None, prompt: str = "") -> Lease:
        return await self.slots.lease(owner, prompt, 0.0)

    async def use(self, owner: bytes | None, prompt: str = "", *, began: bool = True) -> tuple[int, bool]:
        """Carry out a request; return its slot, and whether it might reuse what was there."""
        lease = await self.lease(owner, prompt)
        if began:
            lease.began()
        await lease.aclose()
        return lease.number, lease.reuses


async def test_a_prompt_that_goes_on_finds_its_slot_again() -> None:
    table = Table(3)
    assert [await table.use(ANN, prompt) for prompt in ("AB", "XY", "PQ")] == [(0, False), (1, False), (2, False)]
    assert await table.use(ANN, "XYZ") == (1, True)
    assert await table.use(ANN, "ABC") == (0, True)
    assert await table.use(ANN, "ABD") == (0, True)


async def test_a_new_prompt_takes_the_slot_that_was_used_longest_ago() -> None:
    table = Table()
    for prompt in ("AB", "XY", "ABC"):
        await table.use(ANN, prompt)
    assert await table.use(ANN, "PQ") == (1, True)
    assert await table.use(BOB, "PQ") == (0, False)


@pytest.mark.parametrize("other", [BOB, None, b""])
async def test_nothing_is_reused_under_another_salt_or_without_one(other: bytes | None) -> None:
    table = Table(1)
    for owner in (ANN, other, other if other is None else ANN, None):
        assert await table.use(owner, "AB") == (0, False)
    assert await table.use(None, "AB") == (0, False)


@pytest.mark.parametrize("keeps_apart", [None, False])
async def test_nothing_is_reused_where_the_server_may_mix_up_slots(keeps_apart: bool | None) -> None:  # noqa: FBT001
    table = Table(1, keeps_apart=keeps_apart)
    assert [await table.use(ANN) for _ in range(2)] == [(0, False)] * 2


async def test_what_a_request_left_that_did_not_begin_is_not_reused_and_nor_is_what_comes_soon_after() -> None:
    table = Table(1)
    await table.use(ANN)
    assert await table.use(ANN, began=False) == (0, True)
    assert await table.use(ANN) == (0, False)  # the one before may begin after it
    assert await table.use(ANN) == (0, False)
    table.seconds = SETTLE_SECONDS
    assert [await table.use(ANN) for _ in range(2)] == [(0, False), (0, True)]


async def test_an_answer_that_was_left_after_it_began_is_its_salts() -> None:
    table = Table(1)
    lease = await table.lease(ANN)
    lease.began()
    await lease.aclose()
    await lease.aclose()  # a second time does nothing
    assert await table.use(BOB) == (0, False)
    assert await table.use(BOB) == (0, True)
    assert await table.use(ANN) == (0, False)


async def test_a_slot_that_is_taken_is_not_given_to_others() -> None:
    table = Table()
    leases = [await table.lease(ANN, "AB") for _ in range(2)]
    assert [lease.number for lease in leases] == [0, 1]
    with pytest.raises(EngineTimeoutError):
        await table.lease(ANN, "AB")
    await leases[1].aclose()
    assert (await table.lease(BOB)).number == 1


async def test_who_waits_is_served_in_turn_and_who_leaves_loses_nothing() -> None:
    table = Table(1)
    held = await table.lease(ANN)
    waiting = [asyncio.get_running_loop().create_task(table.slots.lease(ANN, "", 60.0)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await held.aclose()
    second = await waiting[1]
    assert not waiting[2].done()
    await second.aclose()
    await (await waiting[2]).aclose()
    assert (await table.lease(ANN)).number == 0


async def test_more_slots_are_used_once_they_are_known_and_never_more_than_there_can_be() -> None:
    table = Table(1)
    held = await table.lease(ANN)
    table.slots.grow(2)
    table.slots.grow(1)
    assert (await table.lease(ANN)).number == 1
    await held.aclose()
    assert len(table.slots) == 2
    table.slots.grow(10**9)
    assert len(table.slots) == MAX_SLOTS
