"""Which engine answers at a URL."""

from privity.engines.connection import EngineConnection
from privity.engines.engine import Answer, Engine, EngineModel, Json
from privity.engines.llama_cpp.adapter import LlamaCppEngine
from privity.engines.ollama import OllamaEngine
from privity.engines.openai_compatible import OpenAICompatibleEngine
from privity.errors import UnavailableError


class DetectedEngine:
    """An engine that is found out when it first answers, and anew after it was away.

    Args:
        connection: to the engine.
        declared: the tasks that the operator declares for an engine that does not tell.
    """

    def __init__(self, connection: EngineConnection, declared: tuple[str, ...] = ()) -> None:
        self._connection = connection
        self._declared = declared
        self._engine: Engine | None = None

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return what the engine serves; raises as `Engine.describe`."""
        engine = self._engine or await self._detect()
        self._engine = None  # whatever answers next may be another one, unless it goes on well
        models = await engine.describe()
        self._engine = engine
        return models

    async def _detect(self) -> Engine:
        if self._declared:
            return OpenAICompatibleEngine(self._connection, self._declared)
        status, props = await self._connection.ask("GET", "/props")
        if status == 200 and isinstance(props, dict) and "default_generation_settings" in props:
            return LlamaCppEngine(self._connection)
        status, version = await self._connection.ask("GET", "/api/version")
        if status == 200 and isinstance(version, dict) and "version" in version:
            return OllamaEngine(self._connection)
        return OpenAICompatibleEngine(self._connection)

    async def answer(self, endpoint: str, body: Json) -> Answer:
        """Carry out one request; raises as `Engine.answer`."""
        if self._engine is None:
            raise UnavailableError("The model's engine is not running at the moment.")
        return await self._engine.answer(endpoint, body)
