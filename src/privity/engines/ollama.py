"""Ollama: it says what each model can do (`POST /api/show`, field `capabilities`)."""

from typing import Any

import msgspec

from privity.catalogue.model import in_order
from privity.engines.connection import EngineConnection
from privity.engines.engine import OPENAI_ENDPOINTS, Answer, Body, EngineModel, require_json
from privity.engines.openai_compatible import OpenAICompatibleEngine

_TASK_OF_CAPABILITY = {"completion": "generate", "tools": "tool_calling", "vision": "vision", "embedding": "embed"}


class _Tag(msgspec.Struct, frozen=True):
    name: str
    digest: str | None = None


class _Tags(msgspec.Struct):
    models: list[_Tag]


class _Details(msgspec.Struct):
    capabilities: list[str] = []
    model_info: dict[str, Any] = {}


class OllamaEngine:
    """An Ollama server; requests go to its OpenAI-compatible endpoints."""

    def __init__(self, connection: EngineConnection) -> None:
        self._connection = connection
        self._openai = OpenAICompatibleEngine(connection)
        self._shown: dict[_Tag, _Details] = {}

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return every model that is pulled; raises as `Engine.describe`."""
        tags = (await self._connection.ask_for(_Tags, "GET", "/api/tags")).models
        self._shown = {tag: self._shown.get(tag) or await self._show(tag.name) for tag in tags}
        return tuple(_model(tag.name, details) for tag, details in self._shown.items())

    async def _show(self, name: str) -> _Details:
        return await self._connection.ask_for(_Details, "POST", "/api/show", {"model": name})

    async def answer(self, endpoint: str, body: Body) -> Answer:
        """Pass the request on as it is; raises as `Engine.answer`."""
        return await self._openai.answer(endpoint, require_json(endpoint, body, OPENAI_ENDPOINTS))


def _model(name: str, details: _Details) -> EngineModel:
    lengths = [value for key, value in details.model_info.items() if key.endswith(".context_length")]
    return EngineModel(
        name=name,
        tasks=in_order(_TASK_OF_CAPABILITY[each] for each in details.capabilities if each in _TASK_OF_CAPABILITY),
        context_length=lengths[0] if lengths and isinstance(lengths[0], int) else None,
    )
