"""One request on to the next role, and its answer back, untouched."""

from collections.abc import AsyncGenerator, AsyncIterator

from privity.errors import (
    ApiError,
    EngineFailedError,
    EngineTimeoutError,
    OutgoingProxyError,
    UnavailableError,
    UntrustedPeerError,
    UpstreamError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from privity.http import Headers, HttpClient, Response, header
from privity.streams import owning
from privity.transport.web import Reply, StreamReply

MAX_WHOLE_ANSWER = 256 * 1024
"""Bytes up to which an answer of known length is passed on in one piece; a longer one goes as it comes."""

PASSED_ON = frozenset(
    {
        b"allow",
        b"cache-control",
        b"content-type",
        b"privatemode-encrypted",
        b"privity-end",
        b"retry-after",
        b"x-content-type-options",
        b"x-request-id",
    }
)
"""The headers of an answer that the next role up may see."""


async def forward(
    client: HttpClient,
    method: str,
    url: str,
    *,
    headers: Headers,
    body: bytes | AsyncIterator[bytes],
    peer: str,
    head_timeout: float | None = None,
) -> Reply | StreamReply:
    """Send a request on and return the answer as it comes.

    Args:
        client: who sends.
        method: in upper case.
        url: where to.
        headers: all that the next role may see.
        body: opaque.
        peer: what the next role is called in an error message.
        head_timeout: seconds until the head of the answer must be there; None leaves that to the client.

    Raises:
        ApiError: the next role gave no answer; `UnavailableError` where no connection could be had.
    """
    try:
        response = await client.request(method, url, headers=headers, body=body, head_timeout=head_timeout)
    except UpstreamError as error:
        raise api_error(error, peer) from error
    kept = [(name, value) for name, value in response.headers if name in PASSED_ON]
    length = header(response.headers, b"content-length")
    if length is None or int(length) > MAX_WHOLE_ANSWER:
        return StreamReply(response.status, kept, _relay(response))
    try:
        async with response:
            return Reply(response.status, kept, await response.read(MAX_WHOLE_ANSWER))
    except UpstreamError as error:
        raise api_error(error, peer) from error


@owning
async def _relay(response: Response) -> AsyncGenerator[bytes]:
    async for chunk in response.chunks():
        yield chunk


def api_error(error: UpstreamError, peer: str) -> ApiError:
    """Return what an app is told about a failure of the next role."""
    match error:
        case OutgoingProxyError():
            return UnavailableError(f"The {peer} can't be reached: {error}", code="outgoing_proxy_failed")
        case UntrustedPeerError():
            return UnavailableError(f"The {peer} can't be reached: {error}", code="certificate_not_trusted")
        case UpstreamUnreachableError():
            return UnavailableError(f"The {peer} can't be reached at the moment.")
        case UpstreamTimeoutError():
            return EngineTimeoutError(f"The {peer} did not answer in time.")
        case _:
            return EngineFailedError(f"The {peer} broke off its answer, or gave one that is not valid.")
