"""vLLM: `GET /v1/models`, and the routes of its OpenAPI document.

It makes only the routes that its model is for; versions until 2025 made them all, which says nothing. Said nowhere:
whether the model takes tools or images (`/server_info` is there in its development mode only). What a LoRA can do is
what its parent can do: one server has one base model.
"""

from privity.catalogue.model import TASKS
from privity.engines.connection import EngineConnection
from privity.engines.engine import Answer, Body, EngineModel, Json
from privity.engines.metadata import Listed, Row, routed_tasks
from privity.engines.openai_compatible import OpenAICompatibleEngine, model_of, untold_by

OWNER = "vllm"
"""What it writes as the owner of each model, and no other engine does."""


class VllmEngine:
    """One vLLM server; requests pass as they are."""

    def __init__(self, connection: EngineConnection) -> None:
        self._connection = connection
        self._openai = OpenAICompatibleEngine(connection)
        self._listed = Listed(connection, self._describe)

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return the model under each of its names, and its LoRAs; raises as `Engine.describe`."""
        return await self._listed.models()

    async def _describe(self, rows: list[Row]) -> tuple[EngineModel, ...]:
        tasks, untold = _meaning(await routed_tasks(self._connection))
        return tuple(model_of(row, tasks, untold) for row in _with_lengths(rows))

    def has(self, endpoint: str) -> bool:
        """Return whether there is such a route."""
        return self._openai.has(endpoint)

    async def count_tokens(self, chat: Json, /) -> int:
        """Return the tokens of a chat's prompt; raises as `Engine.count_tokens`."""
        return await self._openai.count_tokens(chat)

    async def answer(self, endpoint: str, body: Body) -> Answer:
        """Pass the request on; raises as `Engine.answer`."""
        return await self._openai.answer(endpoint, body)


def _meaning(routed: tuple[str, ...] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the tasks that the routes mean, and those of which they say nothing."""
    if routed is not None and {"generate", "embed"} <= set(routed):
        return (), TASKS  # no vLLM generates and embeds: an old one, which makes every route
    return routed or (), untold_by(routed)


def _with_lengths(rows: list[Row]) -> list[Row]:
    """Return the rows, each LoRA with its parent's context length where it names none."""
    lengths = {row.id: row.max_model_len for row in rows}
    return [
        Row(row.id, row.owned_by, lengths.get(row.parent), row.parent)
        if row.parent and row.max_model_len is None
        else row
        for row in rows
    ]
