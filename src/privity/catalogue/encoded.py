"""Rows as the bytes that go out, and lists put together of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Self

import msgspec

DIGEST_BYTES = 16
"""Bytes of a digest: enough that no two lists ever get the same one by chance (2⁶⁴ would be needed)."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows in JSON."""

    rows: tuple[bytes, ...]
    joined: bytes
    """The same, with commas between them."""
    digest: bytes
    """Each row's, one after the other."""

    @classmethod
    def of(cls, rows: Iterable[dict[str, Any]]) -> Self:
        """Encode some rows."""
        return cls.of_rows([msgspec.json.encode(row) for row in rows])

    @classmethod
    def of_rows(cls, rows: Iterable[bytes]) -> Self:
        """Put together rows that are encoded already."""
        encoded = tuple(rows)
        digests = [blake2b(row, digest_size=DIGEST_BYTES).digest() for row in encoded]
        return cls(encoded, b",".join(encoded), b"".join(digests))


@dataclass(frozen=True, slots=True)
class Listing:
    """A list's body in parts: many lists share the parts."""

    head: bytes
    parts: Sequence[Encoded]
    tail: bytes

    def body(self) -> bytes:
        """Return the body."""
        return self.head + b",".join([part.joined for part in self.parts]) + self.tail

    def etag(self) -> str:
        """Return the strong entity tag (RFC 9110 section 8.8.3): it differs exactly where the bodies' bytes do.

        Computed of the rows' digests, at a fraction of what the body's own would cost. How the rows are cut into parts
        doesn't matter.
        """
        whole = blake2b(self.head, digest_size=DIGEST_BYTES)
        whole.update(b"".join([part.digest for part in self.parts]))
        whole.update(self.tail)
        return f'"{whole.hexdigest()}"'
