"""Settings of a gateway."""

from dataclasses import dataclass

POLL_SECONDS = 0.4
"""Seconds between two looks at an inference proxy: an engine that restarts in a second leaves the list meanwhile."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one gateway."""

    inference_proxies: tuple[str, ...]
    """Base URLs."""
    host: str = "127.0.0.1"
    port: int = 0
    poll_seconds: float = POLL_SECONDS
