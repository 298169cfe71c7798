"""Routes of a gateway. It reads headers and never a body."""

from collections.abc import Callable

from privity.errors import NotSupportedError
from privity.http import header
from privity.protocol.agreement import MAX_REQUEST_BYTES, PATH
from privity.protocol.endpoints import ENDPOINTS, Form
from privity.roles.gateway.documents import DocumentForwarder
from privity.roles.gateway.forwarder import Forwarder
from privity.roles.gateway.models import GatewayModels
from privity.roles.gateway.secret_services import SecretServices
from privity.transport.cors import Cors
from privity.transport.models_api.routes import models_routes
from privity.transport.openapi.document import document_route
from privity.transport.openapi.gateway import gateway_document
from privity.transport.tasks import Background
from privity.transport.web import PLAIN, Handler, Reply, Request, StreamReply
from privity.transport.web_app import WebApp


def build_app(
    models: GatewayModels,
    forwarder: Forwarder,
    documents: DocumentForwarder,
    secrets: SecretServices,
    background: Background,
    *,
    collapses: Callable[[], bool] = lambda: False,
    cors: Cors | None = None,
) -> WebApp:
    """Return the application.

    Args:
        models: what each key may use.
        forwarder: sends requests on.
        documents: sends documents on.
        secrets: agree on secrets.
        background: holds the tasks that look after clients.
        collapses: whether only canonical IDs are listed where a client doesn't say.
        cors: answers web pages.
    """

    async def agree(request: Request) -> Reply | StreamReply:
        models.keys.groups(request.headers)  # without a key nobody gets a secret
        kind = header(request.headers, b"content-type")
        headers = [] if kind is None else [(b"content-type", kind)]
        return await secrets.agree(headers, await request.body(MAX_REQUEST_BYTES))

    async def attest(_request: Request) -> Reply:
        raise NotSupportedError("This deployment is not attested: its clients are given the mesh CA's certificate.")

    routes: dict[str, dict[str, Handler]] = {
        endpoint.path: {"POST": documents.send if endpoint.form is Form.WHOLE else forwarder.send}
        for endpoint in ENDPOINTS
    }
    routes |= models_routes(models, collapses) | document_route(gateway_document())
    routes[PATH] = {"POST": agree}
    routes["/privatemode/v1/attest"] = {"POST": attest}
    return WebApp(routes, background, error_headers=[PLAIN], cors=cors)
