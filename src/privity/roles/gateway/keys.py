"""Who may use a gateway, and as whom (models-api.md item 7)."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from privity.errors import UnauthorizedError
from privity.http import Headers, header


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, of which only the digest is known."""

    name: str
    sha256: str = field(repr=False)
    """Of the key, 64 hex digits."""
    groups: frozenset[str] = frozenset()
    """What decides which models it may use."""


class Keys:
    """All keys of a gateway; without any, everybody may use everything.

    A key is looked up by its digest, so the time that takes says nothing about the keys that exist.
    """

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._by_digest = {bytes.fromhex(key.sha256): key for key in keys}

    def groups(self, headers: Headers) -> frozenset[str] | None:
        """Return the groups of a request's key; None where the gateway is open.

        Raises:
            UnauthorizedError: there is no such key.
        """
        if not self._by_digest:
            return None
        given = _given(headers)
        digest = sha256(given).digest()
        key = self._by_digest.get(digest) if given else None
        if key is None or not hmac.compare_digest(bytes.fromhex(key.sha256), digest):
            raise UnauthorizedError("The API key is missing, or not one that this gateway knows.")
        return key.groups


def _given(headers: Headers) -> bytes:
    """Return the key of a request, as OpenAI's clients send it or as Anthropic's."""
    bearer = header(headers, b"authorization")
    if bearer is not None:
        scheme, _, key = bearer.partition(b" ")
        return key.strip() if scheme.lower() == b"bearer" else b""
    return header(headers, b"x-api-key") or b""
