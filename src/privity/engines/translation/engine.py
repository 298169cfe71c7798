"""An engine that answers APIs which it doesn't have itself: their requests become chats, and the chats' answers theirs.

It runs in the inference proxy, so what is translated is never seen outside the TEE.
"""

from privity.engines.engine import Answer, Body, EngineModel, NativeEngine, values_of
from privity.engines.translation.table import TRANSLATIONS


class TranslatingEngine:
    """An engine with the APIs of `TRANSLATIONS` besides its own; where it has one of them, that one is asked."""

    def __init__(self, engine: NativeEngine) -> None:
        self._engine = engine

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return what the engine serves; raises as `Engine.describe`."""
        return await self._engine.describe()

    async def answer(self, endpoint: str, body: Body) -> Answer:
        """Carry out one request; raises as `Engine.answer`."""
        if endpoint not in TRANSLATIONS or not isinstance(body, dict) or self._engine.has(endpoint):
            return await self._engine.answer(endpoint, body)
        return await TRANSLATIONS[endpoint](self._engine, values_of(body))
