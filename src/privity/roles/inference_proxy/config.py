"""Settings of an inference proxy."""

from dataclasses import dataclass

from privity.engines.embedded.fetch import ModelFiles

ENGINE_TIMEOUT = 600.0
"""Seconds until an engine must begin its answer: long prompts on slow machines take minutes."""

REFRESH_SECONDS = 1.0
"""Seconds between two looks at the engine: with the gateway's own, a dead engine leaves the list within 5 s."""


@dataclass(frozen=True, slots=True)
class RemoteEngine:
    """An engine that somebody else runs."""

    url: str
    """Its base URL, without `/v1`."""
    declared_tasks: tuple[str, ...] = ()
    """What the operator says that it can do; empty asks the engine."""
    api_key: str | None = None

    def __repr__(self) -> str:
        return f"RemoteEngine(url={self.url!r}, declared_tasks={self.declared_tasks!r})"


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one inference proxy; it runs the engine itself where `engine` is a model's files."""

    engine: RemoteEngine | ModelFiles
    host: str = "127.0.0.1"
    port: int = 0
    engine_timeout: float = ENGINE_TIMEOUT
    refresh_seconds: float = REFRESH_SECONDS
