"""Routes of an inference proxy."""

from collections.abc import AsyncGenerator

import msgspec

from privity.catalogue.model import TASK_OF_ENDPOINT
from privity.engines.engine import Json
from privity.errors import ApiError
from privity.protocol.event_stream import encode_event
from privity.roles.inference_proxy.service import InferenceProxy
from privity.streams import Stream, owning
from privity.transport.forward import error_event
from privity.transport.tasks import Background
from privity.transport.web import MAX_BODY, Handler, Reply, Request, StreamReply, WebApp, json_reply, require_json

_EVENTS = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
_encode = msgspec.json.Encoder().encode


def build_app(proxy: InferenceProxy, background: Background) -> WebApp:
    """Return the application."""

    async def list_models(_request: Request) -> Reply:
        return json_reply({"object": "list", "data": proxy.catalogue.rows})

    async def retrieve_model(request: Request) -> Reply:
        asked = request.tail
        return json_reply(proxy.catalogue.find(asked).row(asked))

    async def infer(request: Request) -> Reply | StreamReply:
        require_json(request)
        answer = await proxy.answer(request.path, await request.body(MAX_BODY))
        return json_reply(answer) if isinstance(answer, dict) else StreamReply(200, _EVENTS, _encoded(answer))

    routes: dict[str, dict[str, Handler]] = {endpoint: {"POST": infer} for endpoint in TASK_OF_ENDPOINT}
    routes["/v1/models"] = {"GET": list_models}
    routes["/v1/models/"] = {"GET": retrieve_model}
    return WebApp(routes, background)


@owning
async def _encoded(events: Stream[Json]) -> AsyncGenerator[bytes]:
    try:
        async for event in events:
            yield encode_event(_encode(event))
    except ApiError as error:
        yield error_event(error)
        return
    yield encode_event(b"[DONE]")
