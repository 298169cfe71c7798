"""Whole bodies as streams of sealed messages (wire-protocol.md section 11).

A message's place and whether it is the last one are authenticated: nothing can be altered, moved, repeated, dropped or
cut off without notice. Requests and responses have keys of their own.
"""

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from privity.errors import DecryptionError

HEADER_BYTES = 32
"""Bytes of a request's or response's header: random, and different for every stream."""

IV_BYTES = 12
"""Bytes of a message's IV: random."""

OVERHEAD_BYTES = 1 + IV_BYTES + 16
"""Bytes by which a sealed message is longer than its plaintext: flag, IV and tag."""

MAX_MESSAGES = 2**32
"""Messages of one stream: their sequence number has 32 bits, and so many random IVs are safe with one key."""

_REQUEST_LABEL = b"privatemode oae request key\0"
_RESPONSE_LABEL = b"privatemode oae response key\0"
_KEY_BYTES = 32
_FINAL = b"\x01"
_NOT_FINAL = b"\x00"


class Sealer:
    """Seals the messages of one stream.

    With a response header it seals the response, else the request.
    """

    def __init__(self, secret_key: bytes, request_header: bytes, response_header: bytes | None = None) -> None:
        self._cipher = AESGCM(_stream_key(secret_key, request_header, response_header))
        self._sequence = 0
        self._ended = False

    def seal(self, plaintext: bytes, *, final: bool, iv: bytes) -> bytes:
        """Return the sealed message; `iv` is 12 random bytes.

        Raises:
            ValueError: the stream has ended, has no room for more messages, or the IV has a wrong length.
        """
        if self._ended:
            raise ValueError("the stream has ended")
        if self._sequence >= MAX_MESSAGES:
            raise ValueError("the stream has no room for more messages")
        if len(iv) != IV_BYTES:
            raise ValueError(f"an IV has {IV_BYTES} bytes")
        flag = _FINAL if final else _NOT_FINAL
        ciphertext = self._cipher.encrypt(iv, plaintext, _additional_data(self._sequence, flag))
        self._sequence += 1
        self._ended = final
        return flag + iv + ciphertext


class Opener:
    """Opens the messages of one stream, in their order; after an error every further call repeats it.

    With a response header it opens the response, else the request.
    """

    def __init__(self, secret_key: bytes, request_header: bytes, response_header: bytes | None = None) -> None:
        self._cipher = AESGCM(_stream_key(secret_key, request_header, response_header))
        self._sequence = 0
        self._ended = False
        self._problem = ""

    @property
    def ended(self) -> bool:
        """Whether the final message was opened."""
        return self._ended

    def open(self, message: bytes) -> bytes:
        """Return the plaintext of the stream's next message.

        Raises:
            DecryptionError: the message isn't the next one, was altered, or follows the final one.
        """
        if self._problem:
            raise DecryptionError(self._problem)
        if self._ended:
            raise self._failure("A message follows the stream's final one.")
        if self._sequence >= MAX_MESSAGES:
            raise self._failure("The stream has too many messages.")
        flag, iv, ciphertext = message[:1], message[1 : 1 + IV_BYTES], message[1 + IV_BYTES :]
        if len(message) < OVERHEAD_BYTES or flag not in (_FINAL, _NOT_FINAL):
            raise self._failure("The stream holds something that isn't a sealed message.")
        try:
            plaintext = self._cipher.decrypt(iv, ciphertext, _additional_data(self._sequence, flag))
        except InvalidTag as error:
            raise self._failure("A message of the stream isn't authentic at its place.") from error
        self._sequence += 1
        self._ended = flag == _FINAL
        return plaintext

    def finish(self) -> None:
        """Say that no more messages will come.

        Raises:
            DecryptionError: the final message is missing, or an error went before.
        """
        if self._problem:
            raise DecryptionError(self._problem)
        if not self._ended:
            raise self._failure("The stream ends before its final message.")

    def _failure(self, problem: str) -> DecryptionError:
        self._problem = problem
        return DecryptionError(problem)


def _stream_key(secret_key: bytes, request_header: bytes, response_header: bytes | None) -> bytes:
    for header in (request_header, response_header):
        if header is not None and len(header) != HEADER_BYTES:
            raise ValueError(f"a header has {HEADER_BYTES} bytes")
    pseudorandom_key = hmac.digest(request_header, secret_key, "sha256")  # HKDF-Extract
    info = _REQUEST_LABEL if response_header is None else _RESPONSE_LABEL + response_header
    return HKDFExpand(SHA256(), _KEY_BYTES, info).derive(pseudorandom_key)


def _additional_data(sequence: int, flag: bytes) -> bytes:
    return sequence.to_bytes(4) + flag
