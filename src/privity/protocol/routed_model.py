"""Which model a gateway means by a name that it gave to one (an alias of its configuration).

Inference proxies know the names that they signed, and no others. A gateway that gives names of its own says with each
request what they mean. Whoever lists unsigned names will call them, so an inference proxy follows the gateway for
clients that don't verify lists; Privity's own says under the authenticated end whether its user wants that
(docs/adr/0010-models-api.md).
"""

from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, unquote

from privity.http import Headers, header

HEADER = b"privity-model"
"""Header of a request from a gateway to an inference proxy."""

ACCEPTS = b"privity-accepts"
"""Header of a proxy's request. It is part of the authenticated end, so that a gateway can't add it."""

UNSIGNED_NAMES = b"unsigned-names"
"""The value by which a proxy's user lets the gateway give names."""

MAX_BYTES = 6400
"""Bytes of the header's value: two IDs of 256 characters, each of which takes up to 12 when encoded for a URL."""


@dataclass(frozen=True, slots=True)
class RoutedModel:
    """What a gateway says."""

    id: str
    """The canonical ID."""
    answer_id: str
    """What the answer shall call it."""

    def encode(self) -> bytes:
        """Return the header's value."""
        return f"{quote(self.id, safe='/')};{quote(self.answer_id, safe='/')}".encode()

    @classmethod
    def decode(cls, value: bytes) -> Self | None:
        """Read the header's value; None where it isn't one."""
        parts = value.decode("latin-1").split(";")
        if len(value) > MAX_BYTES or len(parts) != 2 or not all(parts):
            return None
        return cls(unquote(parts[0]), unquote(parts[1]))


def routed_model(headers: Headers) -> RoutedModel | None:
    """Return what a gateway says in a request's headers."""
    value = header(headers, HEADER)
    return None if value is None else RoutedModel.decode(value)
