"""A gateway's refusals, as an app may see them."""

from dataclasses import replace

import msgspec

from privity.errors import ApiError
from privity.protocol.event_stream import encode_event
from privity.transport.error_forms import encode_error, wants_events
from privity.transport.web import EVENTS, JSON, NO_SNIFFING, Reply, Request

_PASSED_ON = frozenset({b"retry-after", b"x-request-id"})


class _Said(msgspec.Struct):
    message: str


class _Body(msgspec.Struct):
    error: _Said


class _RefusedError(ApiError):
    """What a gateway said instead of an answer."""

    def __init__(self, status: int, body: bytes) -> None:
        try:
            message = msgspec.json.decode(body, type=_Body).error.message
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            message = f"The gateway answered with status {status}."
        super().__init__(message)
        self.status = status  # type: ignore[misc]  # no class of ours has just this one


def refusal(reply: Reply) -> Reply:
    """Return a refusal in OpenAI's form: whatever a gateway sends, HTML for one, isn't taken for our own page."""
    kept = [each for each in reply.headers if each[0] in _PASSED_ON]
    status = reply.status if reply.status >= 400 else 502
    body = reply.body
    try:
        msgspec.json.decode(body, type=dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = msgspec.json.encode(_RefusedError(reply.status, body).body())
    return Reply(status, [JSON, NO_SNIFFING, *kept], body)


def as_asked(refused: Reply, request: Request) -> Reply:
    """Return a refusal in the form of the API that was asked, and as an event where one is wanted."""
    error = _RefusedError(refused.status, refused.body)
    body = encode_error(error, request.path, request.headers)
    if body == msgspec.json.encode(error.body()):
        body = refused.body
    if not wants_events(request.headers):
        return replace(refused, body=body)
    headers = [EVENTS if each == JSON else each for each in refused.headers]
    return replace(refused, headers=headers, body=encode_event(body, b"error"))
