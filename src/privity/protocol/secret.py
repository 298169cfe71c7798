"""The secret that a proxy and a deployment share (wire-protocol.md section 3)."""

from dataclasses import dataclass, field
from functools import cached_property

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SECRET_BYTES = 32
"""Bytes of a secret's key: an AES-256 key."""

LIFETIME_SECONDS = 3600
"""Seconds for which a deployment keeps a secret."""


@dataclass(frozen=True)
class Secret:
    """A key with its ID, which is public."""

    id: str
    """Standard base64 of the SHA-256 of the public key that it was agreed with, 44 characters."""
    key: bytes = field(repr=False)
    """32 bytes."""

    def __post_init__(self) -> None:
        if len(self.key) != SECRET_BYTES:
            raise ValueError(f"a secret's key has {SECRET_BYTES} bytes")

    @cached_property
    def cipher(self) -> AESGCM:
        """AES-256-GCM with that key; made when it is first used, since it takes some kilobytes, and only once."""
        return AESGCM(self.key)
