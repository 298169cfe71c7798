"""Requests on to an inference proxy, and answers back: opaque bytes both ways, routed by headers."""

import logging
import os
import time
from contextlib import AsyncExitStack

from privity.catalogue.catalogue import require_task
from privity.errors import InvalidRequestError, UnavailableError
from privity.http import Headers, HttpClient, header
from privity.protocol.ending import HEADER as END
from privity.protocol.exchange import Random
from privity.protocol.request_id import RANDOM_BYTES, loggable, uuid7
from privity.roles.gateway.fleet import Fleet, Replica
from privity.streams import Stream
from privity.transport.forward import forward
from privity.transport.web import MAX_BODY, Reply, Request, StreamReply

MAX_WHOLE_BODY = 256 * 1024
"""Bytes up to which a request is read before it goes on; of a longer one only what is under way is in memory."""

REQUEST_ID = b"x-request-id"

_PASSED_ON = frozenset(
    {
        END,
        b"accept",
        b"anthropic-beta",
        b"anthropic-version",
        b"content-type",
        b"privatemode-client",
        b"privatemode-nvidia-ocsp-policy",
        b"privatemode-nvidia-ocsp-policy-mac",
        b"privatemode-secret-id",
        b"privatemode-user-request-id",
        b"privatemode-version",
    }
)
"""The client's headers that an inference proxy sees: no key is among them."""

_LOG = logging.getLogger(__name__)


class Forwarder:
    """Sends requests to the replicas of a fleet.

    Args:
        fleet: the replicas.
        http: who sends.
        random: gives that many random bytes.
    """

    def __init__(self, fleet: Fleet, http: HttpClient, random: Random = os.urandom) -> None:
        self._fleet = fleet
        self._http = http
        self._random = random

    async def send(self, request: Request) -> Reply | StreamReply:
        """Send a request to a replica of the model that its header names, and return the answer as it comes.

        Raises:
            ApiError: no such model, or no answer.
        """
        request.check_length(MAX_BODY)
        asked = _target_model(request.headers)
        model = self._fleet.find(asked)
        require_task(model, asked, request.path)
        replica = self._fleet.pick(model)
        request_id = uuid7(time.time_ns() // 1_000_000, self._random(RANDOM_BYTES))
        _log(request, request_id, replica)
        async with AsyncExitStack() as held:
            place = _Place(replica)
            held.push_async_callback(place.aclose)
            reply = await self._forward(request, replica, request_id)
            headers = [*[each for each in reply.headers if each[0] != REQUEST_ID], (REQUEST_ID, request_id.encode())]
            if isinstance(reply, Reply):
                return Reply(reply.status, headers, reply.body)
            held.pop_all()
            return StreamReply(reply.status, headers, Stream(reply.chunks, place))

    async def _forward(self, request: Request, replica: Replica, request_id: str) -> Reply | StreamReply:
        length = request.content_length
        small = length is not None and length <= MAX_WHOLE_BODY
        body = await request.body(MAX_BODY) if small else request.stream(MAX_BODY)
        headers = [each for each in request.headers if each[0] in _PASSED_ON]
        headers.append((REQUEST_ID, request_id.encode()))
        url = replica.url + request.path
        try:
            return await forward(
                self._http,
                request.method,
                url,
                headers=headers,
                body=body,
                peer="inference proxy",
            )
        except UnavailableError:
            self._fleet.lost(replica)
            raise


class _Place:
    """A request's place at a replica, until it is closed."""

    def __init__(self, replica: Replica) -> None:
        self._replica: Replica | None = replica
        replica.in_flight += 1

    async def aclose(self) -> None:
        """Give the place back."""
        if self._replica is not None:
            self._replica.in_flight -= 1
            self._replica = None


def _target_model(headers: Headers) -> str:
    """Return the model that the proxy names in a header: bodies are not read here (wire-protocol.md section 2)."""
    value = header(headers, b"privatemode-target-model")
    if value is None:
        raise InvalidRequestError(
            "The header Privatemode-Target-Model is missing. Applications talk to `privity proxy`, not to the gateway.",
            code="missing_model",
        )
    return value.decode(errors="replace")


def _log(request: Request, request_id: str, replica: Replica) -> None:
    if _LOG.isEnabledFor(logging.INFO):
        theirs = (header(request.headers, b"privatemode-user-request-id") or b"").decode("latin-1")
        extra = {"id": request_id, "client_id": loggable(theirs), "replica": replica.url}
        _LOG.info("forwarding", extra=extra)
