"""The secret that a proxy shares with the deployment: agreed on, renewed, and the API key that goes with it."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.x509 import Certificate

from privity.errors import (
    ApiError,
    ProtocolError,
    UnauthorizedError,
    UnavailableError,
    UpstreamError,
    UpstreamUnreachableError,
    without_trace,
)
from privity.http import Headers, HttpClient, header
from privity.protocol.agreement import MAX_RESPONSE_BYTES, PATH, Agreement, Offer
from privity.protocol.secret import LIFETIME_SECONDS, SECRET_BYTES
from privity.roles.proxy.api_key import ApiKey
from privity.roles.proxy.headers import VERSION
from privity.roles.proxy.surroundings import Surroundings
from privity.transport.forward import api_error
from privity.transport.tasks import Background
from privity.transport.web import JSON

RENEWAL_SECONDS = LIFETIME_SECONDS - 15 * 60
"""Age at which a secret is renewed while it still works (wire-protocol.md section 3)."""

LAST_USE_SECONDS = LIFETIME_SECONDS - 60
"""Age at which a secret is not used any more: the deployment's clock may be ahead, and a request takes its time."""

ATTEMPTS = 4
RETRY_SECONDS = 1.0
"""An agreement that fails, other than for its key, is tried that often, with that pause."""

AGREEMENT_TIMEOUT = 10.0
"""Seconds for one attempt: it takes milliseconds."""

LOOK_SECONDS = 5.0
"""Seconds between two looks at the secret's age: so soon after a laptop woke up it has a fresh one."""

REFUSED_SECONDS = 60.0
"""The same after the gateway refused the key: it may have been allowed meanwhile."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Held:
    agreement: Agreement
    wall: float
    steady: float

    def age(self, now: Surroundings) -> float:
        """Return seconds, by the clock that says more."""
        return max(now.wall() - self.wall, now.steady() - self.steady)


class Agreements:
    """Holds one agreement, with one exchange for it under way at most.

    Args:
        http: who sends.
        gateway: its base URL.
        mesh_ca: whom the secret service's certificate must come from.
        api_key: knows the configured key. Where it knows none, the first one of an app that works is adopted, if one is
            needed.
        background: holds the exchange that is under way.
        surroundings: time and chance.
    """

    def __init__(
        self,
        http: HttpClient,
        gateway: str,
        mesh_ca: Certificate,
        api_key: ApiKey,
        background: Background,
        surroundings: Surroundings,
    ) -> None:
        self._http = http
        self._url = gateway + PATH
        self._mesh_ca = mesh_ca
        self._api_key = api_key
        self._adopted: bytes | None = None
        self._key_is_needed = False
        self._background = background
        self._surroundings = surroundings
        self._held: _Held | None = None
        self._exchange: asyncio.Task[Agreement | ApiError] | None = None
        self._exchange_key: bytes | None = None
        self.deployment_signs: bool | None = None
        """Whether the deployment's inference proxies are Privity's, which seal the end and sign their records: its
        secret service's certificate says so. None where there was no agreement yet."""

    @property
    def _configured(self) -> bytes | None:
        key = self._api_key.value()
        return None if key is None else b"Bearer " + key.encode()

    def authorization(self, headers: Headers) -> bytes | None:
        """Return the `Authorization` of a request: the configured key, else the app's own, else an adopted one."""
        return self._configured or _offered(headers) or self._adopted

    async def current(self, authorization: bytes | None) -> Agreement:
        """Return an agreement that can be used now; makes one where there is none.

        Args:
            authorization: that of the request, which pays for it where no other key is known.

        Raises:
            UnauthorizedError: the gateway wants another key.
            UnavailableError: the deployment can't be reached, or is not the one that is trusted.
        """
        key = self._configured or self._adopted or authorization
        while self._held is None or self._held.age(self._surroundings) >= LAST_USE_SECONDS:
            if key is None and self._key_is_needed:
                raise UnauthorizedError("An API key is needed: send it as a bearer token, or start the proxy with one.")
            exchange, exchange_key = self._under_way(key)
            result = await asyncio.shield(exchange)
            if isinstance(result, ApiError) and not (isinstance(result, UnauthorizedError) and exchange_key != key):
                try:
                    raise result
                finally:
                    del result  # else it holds this frame, which holds it
        return self._held.agreement

    def forget(self, secret_id: str) -> None:
        """Take note that the deployment doesn't know a secret any more."""
        if self._held is not None and self._held.agreement.secret.id == secret_id:
            self._held = None

    def refused(self, authorization: bytes | None) -> bytes | None:
        """Take note that the gateway refused a key: an adopted one is dropped.

        Returns:
            The configured key, where it is another one by now.
        """
        if authorization == self._adopted:
            self._adopted = None
        self._api_key.look()
        configured = self._configured
        return None if configured == authorization else configured

    async def keep_fresh(self) -> None:
        """Agree at the start, then renew in time, for ever. Where a key is needed it comes with an app's request."""
        while True:
            await self._surroundings.pause(await self._renew_if_due())

    async def _renew_if_due(self) -> float:
        """Return after how many seconds to look again."""
        key = self._configured or self._adopted
        is_due = self._held is None or self._held.age(self._surroundings) >= RENEWAL_SECONDS
        if not is_due or (key is None and self._key_is_needed):
            return LOOK_SECONDS
        exchange, _ = self._under_way(key)
        result = await asyncio.shield(exchange)
        if isinstance(result, ApiError):
            _LOG.warning("no secret could be agreed on", extra={"at": self._url, "error": result.message})
        return REFUSED_SECONDS if isinstance(result, UnauthorizedError) else LOOK_SECONDS

    def _under_way(self, key: bytes | None) -> "tuple[asyncio.Task[Agreement | ApiError], bytes | None]":
        """Return the exchange that is under way, begun with this key where there is none, and its key."""
        if self._exchange is None or self._exchange.done():
            self._exchange = self._background.start(self._agree(key), "secret agreement")
            self._exchange_key = key
        return self._exchange, self._exchange_key

    async def _agree(self, key: bytes | None) -> Agreement | ApiError:
        error: ApiError = UnavailableError("The deployment can't be reached.")
        for attempt in range(ATTEMPTS):
            if attempt and not isinstance(error, UnauthorizedError):  # with a fresh key there is nothing to wait for
                await self._surroundings.pause(RETRY_SECONDS)
            begun = self._surroundings.wall(), self._surroundings.steady()  # a secret is no younger than it seems
            try:
                agreement = await self._exchange_once(key, begun[0])
            except UnauthorizedError as refused:
                self._key_is_needed = True
                fresh = self.refused(key)
                if fresh is None:
                    return without_trace(refused)
                key, error = fresh, without_trace(refused)
            except (UpstreamError, TimeoutError) as failed:
                error = _unreached(failed)
            except ProtocolError as untrusted:  # as it will be the next time
                text = f"The deployment could not be verified: {untrusted}"
                return UnavailableError(text, code="deployment_not_verified")
            except ApiError as failed:
                error = without_trace(failed)
            else:
                self._held = _Held(agreement, *begun)
                self.deployment_signs = bool(self.deployment_signs) or agreement.authenticates_end
                if self._configured is None:
                    self._adopted = self._adopted or key
                _LOG.info("agreed on a secret")
                return agreement
        return error

    async def _exchange_once(self, key: bytes | None, now: float) -> Agreement:
        offer = Offer(self._surroundings.random(SECRET_BYTES))
        headers = [JSON, (b"privatemode-version", VERSION)]
        if key is not None:
            headers.append((b"authorization", key))
        async with asyncio.timeout(AGREEMENT_TIMEOUT):
            response = await self._http.request("POST", self._url, headers=headers, body=offer.request(), repeat=False)
            async with response:
                body = await response.read(MAX_RESPONSE_BYTES)
        if response.status == 401:
            raise UnauthorizedError("The gateway doesn't accept this API key.")
        if response.status != 200:
            raise UnavailableError(_no_secret(response.status), code="secret_service_unavailable")
        return offer.accept(body, self._mesh_ca, datetime.fromtimestamp(now, UTC))


def _unreached(error: Exception) -> ApiError:
    if isinstance(error, UpstreamUnreachableError):
        return api_error(error, "gateway")
    return UnavailableError("The gateway can't be reached at the moment.")


def _no_secret(status: int) -> str:
    if status == 404:
        return "There is no gateway at the configured address: it knows no secret agreement."
    if status in (502, 503, 504):
        return "The deployment's secret service can't be reached at the moment."
    return f"The gateway gave no secret: it answered with status {status}."


def _offered(headers: Headers) -> bytes | None:
    """Return the key that an app sends, as OpenAI's clients do or as Anthropic's."""
    bearer = header(headers, b"authorization")
    if bearer is not None:
        return bearer
    key = header(headers, b"x-api-key")
    return None if key is None else b"Bearer " + key
