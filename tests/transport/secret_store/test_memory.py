import asyncio
from collections.abc import Callable

import pytest

from privity.protocol.secret import Secret
from privity.transport.secret_store.memory import MemoryStore


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def secret(number: int, key: int = 7) -> Secret:
    return Secret(f"id {number}", bytes([key]) * 32)


async def test_a_secret_is_there_until_its_lifetime_is_over(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    await store.put(secret(1), 10)
    assert await store.get("id 1") == (secret(1), 10)
    clock.now += 9.5
    assert await store.get("id 1") == (secret(1), 0.5)
    clock.now += 0.5
    assert await store.get("id 1") is None


async def test_what_was_never_put_is_absent(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    await store.put(secret(1), 10)
    assert await store.get("id 2") is None
    assert await store.get("") is None


@pytest.mark.parametrize("call", ["get", "put"])
async def test_ended_secrets_are_forgotten_in_whatever_order_they_end(clock: Clock, call: str) -> None:
    store = MemoryStore(clock=clock)
    for number, lifetime in enumerate([30, 10, 20]):
        await store.put(secret(number), lifetime)
    clock.now += 25
    if call == "get":
        await store.get("another")
        assert len(store) == 1
    else:
        await store.put(secret(3), 10)
        assert len(store) == 2
    assert await store.get("id 0") is not None


async def test_the_last_one_under_an_id_counts_with_its_time(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    await store.put(secret(1, key=1), 10)
    await store.put(secret(1, key=2), 20)
    clock.now += 15
    assert await store.get("id 1") == (secret(1, key=2), 5)
    clock.now += 5
    assert await store.get("id 1") is None
    assert len(store) == 0


async def test_the_one_that_would_end_first_makes_room(clock: Clock) -> None:
    store = MemoryStore(limit=3, clock=clock)
    for number, lifetime in enumerate([30, 10, 20, 40]):
        await store.put(secret(number), lifetime)
    assert [number for number in range(4) if await store.get(f"id {number}") is not None] == [0, 2, 3]


async def test_one_id_put_again_and_again_takes_no_more_room(clock: Clock) -> None:
    store = MemoryStore(limit=3, clock=clock)
    for _ in range(1000):
        await store.put(secret(1), 10)
    assert await store.get("id 1") is not None
    assert len(store._ends) == 3  # noqa: SLF001  # nothing else shows it


async def test_what_ends_is_forgotten_though_nobody_calls(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    await store.put(secret(1), 3600)
    await store.put(secret(2), 0.001)
    await store.put(secret(3), 7200)
    clock.now += 1
    await wait_until(lambda: len(store) == 2)
    await store.put(secret(4), 0.001)
    clock.now += 3600
    await wait_until(lambda: len(store) == 1)


async def wait_until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110  # what is waited for has no event
        await asyncio.sleep(0.001)


async def test_a_closed_store_has_forgotten_all(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    await store.put(secret(1), 10)
    await store.aclose()
    assert len(store) == 0
    assert await store.get("id 1") is None


async def test_its_text_form_shows_nothing(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    await store.put(secret(1), 10)
    assert "id 1" not in repr(store)
