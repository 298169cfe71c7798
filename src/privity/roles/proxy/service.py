"""What a proxy does: it encrypts an app's plain request, sends it to the gateway, and decrypts the answer."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import quote

from privity.errors import EngineTimeoutError, RouteNotFoundError, UpstreamError, UpstreamUnreachableError
from privity.http import Headers, HttpClient, Response, header
from privity.protocol.agreement import Agreement
from privity.protocol.ending import HEADER as END
from privity.protocol.ending import Ending, announcing_nonce
from privity.protocol.endpoints import endpoint_of
from privity.protocol.exchange import NONCE_BYTES, begin
from privity.protocol.request_id import RANDOM_BYTES, uuid7
from privity.roles.proxy.agreements import Agreements
from privity.roles.proxy.answer import Answer
from privity.roles.proxy.config import LIST_SECONDS
from privity.roles.proxy.headers import HeaderPolicy
from privity.roles.proxy.request import PlainRequest, read_request
from privity.roles.proxy.surroundings import Surroundings
from privity.transport.forward import api_error, forward
from privity.transport.web import JSON, NO_SNIFFING, PLAIN, Reply, StreamReply

MAX_KEYS = 64
"""API keys whose lists are kept: a proxy serves one user, and a key from outside must not cost memory for ever."""

LIST_TIMEOUT = 10.0
"""Seconds until the gateway must say what there is: it knows that by heart."""

RESET_PAUSE = 0.05
"""Seconds until a request is repeated whose connection was reset (wire-protocol.md section 4)."""

_UNKNOWN_SECRET = b"no secret for ID"
_OURS = frozenset({JSON[0], NO_SNIFFING[0]})


class Proxy:
    """The way to one gateway.

    Args:
        http: who sends.
        gateway: its base URL.
        agreements: holds the secret that is shared with the deployment, and the API key.
        policy: what each request says of this proxy and its user.
        surroundings: time and chance.
        shared_salt: the cache salt of requests that bring none; None gives each one of its own.
        list_seconds: how long a model list is answered from memory.
    """

    def __init__(
        self,
        http: HttpClient,
        gateway: str,
        agreements: Agreements,
        policy: HeaderPolicy,
        surroundings: Surroundings,
        *,
        shared_salt: str | None = None,
        list_seconds: float = LIST_SECONDS,
    ) -> None:
        self._http = http
        self._gateway = gateway
        self._agreements = agreements
        self._policy = policy
        self._shared_salt = shared_salt
        self._surroundings = surroundings
        self._lists = _Lists(list_seconds, surroundings.steady)

    async def infer(self, path: str, headers: Headers, body: bytes) -> Reply | StreamReply:
        """Send a request, encrypted, and return its answer, decrypted.

        It is repeated with a fresh nonce, once where the deployment doesn't know the secret any more and once where the
        connection was reset before an answer began; never later.

        Raises:
            InvalidRequestError: the request is not what its endpoint takes.
            RouteNotFoundError: the endpoint is not one that is encrypted.
            ApiError: there is no answer, or none that is authentic.
        """
        endpoint = endpoint_of(path)
        if endpoint is None:
            raise RouteNotFoundError(f"Requests to {path} are not encrypted, so they are not sent.")
        request = read_request(
            endpoint, header(headers, b"content-type"), body, self._shared_salt, self._surroundings.nonces
        )
        del body  # a request holds what is needed of it: without this, a large one would be in memory twice
        try:
            return await self._send(request, path, headers)
        except UpstreamError as error:
            raise api_error(error, "gateway") from error

    async def _send(self, request: PlainRequest, path: str, headers: Headers) -> Reply | StreamReply:
        authorization = self._agreements.authorization(headers)
        common = self._policy.common(headers, authorization)
        request_id = self._request_id()
        may_renew, may_reconnect = True, True
        while True:
            attempt = (not may_renew) + (not may_reconnect)
            agreement = await self._agreements.current(authorization)
            identified = [*common, (b"privatemode-user-request-id", f"{request_id}_{attempt}".encode())]
            try:
                response, answer = await self._attempt(request, path, agreement, identified)
            except UpstreamUnreachableError:
                if not may_reconnect:
                    raise
                may_reconnect = False
                await self._surroundings.pause(RESET_PAUSE)
                continue
            if response.status == 401:
                self._agreements.refused(authorization)
            reply = await answer.open(response)
            if not (may_renew and _names_unknown_secret(reply)):
                return reply
            may_renew = False
            self._agreements.forget(agreement.secret.id)

    async def _attempt(
        self, request: PlainRequest, path: str, agreement: Agreement, headers: Headers
    ) -> tuple[Response, Answer]:
        """Seal a request anew and send it. A nonce is never sent twice, so the client must not repeat by itself."""
        secret = agreement.secret
        random = self._surroundings.nonces
        nonce = announcing_nonce(secret, random) if agreement.authenticates_end else random(NONCE_BYTES)
        sealer, opener = begin(secret, nonce, random)
        ending = Ending(path)
        kind, sealed = request.seal(sealer, ending, random)
        own = [(b"content-type", kind), *self._policy.encrypted(request, secret, self._surroundings.wall())]
        if agreement.authenticates_end:
            own.append((END, ending.seal(sealer)))
        response = await self._http.request(
            "POST",
            self._gateway + quote(path),
            headers=[*headers, *own],
            body=sealed,
            repeat=False,
        )
        return response, Answer(request, opener, authenticates_end=agreement.authenticates_end)

    async def list_models(self, headers: Headers) -> Reply | StreamReply:
        """Return the models that can be called; from memory where the list is fresh."""
        key = self._agreements.authorization(headers)
        return await self._lists.get(key, lambda: self._ask("/v1/models", headers))

    async def retrieve_model(self, encoded_id: str, headers: Headers) -> Reply | StreamReply:
        """Return one model, by an ID that is encoded for a URL."""
        return await self._ask(f"/v1/models/{encoded_id}", headers)

    async def _ask(self, path: str, headers: Headers) -> Reply | StreamReply:
        authorization = self._agreements.authorization(headers)
        sent = [
            *self._policy.common(headers, authorization),
            (b"privatemode-user-request-id", self._request_id().encode()),
        ]
        try:
            async with asyncio.timeout(LIST_TIMEOUT):
                reply = await forward(self._http, "GET", self._gateway + path, headers=sent, body=b"", peer="gateway")
        except TimeoutError as error:
            raise EngineTimeoutError("The gateway did not answer in time.") from error
        if reply.status == 401:
            self._agreements.refused(authorization)
        # Whatever a gateway sends, HTML for one, a browser must not take it for this proxy's own page.
        return replace(reply, headers=[JSON, NO_SNIFFING, *[each for each in reply.headers if each[0] not in _OURS]])

    def _request_id(self) -> str:
        return f"proxy_{uuid7(int(self._surroundings.wall() * 1000), self._surroundings.nonces(RANDOM_BYTES))}"


def _names_unknown_secret(reply: Reply | StreamReply) -> bool:
    """Return whether the deployment doesn't know the secret: only the text of its error says so."""
    return isinstance(reply, Reply) and reply.status == 500 and PLAIN in reply.headers and _UNKNOWN_SECRET in reply.body


class _Lists:
    """Model lists by API key, each kept for a moment; of many that ask at once, one goes to the gateway."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._kept: dict[bytes | None, tuple[float, Reply]] = {}
        self._asking = asyncio.Lock()

    async def get(self, key: bytes | None, ask: Callable[[], Awaitable[Reply | StreamReply]]) -> Reply | StreamReply:
        """Return the list for a key, from memory where it is fresh."""
        fresh = self._fresh(key)
        if fresh is not None:
            return fresh
        async with self._asking:
            fresh = self._fresh(key)
            if fresh is not None:
                return fresh
            reply = await ask()
            if isinstance(reply, Reply) and reply.status == 200:
                while len(self._kept) >= MAX_KEYS:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = (self._clock() + self._seconds, reply)
            return reply

    def _fresh(self, key: bytes | None) -> Reply | None:
        kept = self._kept.get(key)
        return kept[1] if kept is not None and kept[0] > self._clock() else None
