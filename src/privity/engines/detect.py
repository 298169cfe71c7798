"""Which engine answers at a URL."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal, get_args

from privity.engines.connection import EngineConnection
from privity.engines.engine import OPENAI_ENDPOINTS, Answer, Body, EngineModel, Json, NativeEngine, evidence_for
from privity.engines.llama_cpp.adapter import LlamaCppEngine
from privity.engines.llama_cpp.slots import SlotTables
from privity.engines.ollama import OllamaEngine
from privity.engines.openai_compatible import OpenAICompatibleEngine
from privity.engines.sglang import MODEL_INFO, SglangEngine
from privity.engines.tei import TeiEngine
from privity.engines.vllm import OWNER, VllmEngine
from privity.engines.whisper import WhisperEngine
from privity.errors import UnavailableError, UpstreamError, UpstreamTimeoutError

Kind = Literal["llama.cpp", "vllm", "sglang", "ollama", "tei", "openai", "whisper"]
"""Engines that there is an adapter for; `openai` is any other with OpenAI's API, and `whisper` our own for speech."""
KINDS: tuple[Kind, ...] = tuple(kind for kind in get_args(Kind) if kind != "whisper")
"""Those that somebody else may run."""

_SIGNS: tuple[tuple[str, tuple[bytes, ...], Kind], ...] = (
    ("/props", (b'"default_generation_settings"',), "llama.cpp"),
    *((path, (b'"is_generation"',), "sglang") for path in MODEL_INFO),  # before Ollama, whose API SGLang also has
    ("/api/version", (b'"version"',), "ollama"),
    ("/info", (b'"model_type"', b'"max_input_length"'), "tei"),
    ("/v1/models", (f'"{OWNER}"'.encode(),), "vllm"),
)
"""Pages that only one kind of engine has, with what stands on them."""

_ADAPTERS: Mapping[Kind, Callable[[EngineConnection], NativeEngine]] = {
    "vllm": VllmEngine,
    "sglang": SglangEngine,
    "ollama": OllamaEngine,
    "tei": TeiEngine,
    "whisper": WhisperEngine,
}


class DetectedEngine:
    """An engine that is found out when it first answers, and anew after it was away.

    Args:
        connection: to the engine.
        declared: the tasks that the operator declares: these and no others, whatever the engine says.
        kind: which engine it is, where the operator names it.
        now: Unix seconds.
    """

    def __init__(
        self,
        connection: EngineConnection,
        declared: tuple[str, ...] = (),
        kind: Kind | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._declared = declared
        self._kind = kind
        self._now = now
        self._plain = OpenAICompatibleEngine(connection, declared)
        self._slots = SlotTables()
        self._engine: NativeEngine | None = None

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return what the engine serves; raises as `Engine.describe`."""
        engine = self._engine or self._adapter(self._kind or await self._detect())
        try:
            models = await engine.describe()
        except UpstreamTimeoutError:
            raise  # it may be busy, and still answer requests
        except UpstreamError:
            self._engine = None  # whatever answers next may be another one
            raise
        self._engine = engine
        if not self._declared:
            return models
        evidence = evidence_for(self._declared, "declared")
        return tuple(replace(model, tasks=self._declared, evidence=evidence, untold=()) for model in models)

    async def _detect(self) -> Kind:
        for path, members, kind in _SIGNS:
            status, page = await self._connection.ask("GET", path)
            if status == 200 and all(member in page for member in members):
                return kind
        return "openai"

    def _adapter(self, kind: Kind) -> NativeEngine:
        if kind == "llama.cpp":
            return LlamaCppEngine(self._connection, self._now, self._slots)
        return self._plain if kind == "openai" else _ADAPTERS[kind](self._connection)

    def has(self, endpoint: str) -> bool:
        """Return whether the engine that was found has an endpoint."""
        return self._engine is not None and self._engine.has(endpoint)

    async def count_tokens(self, chat: Json, /) -> int:
        """Return the tokens of a chat's prompt; raises as `NativeEngine.count_tokens`."""
        return await self._found().count_tokens(chat)

    async def answer(self, endpoint: str, body: Body) -> Answer:
        """Carry out one request; raises as `Engine.answer`.

        Where the operator declares the tasks, endpoints beyond the common ones pass as they are: an adapter may know
        less than the operator does.
        """
        engine = self._found()
        if self._declared and endpoint not in OPENAI_ENDPOINTS:
            return await self._plain.answer(endpoint, body)
        return await engine.answer(endpoint, body)

    def _found(self) -> NativeEngine:
        if self._engine is None:
            raise UnavailableError("The model's engine is not running at the moment.")
        return self._engine
