"""Settings of an inference proxy."""

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from privity.catalogue.declared import Declared
from privity.engines.detect import Kind
from privity.engines.embedded.fetch import ModelFiles
from privity.protocol.mesh import Identity

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
    kind: Kind | None = None
    """Which engine it is; None finds out."""


@dataclass(frozen=True, slots=True)
class Documents:
    """A document backend in the place of an engine."""

    url: str
    """Its base URL, which takes the place of `/unstructured`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one inference proxy; it runs the engine itself where `engine` is a model's files."""

    engine: RemoteEngine | ModelFiles | Documents
    identity: Identity
    """What it shows to gateways and to secret services."""
    mesh_ca: x509.Certificate
    """Who issued the secret services' certificates."""
    secret_services: tuple[str, ...]
    """Base URLs of their hand-out listeners."""
    gpu_status: Path | None = None
    """The file with the OCSP statuses of the machine's GPUs; None where there is nothing to check."""
    host: str = "127.0.0.1"
    port: int = 0
    engine_timeout: float = ENGINE_TIMEOUT
    declared: tuple[Declared, ...] = ()
    """What its operator says of the models."""
    probes: int = 0
    """Calls that may be spent on finding out what nobody says; 0 is none."""
    drain_seconds: float = 0.0
    """How long it may go on when it shall stop, so that gateways see it and calls are answered; 0 is not at all."""
