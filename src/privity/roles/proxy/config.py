"""Settings of a proxy."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography.x509 import Certificate

from privity.transport.http_client import OutgoingProxy
from privity.transport.tls_files import TlsFiles

UnsignedModels = Literal["allow", "mark", "drop"]
"""What becomes of rows that nobody signed: listed like others, listed with `"verified": false`, or left out."""

LIST_SECONDS = 0.4
"""Seconds that a model list is answered from memory: clients ask for it often, and it must be true within 5 s."""

REVOKED_GRACE_SECONDS = 48 * 3600
"""Seconds for which a GPU whose certificate was revoked is still accepted, as the deployed proxy has it."""

ANSWER_TIMEOUT = 660.0
"""Seconds until an answer must begin: an engine has 600 by default, and what is nearer to it speaks first."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one proxy."""

    gateway: str
    """Its base URL."""
    mesh_ca: Certificate
    """Whom the deployment's certificates must come from."""
    host: str = "127.0.0.1"
    port: int = 8080
    tls: TlsFiles | None = None
    """The certificate that apps see; None serves plain HTTP."""
    unix_socket: Path | None = None
    """Where to listen instead, without TLS: `host` and `port` count for nothing then."""
    outgoing: OutgoingProxy | None = None
    """The proxy between this one and the gateway."""
    allowed_hosts: tuple[str, ...] = ()
    """Names besides the loopback ones that a request's `Host` may have."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of web pages that may use this proxy."""
    api_key: str | Path | None = field(default=None, repr=False)
    """The gateway's key, or the file that holds it, read again when it changes; None takes it from the apps."""
    shared_salt: str | None = field(default=None, repr=False)
    """One cache salt for all requests that bring none; None gives each one of its own."""
    ocsp_allow_unknown: bool = True
    """Whether a GPU is accepted whose certificate's status nobody knows."""
    ocsp_revoked_grace_seconds: int = REVOKED_GRACE_SECONDS
    unsigned_models: UnsignedModels | None = None
    """What becomes of models that nobody signed; None marks them, and drops them where the deployment signs."""
    dump_to: Path | None = None
    """Where requests and answers are written in clear; None writes none."""
    list_seconds: float = LIST_SECONDS
    answer_timeout: float = ANSWER_TIMEOUT
