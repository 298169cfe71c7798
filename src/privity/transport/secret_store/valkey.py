"""Secrets in a Valkey or Redis that several secret services share, encrypted."""

import asyncio
import logging
import re
import secrets
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import SplitResult, parse_qs, urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from privity.errors import StartError, UnavailableError
from privity.protocol.exchange import IV_BYTES, TAG_BYTES
from privity.protocol.secret import SECRET_BYTES, Secret

if TYPE_CHECKING:
    from redis.asyncio import Redis

STORE_KEY_BYTES = 32
"""Bytes of a store key: AES-256."""

TIMEOUT_SECONDS = 2.0
"""Until the store must have answered, connecting and one repetition included; it is a millisecond away."""

MAX_CONNECTIONS = 32
"""Connections to the store: each carries thousands of calls a second."""

_KEY_PREFIX = "privity:secret:"
_DATABASE = re.compile(r"/?[0-9]*")
_QUERY = {"db", "ssl_ca_certs"}
_FORMS = "Its forms are redis://HOST:6379/0, rediss://HOST:6379/0?ssl_ca_certs=FILE and unix:///PATH?db=0."
_LOG = logging.getLogger(__name__)

T = TypeVar("T")


class ValkeyStore:
    """Keeps secrets in a store that sees IDs and times, and no keys.

    Does not check: that the store keeps to lifetimes, and that it has not put back an older value of the same ID.

    Args:
        client: the connections.
        store_key: 32 bytes that only the secret services hold.
        failures: what `client` raises when the store can't be used.
    """

    def __init__(self, client: "Redis", store_key: bytes, failures: tuple[type[Exception], ...]) -> None:
        self._client = client
        self._cipher = AESGCM(store_key)
        self._failures: tuple[type[Exception], ...] = (*failures, OSError)  # TimeoutError is one

    async def put(self, secret: Secret, lifetime_seconds: int) -> None:
        """Keep a secret, in place of another with its ID. Raises `UnavailableError`."""
        iv = secrets.token_bytes(IV_BYTES)
        value = iv + self._cipher.encrypt(iv, secret.key, secret.id.encode())
        await self._bounded(self._client.set(_KEY_PREFIX + secret.id, value, ex=lifetime_seconds))

    async def get(self, secret_id: str) -> tuple[Secret, float] | None:
        """Return a secret and the seconds that are left to it. Raises `UnavailableError`.

        A value that is not authentic under the store key is none.
        """
        value, milliseconds = await self._bounded(self._read(_KEY_PREFIX + secret_id))
        if value is None or milliseconds <= 0:
            return None
        key = self._decrypted(secret_id, value)
        return (Secret(secret_id, key), milliseconds / 1000) if key is not None else None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _read(self, name: str) -> tuple[bytes | None, int]:
        async with self._client.pipeline() as both:  # a transaction: value and time belong together
            both.get(name)
            both.pttl(name)
            value, milliseconds = await both.execute()
            return value, milliseconds

    def _decrypted(self, secret_id: str, value: bytes) -> bytes | None:
        if len(value) == IV_BYTES + SECRET_BYTES + TAG_BYTES:
            try:
                return self._cipher.decrypt(value[:IV_BYTES], value[IV_BYTES:], secret_id.encode())
            except InvalidTag:
                pass
        _LOG.error("a secret in the store was altered, or encrypted under another store key")
        return None

    async def _bounded(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await work
        except self._failures as error:
            _LOG.warning("the secret store failed", extra={"error": type(error).__name__})
            raise UnavailableError("The deployment's store of secrets can't be reached at the moment.") from None


def open_store(url: str, store_key: bytes) -> ValkeyStore:
    """Return the store at a URL, to which it connects when it is used.

    Raises:
        StartError: redis-py isn't installed, or the URL can't be used. The text doesn't repeat the URL: it may hold a
            password.
    """
    try:
        import redis.asyncio  # noqa: PLC0415  # an optional dependency
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
    except ImportError as error:
        problem = "A store of secrets in Valkey or Redis needs the Python package redis, which isn't installed."
        raise StartError(problem, "Install it: pip install 'privity[valkey]'") from error
    _check(url)
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=TIMEOUT_SECONDS,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 1),  # a store that has restarted is found again by the same call
    )
    return ValkeyStore(redis.asyncio.Redis.from_pool(pool), store_key, (redis.RedisError,))


def _check(url: str) -> None:
    """Raise `StartError` where a URL says what the client would pass over in silence, or fail at later."""
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        usable = _is_address(parts) and query.keys() <= _QUERY and all(each.isdecimal() for each in query.get("db", []))
    except ValueError:
        usable = False
    if not usable:
        raise StartError("The URL of the secret store can't be used.", _FORMS) from None
    for name in query.get("ssl_ca_certs", []):
        if parts.scheme != "rediss" or not Path(name).is_file():
            problem = "The URL of the secret store names a file of certificates that isn't there, or isn't used."
            raise StartError(problem, f"Check ssl_ca_certs, which goes with rediss://. {_FORMS}")


def _is_address(parts: SplitResult) -> bool:
    if parts.scheme == "unix":
        return not parts.hostname and parts.path not in {"", "/"}
    known = parts.scheme in {"redis", "rediss"} and bool(parts.hostname) and parts.port != 0
    return known and _DATABASE.fullmatch(parts.path) is not None
