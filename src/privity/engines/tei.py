"""Text-embeddings-inference (TEI): one model for embeddings, ranking or classes, which `GET /info` tells."""

from typing import Any

import msgspec

from privity.catalogue.model import Facts
from privity.engines.connection import EngineConnection
from privity.engines.engine import Answer, Body, EngineModel, Json, cannot_count, evidence_for, require_json
from privity.engines.metadata import Name, number, text
from privity.engines.openai_compatible import OpenAICompatibleEngine

ENDPOINTS = frozenset({"/v1/embeddings"})

_SPARSE = "splade"
"""The pooling that gives sparse vectors, which `/v1/embeddings` refuses."""


class _Embedding(msgspec.Struct):
    pooling: str = ""


class _ModelType(msgspec.Struct):
    """Has one member; `reranker` and `classifier`, the others, do what OpenAI's API has no endpoint for."""

    embedding: _Embedding | None = None
    reranker: Any = None
    classifier: Any = None


class _Info(msgspec.Struct):
    model_id: Name
    model_type: _ModelType
    max_input_length: int | None = None
    model_dtype: str | None = None
    served_model_name: Name | None = None


class TeiEngine:
    """One TEI server; requests go to its OpenAI-compatible endpoint, which takes any name for its one model."""

    def __init__(self, connection: EngineConnection) -> None:
        self._connection = connection
        self._openai = OpenAICompatibleEngine(connection)

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return the model; raises as `Engine.describe`."""
        info = await self._connection.ask_for(_Info, "GET", "/info")
        embeds = info.model_type.embedding is not None and info.model_type.embedding.pooling != _SPARSE
        tasks = ("embed",) if embeds else ()
        return (
            EngineModel(
                name=info.served_model_name or info.model_id,
                tasks=tasks,
                context_length=number(info.max_input_length),
                facts=Facts(quantization=text(info.model_dtype)),
                evidence=evidence_for(tasks, "engine"),
            ),
        )

    def has(self, endpoint: str) -> bool:
        """Return whether it is one of TEI's."""
        return endpoint in ENDPOINTS

    async def count_tokens(self, _chat: Json, /) -> int:
        """Raise `NotSupportedError`: there are no chats."""
        raise cannot_count()

    async def answer(self, endpoint: str, body: Body) -> Answer:
        """Pass the request on; raises as `Engine.answer`."""
        return await self._openai.answer(endpoint, require_json(endpoint, body, ENDPOINTS))
