"""Routes of a secret service: one application for clients, one for inference proxies."""

import msgspec

from privity.errors import InvalidRequestError, UnknownSecretError
from privity.protocol.agreement import MAX_REQUEST_BYTES, PATH
from privity.roles.secret_service.service import SecretService
from privity.transport.tasks import Background
from privity.transport.web import JSON, Reply, Request, json_reply, require_json
from privity.transport.web_app import WebApp

MAX_HAND_OUT_BODY = 1024
"""Bytes of a question for a secret: an ID has 44."""


class _Wanted(msgspec.Struct):
    id: str


def build_agreement_app(service: SecretService, background: Background) -> WebApp:
    """Return what clients see, through the gateway."""

    async def agree(request: Request) -> Reply:
        require_json(request)
        return Reply(200, [JSON], await service.agree(await request.body(MAX_REQUEST_BYTES)))

    return WebApp({PATH: {"POST": agree}}, background)


def build_hand_out_app(service: SecretService, background: Background) -> WebApp:
    """Return what inference proxies see, and nobody else may: `POST /secrets`."""

    async def hand_out(request: Request) -> Reply:
        secret_id = _wanted(await request.body(MAX_HAND_OUT_BODY))
        found = await service.hand_out(secret_id)
        if found is None:
            return json_reply(UnknownSecretError(secret_id).body(), 404)  # a 500 in front of clients only
        secret, seconds_left = found
        return json_reply({"key": secret.key, "expires_in": seconds_left})

    return WebApp({"/secrets": {"POST": hand_out}}, background)


def _wanted(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Wanted).id
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise InvalidRequestError('The body looks like {"id": "<secret ID>"}.') from None
