"""Ollama: it says what each model can do (`POST /api/show`, field `capabilities`)."""

from typing import Any

from privity.catalogue.model import in_order
from privity.engines.connection import EngineConnection
from privity.engines.engine import Answer, EngineModel, Json
from privity.engines.openai_compatible import OpenAICompatibleEngine

_TASK_OF_CAPABILITY = {"completion": "generate", "tools": "tool_calling", "vision": "vision", "embedding": "embed"}


class OllamaEngine:
    """An Ollama server; requests go to its OpenAI-compatible endpoints."""

    def __init__(self, connection: EngineConnection) -> None:
        self._connection = connection
        self._openai = OpenAICompatibleEngine(connection)
        self._shown: dict[tuple[str, str], Json] = {}

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return every model that is pulled; raises as `Engine.describe`."""
        rows = (await self._connection.ask_object("GET", "/api/tags")).get("models")
        listed = [
            (str(row["name"]), str(row.get("digest"))) for row in rows or () if isinstance(row, dict) and "name" in row
        ]
        shown: dict[tuple[str, str], Json] = {}
        for name, digest in listed:
            shown[name, digest] = self._shown.get((name, digest)) or await self._show(name)
        self._shown = shown
        return tuple(_model(name, details) for (name, _), details in shown.items())

    async def _show(self, name: str) -> Json:
        return await self._connection.ask_object("POST", "/api/show", {"model": name})

    async def answer(self, endpoint: str, body: Json) -> Answer:
        """Pass the request on as it is; raises as `Engine.answer`."""
        return await self._openai.answer(endpoint, body)


def _model(name: str, details: Json) -> EngineModel:
    capabilities = details.get("capabilities") or ()
    info: dict[str, Any] = details.get("model_info") or {}
    lengths = [value for key, value in info.items() if key.endswith(".context_length") and isinstance(value, int)]
    return EngineModel(
        name=name,
        tasks=in_order(_TASK_OF_CAPABILITY[each] for each in capabilities if each in _TASK_OF_CAPABILITY),
        context_length=lengths[0] if lengths else None,
    )
