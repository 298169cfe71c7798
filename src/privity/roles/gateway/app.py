"""Routes of a gateway. It reads headers and never a body."""

from contextlib import AsyncExitStack

from privity.catalogue.catalogue import require_task
from privity.catalogue.model import TASK_OF_ENDPOINT
from privity.errors import InvalidRequestError, UnavailableError
from privity.http import HttpClient, header
from privity.roles.gateway.fleet import Fleet, Replica
from privity.streams import Stream
from privity.transport.forward import forward
from privity.transport.tasks import Background
from privity.transport.web import MAX_BODY, Handler, Reply, Request, StreamReply, WebApp, json_reply

MAX_WHOLE_BODY = 256 * 1024
"""Bytes up to which a request is read before it goes on; of a longer one only what is under way is in memory."""

_PASSED_ON = frozenset({b"accept", b"content-type"})


def build_app(fleet: Fleet, http: HttpClient, background: Background) -> WebApp:
    """Return the application."""

    async def list_models(_request: Request) -> Reply:
        return json_reply({"object": "list", "data": fleet.catalogue.rows})

    async def retrieve_model(request: Request) -> Reply:
        return json_reply(fleet.find(request.tail).row(request.tail))

    async def infer(request: Request) -> Reply | StreamReply:
        request.check_length(MAX_BODY)
        asked = _target_model(request)
        model = fleet.find(asked)
        require_task(model, asked, request.path)
        return await _send_on(request, fleet, fleet.pick(model), http)

    routes: dict[str, dict[str, Handler]] = {endpoint: {"POST": infer} for endpoint in TASK_OF_ENDPOINT}
    routes["/v1/models"] = {"GET": list_models}
    routes["/v1/models/"] = {"GET": retrieve_model}
    return WebApp(routes, background)


def _target_model(request: Request) -> str:
    """Return the model that the proxy names in a header: bodies are not read here (wire-protocol.md section 2)."""
    value = header(request.headers, b"privatemode-target-model")
    if value is None:
        raise InvalidRequestError(
            "The header Privatemode-Target-Model is missing. Applications talk to `privity proxy`, not to the gateway.",
            code="missing_model",
        )
    return value.decode(errors="replace")


async def _send_on(request: Request, fleet: Fleet, replica: Replica, http: HttpClient) -> Reply | StreamReply:
    length = request.content_length
    small = length is not None and length <= MAX_WHOLE_BODY
    body = await request.body(MAX_BODY) if small else request.stream(MAX_BODY)
    headers = [(name, value) for name, value in request.headers if name in _PASSED_ON]
    url = replica.url + request.path
    async with AsyncExitStack() as held:
        place = _Place(replica)
        held.push_async_callback(place.aclose)
        try:
            reply = await forward(http, request.method, url, headers=headers, body=body, peer="inference proxy")
        except UnavailableError:
            fleet.lost(replica)
            raise
        if isinstance(reply, Reply):
            return reply
        held.pop_all()
        return StreamReply(reply.status, reply.headers, Stream(reply.chunks, place))


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
