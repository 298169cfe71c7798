"""The APIs that are translated."""

from collections.abc import Awaitable, Callable, Mapping

from privity.engines.engine import Answer, Json, NativeEngine

Translation = Callable[[NativeEngine, Json], Awaitable[Answer]]
"""Carries out a request of another API by chats on an engine.

The request's `model` is the engine's own name, and what the answer names as its model; raises as `Engine.answer`.
"""

TRANSLATIONS: Mapping[str, Translation] = {}
"""Paths, and what answers there."""
