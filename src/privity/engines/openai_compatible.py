"""Any engine with OpenAI's API: vLLM, SGLang, TEI, and what else speaks it."""

from typing import Any

from privity.catalogue.model import in_order
from privity.engines.connection import EngineConnection
from privity.engines.engine import Answer, EngineModel, Json
from privity.errors import UpstreamProtocolError

_TASK_OF_ROUTE = {"/v1/chat/completions": "generate", "/v1/embeddings": "embed"}


class OpenAICompatibleEngine:
    """An engine whose tasks are what the operator declares, else what its own OpenAPI document has routes for.

    Not known this way: whether a model takes tools or images. The operator declares that.
    """

    def __init__(self, connection: EngineConnection, declared: tuple[str, ...] = ()) -> None:
        self._connection = connection
        self._declared = declared

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return every model that the engine lists; raises as `Engine.describe`."""
        answer = await self._connection.ask_object("GET", "/v1/models")
        rows = answer.get("data")
        if not isinstance(rows, list):
            raise UpstreamProtocolError("the engine's model list has no `data`")
        tasks = self._declared or await self._routed_tasks()
        return tuple(_model(row, tasks) for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str))

    async def _routed_tasks(self) -> tuple[str, ...]:
        status, document = await self._connection.ask("GET", "/openapi.json")
        paths = document.get("paths") if status == 200 and isinstance(document, dict) else None
        return in_order(task for route, task in _TASK_OF_ROUTE.items() if isinstance(paths, dict) and route in paths)

    async def answer(self, endpoint: str, body: Json) -> Answer:
        """Pass the request on as it is; raises as `Engine.answer`."""
        if body.get("stream"):
            return await self._connection.events(endpoint, body)
        return await self._connection.call(endpoint, body)


def _model(row: Json, tasks: tuple[str, ...]) -> EngineModel:
    owner = row.get("owned_by")
    return EngineModel(
        name=row["id"],
        tasks=tasks,
        context_length=_positive(row.get("max_model_len")),
        owned_by=owner if isinstance(owner, str) else None,
    )


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
