"""What a secret service does: it agrees on secrets with clients, and hands them to inference proxies."""

from typing import Protocol

from privity.protocol.agreement import respond
from privity.protocol.mesh import Identity
from privity.protocol.secret import LIFETIME_SECONDS, Secret


class Store(Protocol):
    """Keeps secrets. Every method raises `UnavailableError` where it can't."""

    async def put(self, secret: Secret, lifetime_seconds: int) -> None:
        """Keep a secret, in place of another with its ID."""

    async def get(self, secret_id: str) -> tuple[Secret, float] | None:
        """Return a secret and the seconds that are left to it."""

    async def aclose(self) -> None:
        """Let go of what it holds."""


class SecretService:
    """One deployment's secrets.

    Does not check: API keys and rates, which are the gateway's matter; that a public key is fresh, which is the
    client's; who asks for a secret, which the listener knows by its certificate.
    """

    def __init__(self, identity: Identity, store: Store) -> None:
        self._identity = identity
        self._store = store

    async def agree(self, request: bytes) -> bytes:
        """Answer a client's part of an agreement (wire-protocol.md section 3); the secret is kept for an hour.

        Raises:
            InvalidRequestError: the request is not one.
            UnavailableError: the store can't keep the secret, and the client would have one that nobody else has.
        """
        response, secret = respond(request, self._identity)
        await self._store.put(secret, LIFETIME_SECONDS)
        return response

    async def hand_out(self, secret_id: str) -> tuple[Secret, float] | None:
        """Return a secret and the seconds that are left to it, or None. Raises `UnavailableError`."""
        return await self._store.get(secret_id)
