"""What a proxy does: it encrypts an app's plain request, sends it to the gateway, and decrypts the answer."""

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from privity.errors import RouteNotFoundError, UpstreamError, UpstreamUnreachableError
from privity.http import Headers, Response, header
from privity.protocol.agreement import Agreement
from privity.protocol.ending import HEADER as END
from privity.protocol.ending import Ending, announcing_nonce
from privity.protocol.endpoints import endpoint_of
from privity.protocol.exchange import NONCE_BYTES, begin
from privity.protocol.routed_model import MEANS, encode_id
from privity.roles.proxy.answer import Answer
from privity.roles.proxy.link import GatewayLink
from privity.roles.proxy.request import PlainRequest, read_request
from privity.transport.forward import api_error
from privity.transport.web import PLAIN, Reply, StreamReply

RESET_PAUSE = 0.05
"""Seconds until a request is repeated whose connection was reset (wire-protocol.md section 4)."""

Meaning = Callable[[bytes | None, str], Awaitable[str | None]]
"""Gets an API key and a model's ID; returns the canonical ID that its list has for it, or raises `ApiError`."""

_UNKNOWN_SECRET = b"no secret for ID"


async def _not_listed(_authorization: bytes | None, _model: str) -> str | None:
    return None


class Proxy:
    """The way to one gateway.

    Args:
        link: to the gateway.
        shared_salt: the cache salt of requests that bring none; None gives each one of its own.
        meaning: knows which model is meant by a name, and which must not be called.
    """

    def __init__(
        self,
        link: GatewayLink,
        *,
        shared_salt: str | None = None,
        meaning: Meaning = _not_listed,
    ) -> None:
        self._link = link
        self._agreements = link.agreements
        self._policy = link.policy
        self._surroundings = link.surroundings
        self._shared_salt = shared_salt
        self._meaning = meaning

    async def infer(self, path: str, headers: Headers, body: bytes) -> Reply | StreamReply:
        """Send a request, encrypted, and return its answer, decrypted.

        It is repeated with a fresh nonce, once where the deployment doesn't know the secret any more, once where the
        connection was reset before an answer began, and once where the configured key was refused and is another one by
        now; never later.

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

    async def _send(
        self, request: PlainRequest, path: str, headers: Headers, *, may_change_key: bool = True
    ) -> Reply | StreamReply:
        authorization = self._agreements.authorization(headers)
        means = None if request.model is None else await self._meaning(authorization, request.model)
        meant = [] if means is None else [(MEANS, encode_id(means))]
        common = self._policy.common(headers, authorization)
        request_id = self._link.request_id()
        may_renew, may_reconnect = True, True
        while True:
            attempt = (not may_renew) + (not may_reconnect)
            agreement = await self._agreements.current(authorization)
            identified = [*common, (b"privatemode-user-request-id", f"{request_id}_{attempt}".encode())]
            try:
                response, answer = await self._attempt(request, path, agreement, identified, meant)
            except UpstreamUnreachableError:
                if not may_reconnect:
                    raise
                may_reconnect = False
                await self._surroundings.pause(RESET_PAUSE)
                continue
            if response.status == 401 and self._agreements.refused(authorization) is not None and may_change_key:
                async with response:
                    pass
                return await self._send(request, path, headers, may_change_key=False)
            reply = await answer.open(response)
            if not (may_renew and _names_unknown_secret(reply)):
                return reply
            may_renew = False
            self._agreements.forget(agreement.secret.id)

    async def _attempt(
        self, request: PlainRequest, path: str, agreement: Agreement, headers: Headers, meant: Headers
    ) -> tuple[Response, Answer]:
        """Seal a request anew and send it. A nonce is never sent twice, so the client must not repeat by itself."""
        secret = agreement.secret
        random = self._surroundings.nonces
        nonce = announcing_nonce(secret, random) if agreement.authenticates_end else random(NONCE_BYTES)
        sealer, opener = begin(secret, nonce, random)
        ending = Ending(path)
        if not agreement.authenticates_end:
            meant = ()  # nobody there knows it
        for name, value in meant:
            ending.plain(name.decode(), value)
        kind, sealed = request.seal(sealer, ending, random)
        policy = self._policy.encrypted(request, secret, self._surroundings.wall())
        own = [(b"content-type", kind), *meant, *policy]
        if agreement.authenticates_end:
            own.append((END, ending.seal(sealer)))
        response = await self._link.http.request(
            "POST",
            self._link.url + quote(path),
            headers=[*headers, *own],
            body=sealed,
            repeat=False,
        )
        return response, Answer(request, opener, authenticates_end=agreement.authenticates_end)


def _names_unknown_secret(reply: Reply | StreamReply) -> bool:
    """Return whether the deployment doesn't know the secret: only the text of its error says so."""
    return isinstance(reply, Reply) and reply.status == 500 and PLAIN in reply.headers and _UNKNOWN_SECRET in reply.body
