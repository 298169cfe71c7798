"""Encrypted values of one request and its answer (wire-protocol.md section 4).

A value is AES-256-GCM with a random IV; the additional data is the exchange's nonce and the value's place in its
direction, so a value that is altered, moved, dropped in the middle, repeated or taken from another exchange fails. What
the protocol leaves open, a value that is dropped from the end, is closed by `privity.protocol.ending`.
"""

import hashlib
import os
from binascii import Error as HexError
from binascii import hexlify, unhexlify
from collections.abc import Callable, Iterator, Sequence

from cryptography.exceptions import InvalidTag

from privity.errors import DecryptionError
from privity.protocol.secret import Secret

NONCE_BYTES = 12
"""Bytes of an exchange's nonce."""

IV_BYTES = 12
"""Bytes of a value's IV (NIST SP 800-38D section 5.2.1.1)."""

TAG_BYTES = 16
"""Bytes of a value's authentication tag."""

MAX_VALUES = 2**32
"""Values of one direction: the sequence number has four bytes."""

MAX_ID_CHARACTERS = 64
"""Characters of a secret's ID: it has 44."""

PIECE_BYTES = 64 * 1024
"""Bytes of a large value that are written at once."""

Random = Callable[[int], bytes]


class Sealer:
    """Encrypts the values of one direction, in their order; `transcript` is a running SHA-256 of their IVs.

    Args:
        secret: the shared secret.
        nonce: 12 bytes, the exchange's own.
        random: gives that many random bytes.
        sent: takes in the IVs that were used.
    """

    def __init__(
        self, secret: Secret, nonce: bytes, random: Random = os.urandom, sent: set[bytes] | None = None
    ) -> None:
        self._encrypt = secret.cipher.encrypt
        self._nonce = nonce
        self._random = random
        self._prefix = _prefix(secret, nonce)
        self._sequence = 0
        self._sent = sent
        self.transcript = hashlib.sha256()

    def seal(self, value: bytes) -> bytes:
        """Return a value as a JSON string: `"<secret id>:<hex nonce>:<hex iv>:<hex ciphertext and tag>"`.

        Raises:
            OverflowError: more than `MAX_VALUES` values.
        """
        return self.seal_all([value])[0]

    def seal_all(self, values: Sequence[bytes]) -> list[bytes]:
        """Return the next values, each as `seal` does; raises as it does."""
        ivs = self._random(IV_BYTES * len(values))  # one system call for all
        sealed = []
        for number, value in enumerate(values):
            iv = ivs[number * IV_BYTES : (number + 1) * IV_BYTES]
            sealed.append(b'%b%b:%b"' % (self._prefix, hexlify(iv), hexlify(self._encrypt_next(iv, value))))
        return sealed

    def seal_in_pieces(self, value: bytes) -> Iterator[bytes]:
        """Encrypt a value now, and return the pieces of what `seal` would return: its hex is twice as long."""
        iv = self._random(IV_BYTES)
        return _in_hex(b"%b%b:" % (self._prefix, hexlify(iv)), self._encrypt_next(iv, value))

    def _encrypt_next(self, iv: bytes, value: bytes) -> bytes:
        if self._sequence >= MAX_VALUES:
            raise OverflowError("an exchange has too many values")
        encrypted = self._encrypt(iv, value, self._nonce + self._sequence.to_bytes(4, "little"))
        self._sequence += 1
        self.transcript.update(iv)
        if self._sent is not None:
            self._sent.add(iv)
        return encrypted


class Opener:
    """Decrypts the values of one direction, in their order. After an error every call repeats it.

    `transcript` is a running SHA-256 of the IVs of those that were authentic.

    Args:
        secret: the shared secret.
        nonce: 12 bytes, the exchange's own.
        reflected: IVs of the other direction. Nothing else tells the two apart: a value that comes back to its sender
            would be authentic at the same place.
    """

    def __init__(self, secret: Secret, nonce: bytes, reflected: set[bytes] | None = None) -> None:
        self._decrypt = secret.cipher.decrypt
        self._nonce = nonce
        self._reflected = reflected
        self._prefix = _prefix(secret, nonce)
        self._sequence = 0
        self._failed = False
        self.transcript = hashlib.sha256()

    @property
    def count(self) -> int:
        """How many values were decrypted."""
        return self._sequence

    def open(self, message: bytes) -> bytes:
        """Return the value of a JSON string as `Sealer.seal` writes it.

        Raises:
            DecryptionError: it is not the next value of this direction.
        """
        return self.open_all([message])[0]

    def open_all(self, messages: Sequence[bytes]) -> list[bytes]:
        """Return the next values, each as `open` does; raises as it does."""
        if self._failed:
            raise DecryptionError("this exchange failed before")
        self._failed = True  # until all went well
        decrypt, nonce, sequence = self._decrypt, self._nonce, self._sequence
        values = []
        for message in messages:
            iv, sealed = self._parts(message)
            try:
                values.append(decrypt(iv, sealed, nonce + sequence.to_bytes(4, "little")))
            except (InvalidTag, OverflowError) as error:
                raise DecryptionError("a value isn't authentic at its place") from error
            self.transcript.update(iv)
            sequence += 1
        self._sequence = sequence
        self._failed = False
        return values

    def _parts(self, message: bytes) -> tuple[bytes, bytes]:
        """Return the IV, and the ciphertext with its tag."""
        start = len(self._prefix)
        separator = start + 2 * IV_BYTES
        if not message.startswith(self._prefix) or message[separator : separator + 1] != b":" or message[-1:] != b'"':
            raise DecryptionError("a value isn't encrypted for this exchange")
        iv = _from_hex(message[start:separator])
        if self._reflected is not None and iv in self._reflected:
            raise DecryptionError("a value came back to its sender")
        return iv, _from_hex(message[separator + 1 : -1])


def begin(secret: Secret, nonce: bytes, random: Random = os.urandom) -> tuple[Sealer, Opener]:
    """Return what a client seals its request with and opens the answer with."""
    sent: set[bytes] = set()
    return Sealer(secret, nonce, random, sent), Opener(secret, nonce, sent)


def addressed_to(message: bytes) -> tuple[str, bytes]:
    """Return the secret's ID and the nonce that an encrypted value names, before anything of it is authentic.

    Raises:
        DecryptionError: the value is not encrypted.
    """
    secret_id, _, rest = message[: MAX_ID_CHARACTERS + 2 * NONCE_BYTES + 3].partition(b":")
    nonce, separator, _ = rest.partition(b":")
    known = secret_id.startswith(b'"') and 1 < len(secret_id) <= MAX_ID_CHARACTERS + 1 and secret_id.isascii()
    if not known or not separator or len(nonce) != 2 * NONCE_BYTES:
        raise DecryptionError("a value isn't encrypted")
    return secret_id[1:].decode(), _from_hex(nonce)


def _prefix(secret: Secret, nonce: bytes) -> bytes:
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a nonce has {NONCE_BYTES} bytes")
    return b'"%b:%b:' % (secret.id.encode(), hexlify(nonce))


def _in_hex(head: bytes, encrypted: bytes) -> Iterator[bytes]:
    yield head
    for start in range(0, len(encrypted), PIECE_BYTES):
        yield hexlify(encrypted[start : start + PIECE_BYTES])
    yield b'"'


def _from_hex(text: bytes) -> bytes:
    """Return the bytes of lower-case hex: one spelling, so that no value has two."""
    try:
        value = unhexlify(text)
    except HexError as error:
        raise DecryptionError("a value isn't written in hex") from error
    if not text.islower() and text != text.lower():  # the former is quicker, and false where there are only digits
        raise DecryptionError("a value isn't written in lower-case hex")
    return value
