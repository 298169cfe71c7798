"""The engine for speech that comes with Privity (`privity.engines.embedded.whisper`): one Whisper model."""

from typing import Annotated

import msgspec

from privity.catalogue.model import Facts
from privity.engines.connection import EngineConnection
from privity.engines.embedded.whisper.task import ENDPOINTS, read_task, too_long, unreadable
from privity.engines.engine import Answer, Body, EngineModel, Json, evidence_for
from privity.engines.metadata import Name, number, text
from privity.engines.openai_compatible import OpenAICompatibleEngine
from privity.errors import InvalidRequestError, NotSupportedError, PayloadTooLargeError


class _Row(msgspec.Struct):
    id: Name
    languages: tuple[str, ...]
    size: int
    quantization: str


class _List(msgspec.Struct):
    data: Annotated[list[_Row], msgspec.Meta(min_length=1, max_length=1)]


class WhisperEngine:
    """One worker. What it would refuse is refused here, in words that a client may read."""

    def __init__(self, connection: EngineConnection) -> None:
        self._connection = connection
        self._openai = OpenAICompatibleEngine(connection)
        self._languages: tuple[str, ...] = ()

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return the model; raises as `Engine.describe`."""
        (row,) = (await self._connection.ask_for(_List, "GET", "/v1/models")).data
        self._languages = row.languages
        facts = Facts(architecture="whisper", quantization=text(row.quantization), size=number(row.size))
        return (EngineModel(row.id, ("transcribe",), facts=facts, evidence=evidence_for(("transcribe",), "engine")),)

    def has(self, endpoint: str) -> bool:
        """Return whether it is for speech."""
        return endpoint in ENDPOINTS

    async def count_tokens(self, _chat: Json, /) -> int:
        """Raise `NotSupportedError`: the model takes no chats."""
        raise NotSupportedError("This model's engine doesn't count tokens.")

    async def answer(self, endpoint: str, body: Body) -> Answer:
        """Carry out one request; raises as `Engine.answer`."""
        if not self.has(endpoint) or isinstance(body, dict):
            raise NotSupportedError(f"This model's engine doesn't support {endpoint}.")
        read_task(endpoint, body, self._languages)
        try:
            return await self._openai.answer(endpoint, body)
        except InvalidRequestError as error:  # only the recording itself wasn't looked at yet
            raise unreadable() from error
        except PayloadTooLargeError as error:
            raise too_long() from error
