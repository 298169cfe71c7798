"""Any engine with OpenAI's API that there is no module of its own for."""

from contextlib import suppress

from privity.catalogue.model import TASKS
from privity.engines.connection import EngineConnection, StatusError
from privity.engines.engine import OPENAI_ENDPOINTS, Answer, Body, EngineModel, Json, cannot_count, evidence_for
from privity.engines.metadata import Listed, Routes, Row, number
from privity.errors import EngineFailedError, NotSupportedError, UpstreamError, WrongTaskError
from privity.protocol.multipart import as_boolean

ON_CHAT = ("tool_calling", "vision")
"""What a route for chats says nothing about."""

_OPTIONAL = "/v1/audio/translations"
"""What not every engine has that has the rest of a task."""

_NO_SUCH_ROUTE = (404, 405)
"""Statuses of a path that an engine doesn't have, or not for requests."""


class OpenAICompatibleEngine:
    """An engine whose tasks are what the operator declares, else what its own OpenAPI document has routes for.

    Not known this way: whether a model takes tools or images, and which one of several models a route is for. The
    operator declares that, or allows probing.
    """

    def __init__(self, connection: EngineConnection, declared: tuple[str, ...] = ()) -> None:
        self._connection = connection
        self._declared = declared
        self._listed = Listed(connection, self._describe)
        self.routes = Routes(connection)

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return every model that the engine lists; raises as `Engine.describe`."""
        return await self._listed.models()

    async def _describe(self, rows: list[Row]) -> tuple[EngineModel, ...]:
        if self._declared:
            with suppress(UpstreamError):  # its routes only say what need not be translated for it
                await self.routes.ask()
            return tuple(model_of(row, self._declared, declared=True) for row in rows)
        routed = await self.routes.ask()
        return tuple(model_of(row, routed or (), untold_by(routed)) for row in rows)

    def has(self, endpoint: str) -> bool:
        """Return whether all such engines have it, or this one has a route for it."""
        return self.routes.has(endpoint)

    async def count_tokens(self, _chat: Json, /) -> int:
        """Raise `NotSupportedError`: OpenAI's API has nothing that does it."""
        raise cannot_count()

    async def answer(self, endpoint: str, body: Body) -> Answer:
        """Pass the request on as it is; raises as `Engine.answer`."""
        try:
            if _wants_stream(body):
                return await self._connection.events(endpoint, body)
            return await self._connection.call(endpoint, body)
        except EngineFailedError as error:
            if endpoint not in OPENAI_ENDPOINTS and _is_no_route(error):
                kind = WrongTaskError if endpoint == _OPTIONAL else NotSupportedError
                raise kind(f"This model's engine doesn't support {endpoint}.") from error.__cause__
            raise


def _is_no_route(error: EngineFailedError) -> bool:
    return isinstance(error.__cause__, StatusError) and error.__cause__.status in _NO_SUCH_ROUTE


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
    return any(part.name == "stream" and as_boolean(part.value) for part in body)
