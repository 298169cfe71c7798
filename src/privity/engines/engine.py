"""What an engine looks like to an inference proxy."""

from dataclasses import dataclass
from typing import Any, Protocol

from privity.streams import Stream

Json = dict[str, Any]
Answer = Json | Stream[Json]
"""The whole answer, or its events, of which the last is not `[DONE]`: that one is implied by the end."""


@dataclass(frozen=True, slots=True)
class EngineModel:
    """A model as its engine reports it."""

    name: str
    """What the engine calls it."""
    tasks: tuple[str, ...]
    """In the order of the catalogue."""
    context_length: int | None = None
    """Tokens of prompt and answer together."""
    created: int | None = None
    """Unix seconds of its release, where the engine knows them."""
    owned_by: str | None = None


class Engine(Protocol):
    """An engine that runs."""

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return what it serves now. Cheap enough to be asked every second.

        Raises:
            UpstreamError: it does not answer, or not so that it can be understood.
        """

    async def answer(self, endpoint: str, body: Json) -> Answer:
        """Carry out one request.

        Args:
            endpoint: a path of OpenAI's API, `/v1/chat/completions`, `/v1/completions` or `/v1/embeddings`.
            body: a valid request whose `model` is the engine's own name for it.

        Raises:
            ApiError: it can't be carried out. Also out of the events, for what goes wrong later.
        """
