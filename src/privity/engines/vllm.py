"""vLLM: `GET /v1/models`, and the routes of its OpenAPI document.

It makes only the routes that its model is for; versions until 2025 made them all, which says nothing. Said nowhere:
whether the model takes tools or images (`/server_info` is there in its development mode only). What a LoRA can do is
what its parent can do: one server has one base model.
"""

from typing import Annotated

import msgspec

from privity.catalogue.model import TASKS
from privity.engines.connection import EngineConnection
from privity.engines.engine import Answer, Body, EngineModel, Json, cannot_count, cannot_count_images
from privity.engines.metadata import Listed, Row
from privity.engines.openai_compatible import OpenAICompatibleEngine, model_of, untold_by
from privity.errors import EngineFailedError

OWNER = "vllm"
"""What it writes as the owner of each model, and no other engine does."""

_TOKENIZE = "/tokenize"
_MEMBERS = ("model", "messages", "tools", "chat_template_kwargs", "add_generation_prompt", "continue_final_message")
"""Members of a chat that make its prompt, which `POST /tokenize` takes, too."""

_MESSAGES, _COUNT = "/v1/messages", "/v1/messages/count_tokens"


class _Tokenized(msgspec.Struct):
    count: Annotated[int, msgspec.Meta(ge=0)]


class VllmEngine:
    """One vLLM server; requests pass as they are."""

    def __init__(self, connection: EngineConnection) -> None:
        self._openai = OpenAICompatibleEngine(connection)
        self._listed = Listed(connection, self._describe)

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return the model under each of its names, and its LoRAs; raises as `Engine.describe`."""
        return await self._listed.models()

    async def _describe(self, rows: list[Row]) -> tuple[EngineModel, ...]:
        tasks, untold = _meaning(await self._openai.routes.ask())
        return tuple(model_of(row, tasks, untold) for row in _with_lengths(rows))

    def has(self, endpoint: str) -> bool:
        """Return whether there is such a route. Who answers messages also counts their tokens: translations differ."""
        return self._openai.has(endpoint) and (endpoint != _COUNT or self._openai.has(_MESSAGES))

    async def count_tokens(self, chat: Json, /) -> int:
        """Return the tokens of a chat's prompt; raises as `NativeEngine.count_tokens`."""
        if not self._openai.has(_TOKENIZE):
            raise cannot_count()
        if any(isinstance(message.get("content"), list) for message in chat["messages"]):
            raise cannot_count_images()
        asked = {name: chat[name] for name in _MEMBERS if name in chat}
        answer = await self._openai.answer(_TOKENIZE, asked)
        try:
            return msgspec.convert(answer, _Tokenized).count
        except msgspec.ValidationError as error:
            raise EngineFailedError("The engine's answer isn't valid.") from error

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
