"""Routes of a gateway. It reads headers and never a body."""

from privity.errors import NotSupportedError
from privity.http import header
from privity.protocol.agreement import MAX_REQUEST_BYTES, PATH
from privity.protocol.endpoints import ENDPOINTS, Form
from privity.roles.gateway.fleet import Fleet
from privity.roles.gateway.forwarder import Forwarder
from privity.roles.gateway.secret_services import SecretServices
from privity.transport.tasks import Background
from privity.transport.web import PLAIN, Handler, Reply, Request, StreamReply, WebApp, json_reply


def build_app(fleet: Fleet, forwarder: Forwarder, secrets: SecretServices, background: Background) -> WebApp:
    """Return the application."""

    async def list_models(_request: Request) -> Reply:
        return json_reply({"object": "list", "data": fleet.catalogue.rows})

    async def retrieve_model(request: Request) -> Reply:
        return json_reply(fleet.find(request.tail).row(request.tail))

    async def agree(request: Request) -> Reply | StreamReply:
        kind = header(request.headers, b"content-type")
        headers = [] if kind is None else [(b"content-type", kind)]
        return await secrets.agree(headers, await request.body(MAX_REQUEST_BYTES))

    async def attest(_request: Request) -> Reply:
        raise NotSupportedError("This deployment is not attested: its clients are given the mesh CA's certificate.")

    # Documents (`/unstructured/`) name no model, and nothing that reads them is behind this gateway.
    routed = (endpoint for endpoint in ENDPOINTS if endpoint.form is not Form.WHOLE)
    routes: dict[str, dict[str, Handler]] = {endpoint.path: {"POST": forwarder.send} for endpoint in routed}
    routes["/v1/models"] = {"GET": list_models}
    routes["/v1/models/"] = {"GET": retrieve_model}
    routes[PATH] = {"POST": agree}
    routes["/privatemode/v1/attest"] = {"POST": attest}
    return WebApp(routes, background, error_headers=[PLAIN])
