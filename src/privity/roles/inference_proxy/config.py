"""Settings of an inference proxy."""

from dataclasses import dataclass

from privity.engines.embedded.fetch import ModelFiles

ENGINE_TIMEOUT = 600.0
"""Seconds until an engine must begin its answer: long prompts on slow machines take minutes."""

LOOK_AT_OWN_ENGINE = 0.2
"""Seconds between two looks at an engine of our own, which is a restart away when it dies: the list must show that."""

LOOK_AT_REMOTE_ENGINE = 1.0
"""Seconds between two looks at somebody else's engine: with the gateway's look, a dead one is gone within 5 s."""


@dataclass(frozen=True, slots=True)
class RemoteEngine:
    """An engine that somebody else runs."""

    url: str
    """Its base URL, without `/v1`."""
    declared_tasks: tuple[str, ...] = ()
    """What the operator says that it can do; empty asks the engine."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one inference proxy; it runs the engine itself where `engine` is a model's files."""

    engine: RemoteEngine | ModelFiles
    host: str = "127.0.0.1"
    port: int = 0
    engine_timeout: float = ENGINE_TIMEOUT
