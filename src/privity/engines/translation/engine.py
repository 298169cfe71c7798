"""An engine that answers APIs which it doesn't have itself: their requests become chats, and the chats' answers theirs.

It runs in the inference proxy, so what is translated is never seen outside the TEE.
"""

from contextlib import suppress

from privity.engines.engine import Answer, Body, EngineModel, NativeEngine, values_of
from privity.engines.translation.table import TRANSLATIONS
from privity.errors import NotSupportedError


class TranslatingEngine:
    """An engine with the APIs of `TRANSLATIONS` besides its own.

    Where it has one of them, that one is asked, and translated only if it turns out not to be there.
    """

    def __init__(self, engine: NativeEngine) -> None:
        self._engine = engine

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return what the engine serves; raises as `Engine.describe`."""
        return await self._engine.describe()

    async def answer(self, endpoint: str, body: Body) -> Answer:
        """Carry out one request; raises as `Engine.answer`."""
        if endpoint not in TRANSLATIONS or not isinstance(body, dict):
            return await self._engine.answer(endpoint, body)
        if self._engine.has(endpoint):
            with suppress(NotSupportedError):
                return await self._engine.answer(endpoint, body)
        return await TRANSLATIONS[endpoint](self._engine, values_of(body))
