"""SGLang: `GET /model_info` says what its model is, `GET /server_info` how it was started."""

import msgspec

from privity.catalogue.model import Facts, in_order
from privity.engines.connection import EngineConnection
from privity.engines.engine import Answer, Body, EngineModel, Json, evidence_for
from privity.engines.metadata import Listed, Row, find_page, number, text
from privity.engines.openai_compatible import OpenAICompatibleEngine
from privity.errors import UpstreamProtocolError

MODEL_INFO = ("/model_info", "/get_model_info")
"""The page's path, and its older one."""

SERVER_INFO = ("/server_info", "/get_server_info")

_NO_VECTORS = ("Classification", "RewardModel")
"""How the names of architectures end that are run like ones for embeddings, and give labels or scores."""

_SPEECH_ONLY = "Whisper"
"""How the names of architectures begin that only transcribe."""


class _ModelInfo(msgspec.Struct):
    is_generation: bool
    has_image_understanding: bool | None = None
    has_audio_understanding: bool | None = None
    model_type: str | None = None
    architectures: list[str] | None = None


class _ServerInfo(msgspec.Struct):
    tool_call_parser: str | None = None
    quantization: str | None = None


class SglangEngine:
    """One SGLang server; requests pass as they are.

    It knows `cache_salt`; versions from before May 2026 take it and reuse prompts under another one nevertheless.
    """

    def __init__(self, connection: EngineConnection) -> None:
        self._connection = connection
        self._openai = OpenAICompatibleEngine(connection)
        self._listed = Listed(connection, self._describe)

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return the model, and its LoRAs; raises as `Engine.describe`."""
        return await self._listed.models()

    async def _describe(self, rows: list[Row]) -> tuple[EngineModel, ...]:
        info = await find_page(self._connection, _ModelInfo, *MODEL_INFO)
        if info is None:
            raise UpstreamProtocolError("the engine doesn't say what its model is")
        server = await find_page(self._connection, _ServerInfo, *SERVER_INFO)  # much about the machine: some hide it
        await self._openai.routes.ask()
        return tuple(_model(row, info, server) for row in rows)

    def has(self, endpoint: str) -> bool:
        """Return whether there is such a route."""
        return self._openai.has(endpoint)

    async def count_tokens(self, chat: Json, /) -> int:
        """Return the tokens of a chat's prompt; raises as `NativeEngine.count_tokens`."""
        return await self._openai.count_tokens(chat)

    async def answer(self, endpoint: str, body: Body) -> Answer:
        """Pass the request on; raises as `Engine.answer`."""
        return await self._openai.answer(endpoint, body)


def _model(row: Row, info: _ModelInfo, server: _ServerInfo | None) -> EngineModel:
    tasks, untold = _tasks(info, server)
    return EngineModel(
        name=row.id,
        tasks=tasks,
        context_length=number(row.max_model_len),
        owned_by=row.owned_by,
        facts=Facts(
            architecture=text(info.model_type), quantization=text(server.quantization) if server is not None else None
        ),
        evidence=evidence_for(tasks, "engine"),
        untold=untold,
    )


def _tasks(info: _ModelInfo, server: _ServerInfo | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what the model can do, and what is not told of it."""
    architectures = info.architectures or []
    if any(each.startswith(_SPEECH_ONLY) for each in architectures):
        return (), ("transcribe",)
    if not info.is_generation:
        return (() if any(each.endswith(_NO_VECTORS) for each in architectures) else ("embed",)), ()
    told = {
        "generate": True,
        "tool_calling": None if server is None else server.tool_call_parser is not None,
        "vision": info.has_image_understanding,
        "transcribe": None if info.has_audio_understanding else False,
    }
    tasks = in_order(task for task, holds in told.items() if holds)
    return tasks, in_order(task for task, holds in told.items() if holds is None)
