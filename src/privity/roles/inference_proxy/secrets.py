"""Where an inference proxy has its secrets from: the secret services, over mTLS, each for as long as it lasts."""

import asyncio
import logging
import re
import time
from collections.abc import Callable

import msgspec

from privity.errors import (
    ApiError,
    UnavailableError,
    UnknownSecretError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
)
from privity.http import HttpClient
from privity.protocol.secret import LIFETIME_SECONDS, SECRET_BYTES, Secret
from privity.transport.secret_store.memory import MemoryStore
from privity.transport.tasks import Background
from privity.transport.web import JSON

MAX_CACHED = 50_000
"""Secrets kept at once, some 150 MB: clients of one inference proxy in an hour."""

LOOK_UP_SECONDS = 3.0
"""Until a secret service must have answered: more than the 2 s that it gives its store."""

MAX_ANSWER = 4096
"""Bytes of an answer: a secret has 44."""

MAX_SHOWN = 64
"""Characters of an ID from outside that are repeated (wire-protocol.md section 2)."""

_ID = re.compile(r"[A-Za-z0-9+/]{43}=")
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9+/=._-]")
_LOG = logging.getLogger(__name__)


class _HandedOut(msgspec.Struct):
    key: bytes
    expires_in: float


class Secrets:
    """Finds secrets by their IDs, and remembers them until they end.

    What isn't known is never remembered: a client may be about to agree on it.

    Args:
        http: who sends, and shows the inference proxy's certificate to nobody but a secret service.
        hand_outs: base URLs of the secret services' hand-out listeners, asked in this order.
        background: holds the look-ups, which go on when whoever asked first has left.
        clock: seconds.
    """

    def __init__(
        self,
        http: HttpClient,
        hand_outs: tuple[str, ...],
        background: Background,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._hand_outs = hand_outs
        self._background = background
        self._clock = clock
        self._cache = MemoryStore(MAX_CACHED, clock)
        self._asking: dict[str, asyncio.Task[Secret | ApiError]] = {}

    async def find(self, secret_id: str) -> Secret:
        """Return the secret of an ID that a client sent.

        Raises:
            UnknownSecretError: no secret service has it, or this is no ID.
            UnavailableError: no secret service can be reached.
        """
        if _ID.fullmatch(secret_id) is None:
            raise UnknownSecretError(_NOT_IN_ID.sub("?", secret_id[:MAX_SHOWN]))
        cached = await self._cache.get(secret_id)
        if cached is not None:
            return cached[0]
        task = self._asking.get(secret_id)
        if task is None:
            task = self._background.start(self._look_up(secret_id), "secret look-up")
            self._asking[secret_id] = task
            task.add_done_callback(lambda _task: self._asking.pop(secret_id))
        found = await asyncio.shield(task)
        if isinstance(found, ApiError):
            raise found
        return found

    async def _look_up(self, secret_id: str) -> Secret | ApiError:
        """Ask one secret service after the other. They may each have a memory of their own: one that says no isn't all.

        An error is returned and not raised: several tasks wait for it, or none.
        """
        answered = False
        for hand_out in self._hand_outs:
            try:
                secret = await self._ask(hand_out, secret_id)
            except UpstreamError as error:
                _LOG.warning("a secret service failed", extra={"url": hand_out, "error": str(error)})
                continue
            if secret is not None:
                return secret
            answered = True
        if answered:
            return UnknownSecretError(secret_id)
        return UnavailableError("The deployment's secret service can't be reached at the moment.")

    async def _ask(self, hand_out: str, secret_id: str) -> Secret | None:
        began = self._clock()
        body = msgspec.json.encode({"id": secret_id})
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                async with await self._http.request(
                    "POST", f"{hand_out}/secrets", headers=[JSON], body=body
                ) as response:
                    answer = await response.read(MAX_ANSWER)
        except TimeoutError as error:
            raise UpstreamTimeoutError("no secret in time") from error
        if response.status == 404:
            return None
        if response.status != 200:
            raise UpstreamProtocolError(f"a secret service answers with status {response.status}")
        found = _handed_out(answer)
        secret = Secret(secret_id, found.key)
        left = min(found.expires_in, LIFETIME_SECONDS) - (self._clock() - began)
        await self._cache.put(secret, left)
        return secret


def _handed_out(answer: bytes) -> _HandedOut:
    try:
        found = msgspec.json.decode(answer, type=_HandedOut)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise UpstreamProtocolError("a secret service's answer is not one") from None  # its text might show the key
    if len(found.key) != SECRET_BYTES:
        raise UpstreamProtocolError("a secret service hands out a key of another length")
    return found
