"""The APIs that are translated."""

from collections.abc import Awaitable, Callable, Mapping

from privity.engines.engine import Answer, Json, NativeEngine
from privity.engines.translation.messages import answer_messages, count_tokens
from privity.engines.translation.responses import respond

Translation = Callable[[NativeEngine, Json], Awaitable[Answer]]
"""Carries out a request of another API by chats on an engine.

The request's `model` is the engine's own name, and what the answer names as its model; raises as `Engine.answer`.
"""

TRANSLATIONS: Mapping[str, Translation] = {
    "/v1/messages": answer_messages,
    "/v1/messages/count_tokens": count_tokens,
    "/v1/responses": respond,
}
"""Paths, and what answers there."""
