"""One request on to the next role, and its answer back, untouched."""

from collections.abc import AsyncGenerator, AsyncIterator

import msgspec

from privity.errors import (
    ApiError,
    EngineFailedError,
    EngineTimeoutError,
    UnavailableError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from privity.http import Headers, HttpClient, Response, header
from privity.protocol.event_stream import MAX_EVENT_BYTES, encode_event, end_of_whole_events
from privity.streams import owning
from privity.transport.web import Reply, StreamReply

MAX_WHOLE_ANSWER = 256 * 1024
"""Bytes up to which an answer of known length is passed on in one piece; a longer one goes as it comes."""

_PASSED_ON = frozenset({b"allow", b"cache-control", b"content-type", b"retry-after", b"x-content-type-options"})
"""The headers of an answer that the next role up may see."""


async def forward(
    client: HttpClient,
    method: str,
    url: str,
    *,
    headers: Headers,
    body: bytes | AsyncIterator[bytes],
    peer: str,
) -> Reply | StreamReply:
    """Send a request on and return the answer as it comes.

    Args:
        client: who sends.
        method: in upper case.
        url: where to.
        headers: all that the next role may see.
        body: opaque.
        peer: what the next role is called in an error message.

    Raises:
        ApiError: the next role gave no answer; `UnavailableError` where no connection could be had.
    """
    try:
        response = await client.request(method, url, headers=headers, body=body)
    except UpstreamError as error:
        raise api_error(error, peer) from error
    kept = [(name, value) for name, value in response.headers if name in _PASSED_ON]
    length = header(response.headers, b"content-length")
    if length is None or int(length) > MAX_WHOLE_ANSWER:
        return StreamReply(response.status, kept, _relay(response, peer))
    try:
        async with response:
            return Reply(response.status, kept, await response.read(MAX_WHOLE_ANSWER))
    except UpstreamError as error:
        raise api_error(error, peer) from error


@owning
async def _relay(response: Response, peer: str) -> AsyncGenerator[bytes]:
    if (header(response.headers, b"content-type") or b"").startswith(b"text/event-stream"):
        async for piece in _whole_events(response, peer):
            yield piece
    else:
        async for chunk in response.chunks():
            yield chunk


async def _whole_events(response: Response, peer: str) -> AsyncGenerator[bytes]:
    """Yield an event stream up to its last whole event; where it breaks off, an error takes the place of the rest."""
    held = b""
    try:
        async for chunk in response.chunks():
            unsent = held + chunk
            end = end_of_whole_events(unsent)
            if end:
                yield unsent[:end]
            held = unsent[end:]
            if len(held) > MAX_EVENT_BYTES:
                raise UpstreamProtocolError("an endless event")
    except UpstreamError as error:
        yield error_event(api_error(error, peer))
    else:
        if held:
            yield held


def error_event(error: ApiError) -> bytes:
    """Return an error as the last event of a stream."""
    return encode_event(msgspec.json.encode(error.body()), b"error")


def api_error(error: UpstreamError, peer: str) -> ApiError:
    """Return what an app is told about a failure of the next role."""
    match error:
        case UpstreamUnreachableError():
            return UnavailableError(f"The {peer} can't be reached at the moment.")
        case UpstreamTimeoutError():
            return EngineTimeoutError(f"The {peer} did not answer in time.")
        case _:
            return EngineFailedError(f"The {peer} broke off its answer, or gave one that is not valid.")
