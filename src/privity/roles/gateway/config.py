"""Settings of a gateway."""

from dataclasses import dataclass

from cryptography.x509 import Certificate

from privity.catalogue.declared import Declared
from privity.roles.gateway.keys import Key

POLL_SECONDS = 0.4
"""Seconds between two looks at an inference proxy: an engine that restarts in a second leaves the list meanwhile."""


ANSWER_TIMEOUT = 630.0
"""Seconds until an answer must begin: an engine has 600 by default, and the inference proxy speaks first."""


@dataclass(frozen=True, slots=True)
class Served:
    """What can change while a gateway runs."""

    inference_proxies: tuple[str, ...]
    """Base URLs."""
    draining: frozenset[str] = frozenset()
    """Those of them that get no new requests."""
    document_proxies: tuple[str, ...] = ()
    """Base URLs of inference proxies that stand beside document backends."""
    declared: tuple[Declared, ...] = ()
    keys: tuple[Key, ...] = ()
    """Without any, the gateway is open."""
    collapses_aliases: bool = False
    """Whether only canonical IDs have rows where a client doesn't say."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of web pages that get CORS answers."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one gateway."""

    served: Served
    secret_services: tuple[str, ...]
    """Base URLs of the listeners that agree on secrets; the first that can be reached is asked."""
    mesh_ca: Certificate
    """Whom the certificates of both must come from, where their URLs are `https`."""
    host: str = "127.0.0.1"
    port: int = 0
    poll_seconds: float = POLL_SECONDS
    answer_timeout: float = ANSWER_TIMEOUT
