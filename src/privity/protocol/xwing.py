"""X-Wing, the hybrid of ML-KEM-768 and X25519 (draft-connolly-cfrg-xwing-kem): safe as long as either of them is."""

import hashlib

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from privity.errors import AgreementError

SEED_BYTES = 32
"""Bytes of the seed that is the private key."""

PUBLIC_KEY_BYTES = 1216
"""Bytes of a public key: 1184 of ML-KEM, then 32 of X25519."""

ENCAPSULATION_BYTES = 1120
"""Bytes of an encapsulation: 1088 of ML-KEM, then 32 of X25519."""

SHARED_SECRET_BYTES = 32
"""Bytes of what both sides end up with."""

_MLKEM_SEED_BYTES = 64
_X25519_BYTES = 32
_LABEL = bytes.fromhex("5c2e2f2f5e5c")


class PrivateKey:
    """A private key, made from 32 random bytes; its text form shows nothing of them."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a seed has {SEED_BYTES} bytes")
        stretched = hashlib.shake_256(seed).digest(_MLKEM_SEED_BYTES + _X25519_BYTES)
        self._mlkem = MLKEM768PrivateKey.from_seed_bytes(stretched[:_MLKEM_SEED_BYTES])
        self._x25519 = X25519PrivateKey.from_private_bytes(stretched[_MLKEM_SEED_BYTES:])
        self._x25519_public = self._x25519.public_key().public_bytes_raw()
        self.public_key = self._mlkem.public_key().public_bytes_raw() + self._x25519_public

    def decapsulate(self, encapsulation: bytes) -> bytes:
        """Return the shared secret, 32 bytes.

        Not checked: who made the encapsulation. One that was altered gives another secret, by design of ML-KEM.

        Raises:
            AgreementError: the encapsulation has a wrong length, or a point of small order.
        """
        if len(encapsulation) != ENCAPSULATION_BYTES:
            raise AgreementError(f"The encapsulation doesn't have {ENCAPSULATION_BYTES} bytes.")
        mlkem_part, x25519_part = _split(encapsulation)
        return _combine(
            self._mlkem.decapsulate(mlkem_part),
            _exchange(self._x25519, x25519_part),
            x25519_part,
            self._x25519_public,
        )


def encapsulate(public_key: bytes) -> tuple[bytes, bytes]:
    """Return a fresh shared secret (32 bytes) and its encapsulation (1120 bytes) for the holder of the private key.

    Raises:
        AgreementError: the public key has a wrong length, unreduced coefficients, or a point of small order.
    """
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise AgreementError(f"The public key doesn't have {PUBLIC_KEY_BYTES} bytes.")
    mlkem_part, x25519_part = _split(public_key)
    try:
        mlkem_secret, mlkem_ciphertext = MLKEM768PublicKey.from_public_bytes(mlkem_part).encapsulate()
    except ValueError as error:
        raise AgreementError("The public key's ML-KEM part is invalid.") from error
    ephemeral = X25519PrivateKey.generate()
    ephemeral_public = ephemeral.public_key().public_bytes_raw()
    shared_secret = _combine(mlkem_secret, _exchange(ephemeral, x25519_part), ephemeral_public, x25519_part)
    return shared_secret, mlkem_ciphertext + ephemeral_public


def _split(joined: bytes) -> tuple[bytes, bytes]:
    return joined[:-_X25519_BYTES], joined[-_X25519_BYTES:]


def _exchange(own: X25519PrivateKey, peer: bytes) -> bytes:
    try:
        return own.exchange(X25519PublicKey.from_public_bytes(peer))
    except ValueError as error:  # the result is all zeros
        raise AgreementError("The X25519 part is a point of small order.") from error


def _combine(mlkem_secret: bytes, x25519_secret: bytes, x25519_ciphertext: bytes, x25519_public: bytes) -> bytes:
    return hashlib.sha3_256(mlkem_secret + x25519_secret + x25519_ciphertext + x25519_public + _LABEL).digest()
