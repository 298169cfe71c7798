"""The way to a gateway, as all that a proxy asks of it goes."""

import asyncio
from dataclasses import dataclass

from privity.catalogue.rows import MAX_LIST_BYTES
from privity.errors import EngineTimeoutError, UpstreamError
from privity.http import Headers, HttpClient
from privity.protocol.request_id import RANDOM_BYTES, uuid7
from privity.roles.proxy.agreements import Agreements
from privity.roles.proxy.headers import HeaderPolicy
from privity.roles.proxy.surroundings import Surroundings
from privity.transport.forward import api_error
from privity.transport.web import Reply

LIST_TIMEOUT = 10.0
"""Seconds until the gateway must say what there is: it knows that by heart."""

MAX_REFUSAL_BYTES = 256 * 1024
"""Bytes of an error, whose message may name what was asked for."""


@dataclass(frozen=True, slots=True)
class GatewayLink:
    """What is needed to ask a gateway."""

    http: HttpClient
    url: str
    """Its base URL."""
    agreements: Agreements
    """Holds the secret that is shared with the deployment, and the API key."""
    policy: HeaderPolicy
    """What each request says of this proxy and its user."""
    surroundings: Surroundings
    """Time and chance."""

    def request_id(self) -> str:
        """Return what a request is known by (wire-protocol.md section 2)."""
        milliseconds = int(self.surroundings.wall() * 1000)
        return f"proxy_{uuid7(milliseconds, self.surroundings.nonces(RANDOM_BYTES))}"

    async def look(self, key: bytes | None, path: str, headers: Headers = (), patience: float = 0.0) -> Reply:
        """Ask for what isn't encrypted; an app's own headers don't go there.

        Args:
            key: the `Authorization`.
            path: with its query.
            headers: further ones.
            patience: seconds that the gateway may take besides, where it shall wait for something.

        Raises:
            ApiError: there is no answer.
        """
        own = [*self.policy.common((), key), (b"privatemode-user-request-id", self.request_id().encode()), *headers]
        try:
            async with asyncio.timeout(LIST_TIMEOUT + patience):
                response = await self.http.request("GET", self.url + path, headers=own)
                async with response:
                    limit = MAX_LIST_BYTES if response.status == 200 else MAX_REFUSAL_BYTES
                    reply = Reply(response.status, response.headers, await response.read(limit))
        except TimeoutError as error:
            raise EngineTimeoutError("The gateway did not answer in time.") from error
        except UpstreamError as error:
            raise api_error(error, "gateway") from error
        if reply.status == 401:
            self.agreements.refused(key)
        return reply
