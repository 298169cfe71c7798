"""Settings of a gateway."""

from dataclasses import dataclass

POLL_SECONDS = 1.0
"""Seconds between two looks at an inference proxy: with its own at the engine, a dead engine leaves the list in 5 s."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one gateway."""

    inference_proxies: tuple[str, ...]
    """Base URLs."""
    host: str = "127.0.0.1"
    port: int = 0
    poll_seconds: float = POLL_SECONDS
