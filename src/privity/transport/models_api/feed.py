"""Changes of the list, as they come: long-polling and server-sent events (models-api.md item 10)."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping

import msgspec

from privity.catalogue.catalogue import View
from privity.catalogue.dialects import openai
from privity.catalogue.difference import difference
from privity.catalogue.projections import openai_etag, openai_list
from privity.catalogue.query import Query
from privity.errors import ApiError, InvalidRequestError
from privity.http import header
from privity.protocol.event_stream import encode_event
from privity.streams import Stream
from privity.transport.models_api.source import Source
from privity.transport.models_api.subscribers import Subscribers
from privity.transport.web import EVENTS, NO_SNIFFING, Reply, Request, StreamReply

DEFAULT_WAIT = 30.0
"""Seconds until a long poll without a change is answered."""

MAX_WAIT = 120.0
"""Seconds that a client may ask for: below the patience of what stands between."""

KEEP_ALIVE = 15.0
"""Seconds without an event until a comment is sent: so the ends see that the connection lives."""

_HEADERS = [EVENTS, NO_SNIFFING, (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]


def read_timeout(parameters: Mapping[str, str]) -> float:
    """Return the seconds that a long poll may last. Raises `InvalidRequestError`."""
    text = parameters.get("timeout") or str(DEFAULT_WAIT)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_WAIT:  # not a number is none of them
        raise InvalidRequestError(f"`timeout` is a number of seconds from 0 to {MAX_WAIT:g}.", param="timeout")
    return seconds


async def long_poll(source: Source, request: Request, tag: Callable[[View], str], known: str, seconds: float) -> None:
    """Wait until a list is another one than the client knows, or until the time is over.

    Args:
        source: of the views.
        request: whose view counts.
        tag: the list's entity tag.
        known: the tag that the client knows.
        seconds: how long to wait at most.

    Raises:
        ApiError: as `Source.view`.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                change = source.change(request)
                view = await source.view(request)
                if isinstance(view, Reply) or not is_same(known, tag(view)):
                    return
                await change.wait()


def is_same(given: str, etag: str) -> bool:
    """Return whether a client means this entity tag; in a URL it may lack its quotes."""
    return given.strip().removeprefix("W/").strip('"') == etag.strip('"')


async def events(source: Source, request: Request, query: Query, subscribers: Subscribers) -> StreamReply | Reply:
    """Return a stream: the whole list first, unless the client has it (`Last-Event-ID`), then what changes in it.

    Raises:
        ApiError: as `Source.view`; `TooManyRequestsError` where there are too many subscribers.
    """
    request.only_waits = True
    view = await source.view(request)
    if isinstance(view, Reply):
        return view
    headers = [*_HEADERS, *source.remarks(request)]
    if request.method == "HEAD":
        return StreamReply(200, headers, Stream(_nothing()))
    chunks = Stream(_events(source, request, query, view), subscribers.take(request.headers))
    return StreamReply(200, headers, chunks, last_words=_say_nothing)


def _say_nothing(_error: ApiError) -> bytes:
    """Return nothing: a stream of changes that ends is whole, and its client asks for the next one."""
    return b""


async def _nothing() -> AsyncGenerator[bytes]:
    for nothing in tuple[bytes, ...]():
        yield nothing


async def _events(source: Source, request: Request, query: Query, view: View) -> AsyncGenerator[bytes]:
    known = (header(request.headers, b"last-event-id") or b"").decode("latin-1")
    etag = openai_etag(view, query)
    yield b": the models that can be called, and their changes\n\n"
    if not is_same(known, etag):
        yield _event("list", etag, openai_list(view, query).body())
    clock = asyncio.get_running_loop().time
    speak_at = clock() + KEEP_ALIVE
    while True:
        change = source.change(request)
        after = await _view(source, request)
        if after is None:
            return  # the key is not accepted any more, or nobody knows: the client asks again, and is told why
        before, view = view, after  # the older one isn't kept alive by those who wait
        etag_before, etag = etag, openai_etag(after, query)
        if etag == etag_before:
            del before
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(speak_at):
                    await change.wait()
                continue  # others may see the change
            event = b": still there\n\n"
        else:
            event = _change(before, after, etag_before, etag, query)
            del before
        speak_at = clock() + KEEP_ALIVE
        yield event


async def _view(source: Source, request: Request) -> View | None:
    """Return what a request's key may call now; None where that is refused."""
    try:
        view = await source.view(request)
    except ApiError:
        return None
    return None if isinstance(view, Reply) else view


def _change(before: View, after: View, known: str, etag: str, query: Query) -> bytes:
    """Return the event by which the list tagged `known` becomes the one tagged `etag`. It is made once for all."""
    event = after.changes.get((known, query))
    if event is None:
        found = difference(before, after, openai.row, query)
        data = _object(found.added, found.changed, found.removed)
        event = after.changes[known, query] = _event("change", etag, data)
    return event


def _event(name: str, etag: str, data: bytes) -> bytes:
    return b"id: " + etag.strip('"').encode() + b"\n" + encode_event(data, name.encode())


def _object(added: tuple[bytes, ...], changed: tuple[bytes, ...], removed: tuple[str, ...]) -> bytes:
    parts = (b",".join(added), b",".join(changed), msgspec.json.encode(removed))
    return b'{"added":[%b],"changed":[%b],"removed":%b}' % parts
