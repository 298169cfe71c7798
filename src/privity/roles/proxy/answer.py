"""Answers on their way back to the app: decrypted, or refused (wire-protocol.md section 5).

Whoever is on the way writes the headers, and all of a stream that is not a value. So the headers are ours, and of a
stream's other lines only those go on that no parser takes for something else.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial

from privity.errors import (
    ApiError,
    DecryptionError,
    EngineFailedError,
    InvalidRequestError,
    PayloadTooLargeError,
    TamperedAnswerError,
    UnauthorizedError,
    UnavailableError,
    UpstreamError,
    UpstreamProtocolError,
)
from privity.http import Headers, Response, header
from privity.protocol.bodies import open_fields
from privity.protocol.ending import COMMENT, Ending, from_comments
from privity.protocol.ending import HEADER as END
from privity.protocol.endpoints import Endpoint, Form
from privity.protocol.event_stream import Event, EventStreamParser, encode_event
from privity.protocol.exchange import Opener
from privity.protocol.fields import scan
from privity.roles.proxy.request import PlainRequest
from privity.streams import Stream, owning
from privity.transport.error_forms import error_event
from privity.transport.forward import api_error
from privity.transport.web import EVENTS, JSON, NO_SNIFFING, PLAIN, Reply, StreamReply

MAX_ANSWER = 128 * 1024 * 1024
"""Bytes of an answer that is not streamed (wire-protocol.md section 9)."""

MAX_ERROR = 1024 * 1024
"""Bytes of an error that is plain, or an event: it is a sentence."""

MIN_VALUE_BYTES = 100
MAX_PLAIN_TOKENS = 1000
"""An encrypted value has more bytes, and a body has fewer commas and brackets besides: one of nothing but small plain
values would take many times its size, and seconds, to read."""

DRAIN_SECONDS = 1.0
"""For how long a stream's connection is waited for after the last event, so that it can be used again."""

_DONE = b"[DONE]"
_MESSAGE = b"message"
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\]')
_EVENT_TYPE = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_HARMLESS_COMMENT = re.compile(rb":[A-Za-z0-9 .,:_+-]{0,64}")
_KEPT = frozenset({b"allow", b"retry-after", b"x-request-id"})
_LIFECYCLE = {
    b"deprecation": re.compile(rb"@-?[0-9]{1,12}"),
    b"sunset": re.compile(rb"[A-Za-z0-9 ,:]{1,40}"),
    b"link": re.compile(rb'</v1/models/[A-Za-z0-9._~%-]{1,3072}>; rel="successor-version"'),
}
"""What the gateway says of a model's end, in its own form and no other: a link may steer a browser."""

_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_LOG = logging.getLogger(__name__)


class Answer:
    """What comes back for one request.

    Args:
        request: what was asked.
        opener: for the values of this exchange.
        authenticates_end: whether the deployment seals the end of an answer.
    """

    def __init__(self, request: PlainRequest, opener: Opener, *, authenticates_end: bool) -> None:
        self._request = request
        self._endpoint: Endpoint = request.endpoint
        self._opener = opener
        self._authenticates_end = authenticates_end

    async def open(self, response: Response) -> Reply | StreamReply:
        """Return the answer as the app may see it.

        Raises:
            TamperedAnswerError: it is not what the deployment sealed for this request.
            ApiError: it breaks off, or is not valid.
        """
        streams = _is(response.headers, b"text/event-stream")
        if response.status < 400 and response.status != 200:
            async with response:
                raise _refused(f"it has the status {response.status}")
        if header(response.headers, PLAIN[0]) == PLAIN[1]:
            async with response:
                return await self._plain_error(response)
        if response.status == 200 and streams != self._request.streams:
            async with response:
                raise _refused("it is streamed, or not, against what was asked")
        if response.status == 200 and streams:
            kept = _kept(response.headers)
            headers = [EVENTS, (b"cache-control", b"no-store"), *kept]
            last_words = partial(error_event, path=self._endpoint.path)
            return StreamReply(200, headers, self._events(response), last_words=last_words)
        async with response:
            return await self._whole(response, streams=streams)

    async def _plain_error(self, response: Response) -> Reply:
        """Pass on an error from before encryption was possible. Whoever is on the way can make one up; nothing more."""
        if response.status < 400:
            raise _refused("it claims to be plain, which only an error may be")
        kinds = (kind for kind in (JSON, EVENTS) if _is(response.headers, kind[1]))
        own = [next(kinds, _TEXT), NO_SNIFFING, PLAIN]  # no HTML: a browser would show it as this proxy's own page
        kept = _kept(response.headers)
        return Reply(response.status, [*own, *kept], await _read(response, MAX_ERROR))

    async def _whole(self, response: Response, *, streams: bool) -> Reply:
        body = await _read(response, MAX_ERROR if streams else MAX_ANSWER)
        ending = Ending(str(response.status))
        kept = _kept(response.headers)
        try:
            if streams:
                opened, kind = self._open_error_event(body, ending), EVENTS
            else:
                opened, kind = self._open(body, ending), JSON
            self._check_end(ending, header(response.headers, END))
        except DecryptionError as error:
            if response.status >= 400 and self._opener.count == 0:
                raise _unreadable(response.status) from error
            raise _refused(str(error)) from error
        if response.status == 200 and not self._authenticates_end and _holds_error(opened):
            raise _refused("an error claims to be a success")  # nothing authenticates the status
        rendering = self._request.rendering
        if rendering is not None and response.status == 200:
            kind, opened = (b"content-type", rendering.content_type), rendering.render(opened)
        return Reply(response.status, [kind, NO_SNIFFING, *kept], opened)

    def _open(self, body: bytes, ending: Ending) -> bytes:
        opened = _opened(body, self._endpoint, self._opener, ending)
        if not self._opener.count and not self._authenticates_end:
            raise DecryptionError("nothing in it is encrypted")
        return opened

    def _open_error_event(self, body: bytes, ending: Ending) -> bytes:
        parser = EventStreamParser()
        events = parser.feed(body)
        if len(events) != 1 or events[0].data is None:
            raise DecryptionError("an error is not one event")
        ending.event(events[0].type)
        return encode_event(self._open(events[0].data, ending), b"error")

    def _check_end(self, ending: Ending, message: bytes | None) -> None:
        if self._authenticates_end:
            ending.check(self._opener, message)

    def _events(self, response: Response) -> Stream[bytes]:
        return _opened_events(response, _EventOpener(self._request, self._opener, self._authenticates_end))


class _EventOpener:
    """Opens the events of one stream, in their order."""

    def __init__(self, request: PlainRequest, opener: Opener, authenticates_end: bool) -> None:  # noqa: FBT001
        self._endpoint = request.endpoint
        self._drops_usage = request.endpoint.reports_usage and not request.wants_usage
        self._opener = opener
        self._ending = Ending("200")
        self._authenticates_end = authenticates_end
        self._end: bytes | None = None
        self.path = request.endpoint.path
        self.parser = EventStreamParser()
        self.is_over = False
        """Whether the stream came to an end that it may come to: its last event, or an error."""

    def open(self, event: Event) -> bytes:
        """Return an event's bytes for the app. Raises `DecryptionError` where it is not authentic."""
        others = self._read_others(event) if event.others else b""
        if event.data is None:
            return others + b"\n" if others else b""
        if event.data == _DONE and not self._endpoint.anthropic:
            self._check_end()
            return b"data: [DONE]\n\n"
        self._ending.event(event.type)
        before = self._opener.count
        data = _opened(event.data, self._endpoint, self._opener, self._ending)
        if event.type != _MESSAGE or self._endpoint.names_events:
            _check_type(event.type, data)
            others += b"event: " + event.type + b"\n"
        has_values = self._opener.count != before
        if self._endpoint.anthropic:
            self._follow_anthropic(event.type, has_values=has_values)
        elif not has_values:
            raise DecryptionError("an event with nothing encrypted")
        elif b'"error"' in data and _holds_error(data):
            self.is_over = True
        elif self._drops_usage and _NO_CHOICES.search(data) and _member(data, "choices") == b"[]":
            data = b""  # the inference proxy always asks the engine to report usage; this app did not
        if self._end is not None and not self.is_over:
            raise DecryptionError("an event follows the end")
        return others + encode_event(data) if data else b""

    def _follow_anthropic(self, event_type: bytes, *, has_values: bool) -> None:
        if event_type == b"message_stop":
            self._check_end()
        elif event_type == b"error":
            self.is_over = True
        elif not has_values and event_type != b"ping":
            raise DecryptionError("an event with nothing encrypted")

    def _read_others(self, event: Event) -> bytes:
        """Take out the end. Return the other comments, so far as they are harmless, and no other lines."""
        comments = event.comments
        self._end = from_comments(comments) or self._end
        kept = [
            line if _HARMLESS_COMMENT.fullmatch(line) else b":" for line in comments if line[: len(COMMENT)] != COMMENT
        ]
        return b"".join([line + b"\n" for line in kept])

    def _check_end(self) -> None:
        if self._authenticates_end:
            self._ending.check(self._opener, self._end)
        elif not self._opener.count:
            raise DecryptionError("nothing in it is encrypted")
        self.is_over = True


@owning
async def _opened_events(response: Response, opener: _EventOpener) -> AsyncGenerator[bytes]:
    opened: list[bytes] = []
    chunks = response.chunks()
    try:
        async for chunk in chunks:
            opened = []
            for event in opener.parser.feed(chunk):
                opened.append(opener.open(event))
                if opener.is_over:
                    break
            if whole := b"".join(opened):
                yield whole
            if opener.is_over:
                await _drain(chunks)
                return
            opened = []
        rest = opener.parser.finish()
        if rest is not None and rest.data == _DONE:
            opened.append(opener.open(rest))
        if not opener.is_over:
            raise UpstreamProtocolError("the stream ends without its last event")
    except UpstreamError as error:
        opened.append(error_event(api_error(error, "gateway"), opener.path))
    except DecryptionError as error:
        opened.append(error_event(_refused(str(error)), opener.path))
    yield b"".join(opened)


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Wait for the end of what should be over; more than that is not read."""
    with contextlib.suppress(TimeoutError, UpstreamError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await anext(chunks, None)


def _opened(body: bytes, endpoint: Endpoint, opener: Opener, ending: Ending) -> bytes:
    tokens = body.count(b",") + body.count(b"{") + body.count(b"[")
    if tokens > MAX_PLAIN_TOKENS + len(body) // MIN_VALUE_BYTES:
        raise DecryptionError("more of it is plain than may be")
    opened = open_fields(body, endpoint.plain_answer, opener.open_all, ending)
    if endpoint.form is not Form.WHOLE and not opened.lstrip().startswith(b"{"):
        raise DecryptionError("it is no object")
    return opened


def _holds_error(data: bytes) -> bool:
    """Return whether all clients take an object for an error."""
    error = _member(data, "error")
    return error is not None and error.startswith(b"{") and b":" in error


def _member(data: bytes, name: str) -> bytes | None:
    try:
        return scan(data).get(name)
    except InvalidRequestError as error:
        raise DecryptionError("a value is no JSON") from error


def _check_type(event_type: bytes, data: bytes) -> None:
    """Check that an event's type is what its data says: some clients go by the one, some by the other."""
    if _EVENT_TYPE.fullmatch(event_type) is None:
        raise DecryptionError("an event has a strange type")
    if _member(data, "type") != b'"' + event_type + b'"' and not (event_type == b"error" and _holds_error(data)):
        raise DecryptionError("an event's type is not that of its data")


def _kept(headers: Headers) -> Headers:
    """Return the headers of an answer that the app may see besides our own."""
    return [
        (name, value)
        for name, value in headers
        if name in _KEPT or (name in _LIFECYCLE and _LIFECYCLE[name].fullmatch(value))
    ]


def _is(headers: Headers, kind: bytes) -> bool:
    return (header(headers, b"content-type") or b"").lower().startswith(kind)


async def _read(response: Response, limit: int) -> bytes:
    try:
        return await response.read(limit)
    except UpstreamError as error:
        raise api_error(error, "gateway") from error


def _refused(reason: str) -> TamperedAnswerError:
    _LOG.warning("an answer was refused", extra={"reason": reason})
    return TamperedAnswerError(f"The answer is not authentic, so it was refused: {reason}.")


def _unreadable(status: int) -> ApiError:
    """Return what an app is told of an error that whoever is before the gateway may have made: its status says all."""
    match status:
        case 401:
            return UnauthorizedError("The gateway doesn't accept this API key.")
        case 413:
            return PayloadTooLargeError("The gateway says that the request is too large.")
        case 429 | 503:
            return UnavailableError("The gateway is busy at the moment.")
        case _:
            return EngineFailedError(f"The gateway answered with status {status} and nothing that can be decrypted.")
