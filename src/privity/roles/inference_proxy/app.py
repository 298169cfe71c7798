"""Routes of an inference proxy."""

import os

from privity.errors import ApiError, NotSupportedError
from privity.protocol.endpoints import ENDPOINTS, Endpoint, Form
from privity.protocol.exchange import Random
from privity.protocol.ocsp_policy import GpuStatus
from privity.protocol.routed_model import routed_model
from privity.roles.inference_proxy.encryption import AnswerSeal, SealedRequest, SecretSource
from privity.roles.inference_proxy.gpu_policy import check_policy
from privity.roles.inference_proxy.service import InferenceProxy
from privity.transport.error_forms import wants_events
from privity.transport.models_api.routes import models_routes
from privity.transport.tasks import Background
from privity.transport.web import (
    EVENTS,
    JSON,
    MAX_BODY,
    NO_SNIFFING,
    PLAIN,
    Handler,
    Reply,
    Request,
    StreamReply,
    WebApp,
    require_json,
)

MAX_DOCUMENT = 50 * 1024 * 1024
"""Bytes of a document's request (wire-protocol.md section 9)."""

_NO_STORE = (b"cache-control", b"no-store")
_METHODS = ("DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT")


def build_app(
    proxy: InferenceProxy,
    secrets: SecretSource,
    background: Background,
    statuses: tuple[GpuStatus, ...] = (),
    random: Random = os.urandom,
) -> WebApp:
    """Return the application.

    Args:
        proxy: what it serves.
        secrets: where it has clients' secrets from.
        background: holds the tasks that look after clients.
        statuses: the OCSP statuses of the machine's GPUs, which each client's policy must accept.
        random: gives that many random bytes.
    """

    async def refuse(_request: Request) -> Reply:
        raise NotSupportedError("Nothing is behind this path. GET /v1/models is a good start.")

    routes: dict[str, dict[str, Handler]] = {
        endpoint.path: {"POST": _answering(endpoint, proxy, secrets, statuses, random)} for endpoint in ENDPOINTS
    }
    routes |= models_routes(proxy)
    routes["/"] = dict.fromkeys(_METHODS, refuse)  # comes last: all other paths
    return WebApp(routes, background, error_headers=[PLAIN])


def _answering(
    endpoint: Endpoint,
    proxy: InferenceProxy,
    secrets: SecretSource,
    statuses: tuple[GpuStatus, ...],
    random: Random,
) -> Handler:
    """Return what answers at an encrypted endpoint. What it raises is answered in clear, all else encrypted."""

    async def answer(request: Request) -> Reply | StreamReply:
        if endpoint.form is Form.JSON:
            require_json(request)
        body = await request.body(MAX_DOCUMENT if endpoint.form is Form.WHOLE else MAX_BODY)
        sealed = SealedRequest(endpoint, request.path, request.headers, body)
        secret = await secrets.find(sealed.secret_id)
        if endpoint.form is not Form.WHOLE:
            check_policy(request.headers, secret, statuses)
        opened = sealed.open(secret, random)
        try:
            is_led = not opened.is_sure or opened.means is not None
            routed = routed_model(request.headers) if is_led else None
            given = await proxy.answer(request.path, opened.content, routed, opened.means)
        except ApiError as error:
            return _refusal(error, opened.seal, as_event=wants_events(request.headers))
        if not isinstance(given, dict):
            return StreamReply(200, [EVENTS, _NO_STORE], opened.seal.events(200, given))
        headers, encrypted = opened.seal.whole(200, given)
        return Reply(200, [JSON, *headers], encrypted)

    return answer


def _refusal(error: ApiError, seal: AnswerSeal, *, as_event: bool) -> Reply:
    headers, encrypted = seal.error(error, as_event=as_event)
    kind = EVENTS if as_event else JSON
    return Reply(error.status, [kind, NO_SNIFFING, *error.headers, *headers], encrypted)
