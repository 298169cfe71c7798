"""Any engine with OpenAI's API that there is no module of its own for."""

from privity.catalogue.model import TASKS
from privity.engines.connection import EngineConnection
from privity.engines.engine import OPENAI_ENDPOINTS, Answer, Body, EngineModel, Json, evidence_for
from privity.engines.metadata import Listed, Row, number, routed_tasks
from privity.errors import NotSupportedError

ON_CHAT = ("tool_calling", "vision")
"""What a route for chats says nothing about."""


class OpenAICompatibleEngine:
    """An engine whose tasks are what the operator declares, else what its own OpenAPI document has routes for.

    Not known this way: whether a model takes tools or images, and which one of several models a route is for. The
    operator declares that, or allows probing.
    """

    def __init__(self, connection: EngineConnection, declared: tuple[str, ...] = ()) -> None:
        self._connection = connection
        self._declared = declared
        self._listed = Listed(connection, self._describe)

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return every model that the engine lists; raises as `Engine.describe`."""
        return await self._listed.models()

    async def _describe(self, rows: list[Row]) -> tuple[EngineModel, ...]:
        if self._declared:
            return tuple(model_of(row, self._declared, declared=True) for row in rows)
        routed = await routed_tasks(self._connection)
        return tuple(model_of(row, routed or (), untold_by(routed)) for row in rows)

    def has(self, endpoint: str) -> bool:
        """Return whether it is one of OpenAI's."""
        return endpoint in OPENAI_ENDPOINTS

    async def count_tokens(self, _chat: Json, /) -> int:
        """Raise `NotSupportedError`: OpenAI's API has nothing that does it."""
        raise NotSupportedError("This model's engine doesn't count tokens.")

    async def answer(self, endpoint: str, body: Body) -> Answer:
        """Pass the request on as it is; raises as `Engine.answer`."""
        if _wants_stream(body):
            return await self._connection.events(endpoint, body)
        return await self._connection.call(endpoint, body)


def untold_by(routed: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the tasks that an OpenAPI document with these routes says nothing about."""
    if not routed:
        return TASKS
    return ON_CHAT if "generate" in routed else ()


def model_of(row: Row, tasks: tuple[str, ...], untold: tuple[str, ...] = (), *, declared: bool = False) -> EngineModel:
    """Return a listed model of which no more is known."""
    return EngineModel(
        name=row.id,
        tasks=tasks,
        context_length=number(row.max_model_len),
        owned_by=row.owned_by,
        evidence=evidence_for(tasks, "declared" if declared else "engine"),
        untold=untold,
    )


def _wants_stream(body: Body) -> bool:
    if isinstance(body, dict):
        return bool(body.get("stream"))
    return any(part.name == "stream" and part.value == b"true" for part in body)
