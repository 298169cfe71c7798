"""Settings of a gateway."""

from dataclasses import dataclass

from cryptography.x509 import Certificate

POLL_SECONDS = 0.4
"""Seconds between two looks at an inference proxy: an engine that restarts in a second leaves the list meanwhile."""


ANSWER_TIMEOUT = 630.0
"""Seconds until an answer must begin: an engine has 600 by default, and the inference proxy speaks first."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one gateway."""

    inference_proxies: tuple[str, ...]
    """Base URLs."""
    secret_services: tuple[str, ...]
    """Base URLs of the listeners that agree on secrets; the first that can be reached is asked."""
    mesh_ca: Certificate
    """Whom the certificates of both must come from, where their URLs are `https`."""
    host: str = "127.0.0.1"
    port: int = 0
    poll_seconds: float = POLL_SECONDS
    answer_timeout: float = ANSWER_TIMEOUT
