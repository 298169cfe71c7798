"""`python -m privity.testing.transparent …`: `privity` that encrypts nothing, so that a test for leaks can fail.

Everything else is as it is: agreement, nonces, sequence numbers and the order of values. Only the cipher does nothing.
"""

import sys

from privity.cli.main import main
from privity.protocol import secret
from privity.protocol.exchange import TAG_BYTES


class _NoCipher:
    """AES-GCM's interface, with a tag of zeros behind the text as it is."""

    def __init__(self, key: bytes) -> None:
        self.key_bytes = len(key)

    def encrypt(self, _iv: bytes, text: bytes, _associated: bytes) -> bytes:
        """Return the text."""
        return text + bytes(TAG_BYTES)

    def decrypt(self, _iv: bytes, sealed: bytes, _associated: bytes) -> bytes:
        """Return the text."""
        return sealed[:-TAG_BYTES]


if __name__ == "__main__":
    vars(secret)["AESGCM"] = _NoCipher
    sys.exit(main())
