"""Which model is meant by a name.

Inference proxies know the names that they signed. Two of a deployment may have signed the same name, and a gateway may
give further ones (an alias of its configuration) and says what it means by them. Clients that don't verify lists have
to take its word. Privity's proxy says under the authenticated end which model its list shows for the name that it asks
for, and gets an answer of that one or none (docs/adr/0010-models-api.md).
"""

from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, unquote

from privity.http import Headers, header

HEADER = b"privity-model"
"""Header of a request from a gateway to an inference proxy."""

MEANS = b"privity-means"
"""Header of a proxy's request, part of its authenticated end: the canonical ID that is meant, encoded for a URL."""

MAX_BYTES = 6400
"""Bytes of the header's value: two IDs of 256 characters, each of which takes up to 12 when encoded for a URL."""


def encode_id(model_id: str) -> bytes:
    """Return an ID as it stands in a header."""
    return quote(model_id, safe="/").encode()


def decode_id(value: bytes) -> str:
    """Return the ID that stands in a header."""
    return unquote(value.decode("latin-1"))


@dataclass(frozen=True, slots=True)
class RoutedModel:
    """What a gateway says."""

    id: str
    """The canonical ID."""
    answer_id: str
    """What the answer shall call it."""

    def encode(self) -> bytes:
        """Return the header's value."""
        return encode_id(self.id) + b";" + encode_id(self.answer_id)

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
