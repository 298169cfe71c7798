"""Settings of a proxy."""

from dataclasses import dataclass

LIST_SECONDS = 0.4
"""Seconds that a model list is answered from memory: clients ask for it often, and it must be true within 5 s."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one proxy."""

    gateway: str
    """Its base URL."""
    host: str = "127.0.0.1"
    port: int = 8080
    allowed_hosts: tuple[str, ...] = ()
    """Names besides the loopback ones that a request's `Host` may have."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of web pages that may use this proxy."""
    list_seconds: float = LIST_SECONDS
