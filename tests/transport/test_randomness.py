import os

import pytest

from privity.transport.randomness import BATCH_BYTES, BatchedRandom


@pytest.mark.parametrize("count", [0, 1, 12, BATCH_BYTES, BATCH_BYTES + 1])
def test_it_gives_that_many_bytes(count: int) -> None:
    assert len(BatchedRandom()(count)) == count


def test_no_bytes_are_given_twice() -> None:
    random = BatchedRandom()
    given = [random(12) for _ in range(3 * BATCH_BYTES // 12)]
    assert len(set(given)) == len(given)


def test_one_system_call_serves_many(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def urandom(count: int) -> bytes:
        asked.append(count)
        return bytes(count)

    monkeypatch.setattr(os, "urandom", urandom)
    random = BatchedRandom()
    for _ in range(BATCH_BYTES // 16):
        random(16)
    assert asked == [BATCH_BYTES]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_gives_other_bytes_than_its_parent() -> None:
    random = BatchedRandom()
    random(1)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, random(32))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 32)
    os.close(reading)
    os.close(writing)
    assert theirs != random(32)
