"""Requests on to an inference proxy, and answers back: opaque bytes both ways, routed by headers."""

import logging
import os
import time
from contextlib import AsyncExitStack
from urllib.parse import quote

from privity.catalogue.catalogue import require_task
from privity.catalogue.model import Model
from privity.errors import EngineFailedError, EngineTimeoutError, InvalidRequestError, UnavailableError
from privity.http import Headers, HttpClient, header
from privity.protocol.ending import HEADER as END
from privity.protocol.exchange import Random
from privity.protocol.request_id import RANDOM_BYTES, loggable, uuid7
from privity.protocol.routed_model import HEADER as ROUTED_MODEL
from privity.protocol.routed_model import MEANS, RoutedModel
from privity.protocol.shard_key import HEADER as SHARD_KEY
from privity.protocol.shard_key import read_shard_key
from privity.roles.gateway.fleet import Fleet
from privity.roles.gateway.models import GatewayModels
from privity.roles.gateway.replica import Replica
from privity.streams import Stream
from privity.transport.forward import forward
from privity.transport.models_api.lifecycle import lifecycle_headers
from privity.transport.web import MAX_BODY, Reply, Request, StreamReply

MAX_WHOLE_BODY = 256 * 1024
"""Bytes up to which a request is read before it goes on; of a longer one only what is under way is in memory."""

REQUEST_ID = b"x-request-id"

_ENGINE_FAILED = (502, 503, 504)
"""The statuses by which an inference proxy says that its engine doesn't work."""

_PASSED_ON = frozenset(
    {
        END,
        MEANS,
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
        models: what each key may call.
        http: who sends.
        random: gives that many random bytes.
    """

    def __init__(self, fleet: Fleet, models: GatewayModels, http: HttpClient, random: Random = os.urandom) -> None:
        self._fleet = fleet
        self._models = models
        self._http = http
        self._random = random

    async def send(self, request: Request) -> Reply | StreamReply:
        """Send a request to a replica of the model that its header names, and return the answer as it comes.

        Raises:
            ApiError: no such model, or no answer.
        """
        view = self._models.view_for(request.headers)
        request.check_length(MAX_BODY)
        asked = _target_model(request.headers)
        model = self._fleet.find(asked, view)
        require_task(model, asked, request.path)
        replica = self._fleet.pick(model, read_shard_key(header(request.headers, SHARD_KEY)))
        own, lifecycle = _routed(asked, model, replica), lifecycle_headers(model.lifecycle)
        return await self.send_to(replica, request, own, lifecycle)

    async def send_to(
        self, replica: Replica, request: Request, own: Headers = (), remarks: Headers = (), limit: int = MAX_BODY
    ) -> Reply | StreamReply:
        """Send a request to a replica, and return the answer as it comes.

        Args:
            replica: where to.
            request: what to send.
            own: headers that it gets besides those of the client.
            remarks: headers that the answer gets besides its own.
            limit: bytes of the body.

        Raises:
            ApiError: no answer.
        """
        request_id = uuid7(time.time_ns() // 1_000_000, self._random(RANDOM_BYTES))
        _log(request, request_id, replica)
        async with AsyncExitStack() as held:
            place = _Place(replica)
            held.push_async_callback(place.aclose)
            reply = await self._forward(request, replica, [(REQUEST_ID, request_id.encode()), *own], limit)
            self._note(replica, reply.status)
            headers = [each for each in reply.headers if each[0] != REQUEST_ID]
            headers += [(REQUEST_ID, request_id.encode()), *remarks]
            if isinstance(reply, Reply):
                return Reply(reply.status, headers, reply.body)
            held.pop_all()
            return StreamReply(reply.status, headers, Stream(reply.chunks, place))

    def _note(self, replica: Replica, status: int) -> None:
        now = self._fleet.clock()
        if status in _ENGINE_FAILED:
            replica.health.answer_failed(now)
        else:
            replica.health.answered(now)

    async def _forward(self, request: Request, replica: Replica, own: Headers, limit: int) -> Reply | StreamReply:
        length = request.content_length
        small = length is not None and length <= MAX_WHOLE_BODY
        body = await request.body(limit) if small else request.stream(limit)
        headers = [each for each in request.headers if each[0] in _PASSED_ON]
        headers += own
        url = replica.url + quote(request.path)
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
        except (EngineFailedError, EngineTimeoutError):
            replica.health.answer_failed(self._fleet.clock())
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


def _routed(asked: str, model: Model, replica: Replica) -> Headers:
    """Return what says which model is meant by a name that the gateway gave it."""
    served = replica.find(model.id)
    if served is not None and asked in served.ids:
        return []
    return [(ROUTED_MODEL, RoutedModel(model.id, model.answer_id(asked)).encode())]


def _log(request: Request, request_id: str, replica: Replica) -> None:
    if _LOG.isEnabledFor(logging.INFO):
        theirs = (header(request.headers, b"privatemode-user-request-id") or b"").decode("latin-1")
        extra = {"id": request_id, "client_id": loggable(theirs), "replica": replica.url}
        _LOG.info("forwarding", extra=extra)
