"""Which engine answers at a URL."""

from privity.engines.connection import EngineConnection
from privity.engines.engine import Answer, Body, Engine, EngineModel
from privity.engines.llama_cpp.adapter import LlamaCppEngine
from privity.engines.ollama import OllamaEngine
from privity.engines.openai_compatible import OpenAICompatibleEngine
from privity.errors import UnavailableError, UpstreamError, UpstreamTimeoutError


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
        try:
            models = await engine.describe()
        except UpstreamTimeoutError:
            raise  # it may be busy, and still answer requests
        except UpstreamError:
            self._engine = None  # whatever answers next may be another one
            raise
        self._engine = engine
        return models

    async def _detect(self) -> Engine:
        if self._declared:
            return OpenAICompatibleEngine(self._connection, self._declared)
        if await self._tells("/props", b'"default_generation_settings"'):
            return LlamaCppEngine(self._connection)
        if await self._tells("/api/version", b'"version"'):
            return OllamaEngine(self._connection)
        return OpenAICompatibleEngine(self._connection)

    async def _tells(self, path: str, member: bytes) -> bool:
        """Return whether the engine has a page of its own kind."""
        status, page = await self._connection.ask("GET", path)
        return status == 200 and member in page

    async def answer(self, endpoint: str, body: Body) -> Answer:
        """Carry out one request; raises as `Engine.answer`."""
        if self._engine is None:
            raise UnavailableError("The model's engine is not running at the moment.")
        return await self._engine.answer(endpoint, body)
