"""What a proxy does: takes an app's plain request, and sends it to the gateway."""

import asyncio
import time
from collections.abc import Callable

from privity.errors import EngineTimeoutError
from privity.http import Headers, HttpClient, header
from privity.protocol.members import read_members, read_model
from privity.transport.forward import forward
from privity.transport.web import Reply, StreamReply

MAX_KEYS = 64
"""API keys whose lists are kept: a proxy serves one user, and a key from outside must not cost memory for ever."""

LIST_TIMEOUT = 10.0
"""Seconds until the gateway must say what there is: it knows that by heart."""

_PASSED_ON = frozenset({b"accept", b"anthropic-beta", b"anthropic-version", b"authorization"})
"""The app's headers that leave this machine (wire-protocol.md section 2)."""

_JSON = (b"content-type", b"application/json")


class Proxy:
    """The way to one gateway.

    Args:
        http: who sends.
        gateway: its base URL.
        list_seconds: how long a model list is answered from memory.
        clock: seconds that only go forward.
    """

    def __init__(
        self, http: HttpClient, gateway: str, list_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._http = http
        self._gateway = gateway
        self._list_seconds = list_seconds
        self._clock = clock
        self._lists: dict[bytes | None, tuple[float, Reply]] = {}
        self._asking = asyncio.Lock()

    async def infer(self, path: str, headers: Headers, body: bytes) -> Reply | StreamReply:
        """Send a request on.

        Raises:
            InvalidRequestError: the body is not a JSON object, or names no model.
            ApiError: the gateway gave no answer.
        """
        model = read_model(read_members(body))
        passed = [*self._passed_on(headers), _JSON, (b"privatemode-target-model", model.encode())]
        return await forward(self._http, "POST", self._gateway + path, headers=passed, body=body, peer="gateway")

    async def list_models(self, headers: Headers) -> Reply | StreamReply:
        """Return the models that can be called; from memory where the list is fresh."""
        key = header(headers, b"authorization")
        kept = self._fresh_list(key)
        if kept is not None:
            return kept
        async with self._asking:  # of many that ask at once, one goes to the gateway
            kept = self._fresh_list(key)
            if kept is not None:
                return kept
            reply = await self._ask("/v1/models", headers)
            if isinstance(reply, Reply) and reply.status == 200:
                while len(self._lists) >= MAX_KEYS:
                    del self._lists[next(iter(self._lists))]
                self._lists[key] = (self._clock() + self._list_seconds, reply)
            return reply

    def _fresh_list(self, key: bytes | None) -> Reply | None:
        kept = self._lists.get(key)
        return kept[1] if kept is not None and kept[0] > self._clock() else None

    async def retrieve_model(self, encoded_id: str, headers: Headers) -> Reply | StreamReply:
        """Return one model, by an ID that is encoded for a URL."""
        return await self._ask(f"/v1/models/{encoded_id}", headers)

    async def _ask(self, path: str, headers: Headers) -> Reply | StreamReply:
        passed = self._passed_on(headers)
        try:
            async with asyncio.timeout(LIST_TIMEOUT):
                return await forward(self._http, "GET", self._gateway + path, headers=passed, body=b"", peer="gateway")
        except TimeoutError as error:
            raise EngineTimeoutError("The gateway did not answer in time.") from error

    @staticmethod
    def _passed_on(headers: Headers) -> list[tuple[bytes, bytes]]:
        return [(name, value) for name, value in headers if name in _PASSED_ON]
