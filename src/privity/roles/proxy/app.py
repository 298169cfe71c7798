"""Routes of a proxy."""

from urllib.parse import quote

from privity.catalogue.model import TASK_OF_ENDPOINT
from privity.roles.proxy.guard import Guard
from privity.roles.proxy.service import Proxy
from privity.transport.tasks import Background
from privity.transport.web import MAX_BODY, Handler, Reply, Request, StreamReply, WebApp, require_json


def build_app(proxy: Proxy, guard: Guard, background: Background) -> WebApp:
    """Return the application."""

    async def list_models(request: Request) -> Reply | StreamReply:
        return await proxy.list_models(request.headers)

    async def retrieve_model(request: Request) -> Reply | StreamReply:
        return await proxy.retrieve_model(quote(request.tail, safe=""), request.headers)

    async def infer(request: Request) -> Reply | StreamReply:
        require_json(request)
        return await proxy.infer(request.path, request.headers, await request.body(MAX_BODY))

    routes: dict[str, dict[str, Handler]] = {endpoint: {"POST": infer} for endpoint in TASK_OF_ENDPOINT}
    routes["/v1/models"] = {"GET": list_models}
    routes["/v1/models/"] = {"GET": retrieve_model}
    return WebApp(routes, background, check=guard.check)
