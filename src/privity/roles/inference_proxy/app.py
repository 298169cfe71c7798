"""Routes of an inference proxy."""

import asyncio
import os
from functools import partial

from privity.engines.documents import DocumentBackend
from privity.errors import ApiError, NotSupportedError
from privity.http import header
from privity.protocol.endpoints import ENDPOINTS, MAX_DOCUMENT, Endpoint, Form
from privity.protocol.exchange import Random
from privity.protocol.ocsp_policy import GpuStatus
from privity.protocol.routed_model import routed_model
from privity.protocol.secret import Secret
from privity.roles.inference_proxy.encryption import AnswerSeal, OpenedRequest, SealedRequest, SecretSource
from privity.roles.inference_proxy.gpu_policy import check_policy
from privity.roles.inference_proxy.patience import KEEP_ALIVE_SECONDS, begun
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
    require_json,
)
from privity.transport.web_app import WebApp

LARGE_BODY = 1024 * 1024
"""Bytes of a request from which on reading and decrypting it takes longer than others should wait: some 10 ms."""

DOCUMENT = b"application/octet-stream"
"""What a document is that nobody says more of (RFC 9110 section 8.3)."""

_NO_STORE = (b"cache-control", b"no-store")
_METHODS = ("DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT")


def build_app(
    proxy: InferenceProxy,
    secrets: SecretSource,
    background: Background,
    statuses: tuple[GpuStatus, ...] = (),
    random: Random = os.urandom,
    documents: DocumentBackend | None = None,
    keep_alive: float = KEEP_ALIVE_SECONDS,
) -> WebApp:
    """Return the application.

    Args:
        proxy: what it serves.
        secrets: where it has clients' secrets from.
        background: holds the tasks that look after clients.
        statuses: the OCSP statuses of the machine's GPUs, which each client's policy must accept.
        random: gives that many random bytes.
        documents: what reads documents, if anything does.
        keep_alive: seconds without a sign of an engine until streams to Privity's own clients give one.
    """

    async def refuse(_request: Request) -> Reply:
        raise NotSupportedError("Nothing is behind this path. GET /v1/models is a good start.")

    routes: dict[str, dict[str, Handler]] = {
        endpoint.path: {"POST": _answering(endpoint, proxy, secrets, statuses, random, keep_alive)}
        for endpoint in ENDPOINTS
        if endpoint.form is not Form.WHOLE
    }
    routes |= {
        endpoint.path: {"POST": _reading(endpoint, documents, secrets, random)}
        for endpoint in ENDPOINTS
        if endpoint.form is Form.WHOLE
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
    keep_alive: float,
) -> Handler:
    """Return what answers at an encrypted endpoint. What it raises is answered in clear, all else encrypted."""

    async def answer(request: Request) -> Reply | StreamReply:
        if endpoint.form is Form.JSON:
            require_json(request)
        sealed = await _sealed(endpoint, request, MAX_BODY)
        secret = await secrets.find(sealed.secret_id)
        check_policy(request.headers, secret, statuses)
        opened = await _opened(sealed, secret, random)
        try:
            is_led = not opened.is_sure or opened.means is not None
            routed = routed_model(request.headers) if is_led else None
            work = proxy.answer(request.path, opened.content, routed, opened.means)
            given = await (begun(work, opened.content, keep_alive) if opened.is_sure else work)
        except ApiError as error:
            return _refusal(error, opened.seal, as_event=wants_events(request.headers))
        if not isinstance(given, dict):
            comments = keep_alive if opened.is_sure else None  # deployed clients don't know comments
            chunks, last_words = opened.seal.events(200, given), opened.seal.error_event
            return StreamReply(200, [EVENTS, _NO_STORE], chunks, comments, last_words)
        headers, encrypted = opened.seal.whole(200, given)
        return Reply(200, [JSON, *headers], encrypted)

    return answer


def _reading(endpoint: Endpoint, documents: DocumentBackend | None, secrets: SecretSource, random: Random) -> Handler:
    """Return what answers at an endpoint for documents, whose answers' values keep their bytes."""

    async def answer(request: Request) -> Reply:
        sealed = await _sealed(endpoint, request, MAX_DOCUMENT)
        opened = await _opened(sealed, await secrets.find(sealed.secret_id), random)
        try:
            if documents is None or not isinstance(opened.content, bytes):
                raise NotSupportedError("No document backend is configured here.")
            kind = header(request.headers, b"content-type") or DOCUMENT
            path = request.path.removeprefix(endpoint.path.rstrip("/"))
            headers, encrypted = opened.seal.exact(200, await documents.read(path, kind, opened.content))
        except ApiError as error:
            return _refusal(error, opened.seal, as_event=wants_events(request.headers))
        return Reply(200, [JSON, *headers], encrypted)

    return answer


async def _sealed(endpoint: Endpoint, request: Request, limit: int) -> SealedRequest:
    """Receive a request of so many bytes at most and read it: a large one in a thread, so that others go on."""
    body = await request.body(limit)
    read = partial(SealedRequest, endpoint, request.path, request.headers, body)
    return await asyncio.to_thread(read) if len(body) >= LARGE_BODY else read()


async def _opened(sealed: SealedRequest, secret: Secret, random: Random) -> OpenedRequest:
    """Decrypt a request: a large one in a thread, where `random`, which is the event loop's, isn't used."""
    return await asyncio.to_thread(sealed.open, secret) if sealed.size >= LARGE_BODY else sealed.open(secret, random)


def _refusal(error: ApiError, seal: AnswerSeal, *, as_event: bool) -> Reply:
    headers, encrypted = seal.error(error, as_event=as_event)
    kind = EVENTS if as_event else JSON
    return Reply(error.status, [kind, NO_SNIFFING, *error.headers, *headers], encrypted)
