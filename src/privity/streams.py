"""Streams that let go of what they read from, even where nobody began to read them.

Closing an async generator that has not begun runs none of its code, so an `async with` inside it is no promise.
"""

from collections.abc import AsyncGenerator, Callable
from functools import wraps
from typing import Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class Closable(Protocol):
    """What has to be let go."""

    async def aclose(self) -> None:
        """Let it go; a second time does nothing."""


S = TypeVar("S", bound=Closable)


class Stream(Generic[T]):
    """An async generator together with what it reads from, which is closed at its end, at an error, or early."""

    def __init__(self, steps: "AsyncGenerator[T] | Stream[T]", *sources: Closable) -> None:
        self._steps = steps
        self._sources = sources

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self._steps.__anext__()
        except BaseException:
            await self._close_sources()
            raise

    async def aclose(self) -> None:
        """End the generator, then close what it reads from."""
        try:
            await self._steps.aclose()
        finally:
            await self._close_sources()

    async def _close_sources(self) -> None:
        for source in self._sources:
            await source.aclose()


def owning(steps: Callable[Concatenate[S, P], AsyncGenerator[T]]) -> Callable[Concatenate[S, P], Stream[T]]:
    """Make an async generator function return a `Stream` that closes the function's first argument."""

    @wraps(steps)
    def begin(source: S, /, *arguments: P.args, **options: P.kwargs) -> Stream[T]:
        return Stream(steps(source, *arguments, **options), source)

    return begin
