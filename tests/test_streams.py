from collections.abc import AsyncGenerator

import pytest

from privity.streams import Stream, owning


class Source:
    def __init__(self) -> None:
        self.closed = 0

    async def aclose(self) -> None:
        self.closed += 1


@owning
async def numbers(_source: Source, count: int) -> AsyncGenerator[int]:
    for number in range(count):
        yield number
    if count == 3:
        raise ValueError("three")


async def test_a_stream_that_nobody_began_to_read_lets_go_of_its_source() -> None:
    source = Source()
    await numbers(source, 2).aclose()
    assert source.closed


async def test_a_stream_that_ends_lets_go_of_its_source() -> None:
    source = Source()
    assert [number async for number in numbers(source, 2)] == [0, 1]
    assert source.closed


async def test_a_stream_that_is_left_early_lets_go_of_its_source() -> None:
    source = Source()
    stream = numbers(source, 2)
    assert await anext(stream) == 0
    assert not source.closed
    await stream.aclose()
    assert source.closed


async def test_a_stream_that_breaks_lets_go_of_its_source() -> None:
    source = Source()
    with pytest.raises(ValueError, match="three"):
        assert [number async for number in numbers(source, 3)]
    assert source.closed


async def test_a_stream_of_a_stream_closes_all() -> None:
    inner, outer = Source(), Source()
    await Stream(numbers(inner, 2), outer).aclose()
    assert inner.closed
    assert outer.closed
