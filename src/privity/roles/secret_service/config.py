"""Settings of a secret service."""

from dataclasses import dataclass, field

from cryptography import x509

from privity.protocol.mesh import Identity


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one secret service."""

    identity: Identity = field(repr=False)
    """Signs agreements, and is shown to inference proxies."""
    mesh_ca: x509.Certificate
    """Who issued the inference proxies' certificates."""
    host: str = "127.0.0.1"
    port: int = 0
    tls: bool = False
    """Whether clients, that is the gateway, reach it by TLS."""
    hand_out_host: str = "127.0.0.1"
    hand_out_port: int = 0
    store_url: str | None = field(default=None, repr=False)
    """A Valkey or Redis that replicas share; None keeps secrets in memory."""
    store_key: bytes | None = field(default=None, repr=False)
    """32 bytes that replicas share; goes with `store_url`."""

    def __post_init__(self) -> None:
        if (self.store_url is None) != (self.store_key is None):
            raise ValueError("a store and its key go together")
