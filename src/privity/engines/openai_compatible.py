"""Any engine with OpenAI's API: vLLM, SGLang, TEI, and what else speaks it."""

from typing import Any

import msgspec

from privity.catalogue.model import in_order
from privity.engines.connection import EngineConnection
from privity.engines.engine import Answer, Body, EngineModel
from privity.errors import UpstreamProtocolError

_TASK_OF_ROUTE = {
    "/v1/chat/completions": "generate",
    "/v1/embeddings": "embed",
    "/v1/audio/transcriptions": "transcribe",
}


class _Row(msgspec.Struct):
    id: str
    owned_by: str | None = None
    max_model_len: int | None = None


class _List(msgspec.Struct):
    data: list[_Row]


class _OpenApi(msgspec.Struct):
    paths: dict[str, Any]


class OpenAICompatibleEngine:
    """An engine whose tasks are what the operator declares, else what its own OpenAPI document has routes for.

    vLLM registers only the routes that its model is for. Not known this way: whether a model takes tools or images. The
    operator declares that.
    """

    def __init__(self, connection: EngineConnection, declared: tuple[str, ...] = ()) -> None:
        self._connection = connection
        self._declared = declared
        self._rows: list[_Row] = []
        self._models: tuple[EngineModel, ...] = ()

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return every model that the engine lists; raises as `Engine.describe`."""
        rows = (await self._connection.ask_for(_List, "GET", "/v1/models")).data
        if rows != self._rows:
            tasks = self._declared or await self._routed_tasks()
            self._models = tuple(
                EngineModel(row.id, tasks, row.max_model_len or None, None, row.owned_by) for row in rows
            )
            self._rows = rows
        return self._models

    async def _routed_tasks(self) -> tuple[str, ...]:
        try:
            document = await self._connection.ask_for(_OpenApi, "GET", "/openapi.json")
        except UpstreamProtocolError:
            return ()
        return in_order(task for route, task in _TASK_OF_ROUTE.items() if route in document.paths)

    async def answer(self, endpoint: str, body: Body) -> Answer:
        """Pass the request on as it is; raises as `Engine.answer`."""
        if _wants_stream(body):
            return await self._connection.events(endpoint, body)
        return await self._connection.call(endpoint, body)


def _wants_stream(body: Body) -> bool:
    if isinstance(body, dict):
        return bool(body.get("stream"))
    return any(part.name == "stream" and part.value == b"true" for part in body)
