"""Routes of a proxy."""

from privity.errors import UnsupportedMediaError
from privity.http import header
from privity.protocol.endpoints import ENDPOINTS, MAX_DOCUMENT, Form, endpoint_of
from privity.roles.proxy.dump import Dumper
from privity.roles.proxy.guard import Guard
from privity.roles.proxy.models import ProxyModels
from privity.roles.proxy.request import MAX_FILE
from privity.roles.proxy.service import Proxy
from privity.transport.cors import Cors
from privity.transport.models_api.routes import models_routes
from privity.transport.openapi.document import document_route
from privity.transport.openapi.proxy import proxy_document
from privity.transport.tasks import Background
from privity.transport.web import MAX_BODY, Handler, Reply, Request, StreamReply, require_json
from privity.transport.web_app import WebApp

MAX_UNSTRUCTURED_BODY = MAX_DOCUMENT // 2 - 1024
"""Bytes of a document's request: encrypted it is twice as long, and a little more than that."""

MAX_UPLOAD = MAX_FILE + 1024 * 1024
"""Bytes of a form: a file and its other fields."""

_LIMITS = {Form.JSON: (MAX_BODY - 1024 * 1024) // 2, Form.MULTIPART: MAX_UPLOAD, Form.WHOLE: MAX_UNSTRUCTURED_BODY}
"""Bytes of a plain body, whose hex must fit into what the deployment takes."""


def build_app(
    proxy: Proxy, models: ProxyModels, guard: Guard, background: Background, cors: Cors, dumper: Dumper | None = None
) -> WebApp:
    """Return the application. A dumper writes what is asked of engines."""

    async def infer(request: Request) -> Reply | StreamReply:
        endpoint = endpoint_of(request.path)
        form = endpoint.form if endpoint is not None else Form.JSON
        if form is Form.JSON:
            require_json(request)
        elif form is Form.MULTIPART:
            _require_form(request)
        return await proxy.infer(request.path, request.headers, await request.body(_LIMITS[form]))

    handler = infer if dumper is None else dumper.watching(infer)
    routes: dict[str, dict[str, Handler]] = {endpoint.path: {"POST": handler} for endpoint in ENDPOINTS}
    routes |= models_routes(models) | document_route(proxy_document())
    return WebApp(routes, background, check=guard.check, cors=cors)


def _require_form(request: Request) -> None:
    kind = header(request.headers, b"content-type") or b""
    if not kind.lower().startswith(b"multipart/form-data"):
        raise UnsupportedMediaError("This endpoint takes multipart/form-data.")
