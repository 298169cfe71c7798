"""An engine in memory that answers chats as it is told."""

from collections.abc import AsyncGenerator, Sequence

from privity.engines.engine import Answer, Body, EngineModel, Json
from privity.errors import ApiError, NotSupportedError
from privity.streams import Stream

CHAT = "/v1/chat/completions"


class ChatEngine:
    """It gives one answer to all chats: a whole one, or events; an error is raised in its place, also among events.

    Args:
        answer: what it answers.
        native: what it answers elsewhere; None says that it isn't supported.
        claims_all: whether it says that it has every endpoint.

    Attributes:
        asked: the endpoints and bodies that came.
    """

    def __init__(
        self,
        answer: Json | ApiError | Sequence[Json | ApiError],
        native: Json | None = None,
        *,
        claims_all: bool = False,
    ) -> None:
        self._answer = answer
        self._native = native
        self._claims_all = claims_all
        self.asked: list[tuple[str, Body]] = []

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return nothing."""
        return ()

    def has(self, endpoint: str) -> bool:
        """Return whether it is the one for chats, or it claims to have all."""
        return self._claims_all or endpoint == CHAT

    async def count_tokens(self, chat: Json, /) -> int:
        """Return the number of messages."""
        return len(chat["messages"])

    async def answer(self, endpoint: str, body: Body) -> Answer:
        """Answer; raises `NotSupportedError` where it isn't told how."""
        self.asked.append((endpoint, body))
        if endpoint != CHAT:
            if self._native is None:
                raise NotSupportedError("no")
            return self._native
        if isinstance(self._answer, ApiError):
            raise self._answer
        return self._answer if isinstance(self._answer, dict) else Stream(_events(self._answer))


async def _events(events: Sequence[Json | ApiError]) -> AsyncGenerator[Json]:
    for event in events:
        if isinstance(event, ApiError):
            raise event
        yield event
