"""What a role needs of a web framework, on bare ASGI: routes, bounded bodies, errors, clients that leave."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from privity.errors import (
    ApiError,
    ClientGoneError,
    MethodNotAllowedError,
    PayloadTooLargeError,
    PrivityError,
    RouteNotFoundError,
    UnsupportedMediaError,
)
from privity.http import Headers, header
from privity.protocol.event_stream import encode_event
from privity.streams import Stream
from privity.transport.cors import Cors
from privity.transport.error_forms import encode_error, wants_events
from privity.transport.tasks import Background

WATCH_AFTER = 0.1
"""Seconds that an exchange runs before somebody looks whether its client is still there: most are over by then."""

MAX_BODY = 128 * 1024 * 1024
"""Bytes of a request (wire-protocol.md section 9)."""

DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 1.0
"""What is still read from a client that was refused in the middle of its request, and for how long."""

CLIENT_GONE = 499
"""The status that is logged for a client that left; nothing is sent."""

_WITHOUT_BODY = (204, 304)
"""Statuses whose answers end with their head."""

JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream")
NO_SNIFFING = (b"x-content-type-options", b"nosniff")
PLAIN = (b"privatemode-encrypted", b"false")
"""What an answer bears that is plain where an encrypted one could be expected (wire-protocol.md section 2)."""

_LOG = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is all there."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class StreamReply:
    """An answer that comes in pieces. `chunks` is closed whatever happens."""

    status: int
    headers: Headers
    chunks: Stream[bytes]


@dataclass(slots=True)
class Request:
    """A request whose head has arrived."""

    method: str
    path: str
    """Decoded."""
    query: bytes
    headers: Headers
    receive: Receive
    tail: str = ""
    """What follows a route that ends in a slash."""
    complete: bool = field(default=False, init=False)
    _received: int = field(default=0, init=False)

    @property
    def parameters(self) -> dict[str, str]:
        """The query's parameters, each with its first value."""
        pairs = parse_qsl(self.query.decode("latin-1"), keep_blank_values=True)
        return dict(reversed(pairs))

    @property
    def content_length(self) -> int | None:
        """Bytes of the body, where the client says so."""
        value = header(self.headers, b"content-length")
        return int(value) if value is not None else None

    @property
    def has_unread_body(self) -> bool:
        """Whether bytes may come that nobody will read."""
        announced = self.content_length or header(self.headers, b"transfer-encoding")
        return not self.complete and bool(announced)

    async def stream(self, limit: int) -> AsyncIterator[bytes]:
        """Yield the body's pieces.

        Raises:
            PayloadTooLargeError: more than `limit` bytes.
            ClientGoneError: the client left before its end.
        """
        self.check_length(limit)
        while not self.complete:
            if piece := await self._next_piece(limit):
                yield piece

    async def body(self, limit: int) -> bytes:
        """Return the whole body; raises as `stream` does."""
        self.check_length(limit)
        pieces: list[bytes] = []
        while not self.complete:
            pieces.append(await self._next_piece(limit))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _next_piece(self, limit: int) -> bytes:
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        piece: bytes = message.get("body", b"")
        self.complete = not message.get("more_body", False)
        self._received += len(piece)
        if self._received > limit:
            raise _too_large(limit)
        return piece

    async def drain(self) -> None:
        """Throw away what still comes, within limits.

        Closing a connection with unread bytes resets it, and a client that is still sending never sees its answer.
        """
        with contextlib.suppress(TimeoutError, ClientGoneError, PayloadTooLargeError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self.complete:
                    await self._next_piece(DRAIN_BYTES)

    def check_length(self, limit: int) -> None:
        """Raise `PayloadTooLargeError` where the client announces more than `limit` bytes."""
        if (self.content_length or 0) > limit:
            raise _too_large(limit)


Handler = Callable[[Request], Awaitable[Reply | StreamReply]]
Check = Callable[[Headers], None]
Routes = Mapping[str, Mapping[str, Handler]]
"""Path → method → handler. A path that ends in a slash takes all below it. HEAD is answered by GET's handler."""


def json_reply(value: object, status: int = 200, headers: Headers = ()) -> Reply:
    """Return `value` as a JSON answer."""
    return Reply(status, [JSON, *headers], msgspec.json.encode(value))


def error_reply(error: ApiError, request: "Request") -> Reply:
    """Return an error in the API's own form, as an event where the client wants events (wire-protocol.md section 9)."""
    body = encode_error(error, request.path, request.headers)
    kind = JSON
    if wants_events(request.headers):
        kind, body = EVENTS, encode_event(body, b"error")
    return Reply(error.status, [kind, NO_SNIFFING, *error.headers], body)


class WebApp:
    """An ASGI application out of routes. Its errors are always in the API's own form; a defect of ours is a bare 500.

    Args:
        routes: what answers where.
        background: holds the tasks that look after clients.
        check: sees each request's headers first, and raises an `ApiError` where it must not be answered.
        error_headers: what each error's answer bears besides.
        cors: which web pages may read the answers; None is those of our own origin alone.
    """

    def __init__(
        self,
        routes: Routes,
        background: Background,
        check: Check = lambda _headers: None,
        error_headers: Headers = (),
        cors: Cors | None = None,
    ) -> None:
        self._cors = cors
        self._check = check
        self._error_headers = error_headers
        self._exact = {path: methods for path, methods in routes.items() if not path.endswith("/")}
        self._prefixes = [(path, methods) for path, methods in routes.items() if path.endswith("/")]
        self._background = background
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def routes(self) -> dict[str, tuple[str, ...]]:
        """What is answered: the methods of each path. One that ends in a slash stands for all below it."""
        return {path: tuple(methods) for path, methods in (*self._exact.items(), *self._prefixes)}

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3.0, scope `http`)."""
        request = Request(scope["method"], scope["path"], scope["query_string"], scope["headers"], receive)
        exchange = _Exchange(request, send, self._background)
        started = time.perf_counter()
        status = CLIENT_GONE
        is_call = request.method not in ("GET", "HEAD")
        self._count(is_call)
        try:
            status = await self._answer(request, exchange)
        except ClientGoneError:
            pass
        except Exception as error:  # noqa: BLE001  # the outermost loop: a defect ends one request, not the program
            self._log_defect(request, error)
        finally:
            exchange.end()
            self._count(-is_call)
        level = logging.INFO if is_call else logging.DEBUG  # roles ask each other for lists all day
        if _LOG.isEnabledFor(level):
            milliseconds = round((time.perf_counter() - started) * 1000, 1)
            extra = {"method": request.method, "route": self._route_name(request), "status": status, "ms": milliseconds}
            _LOG.log(level, "request", extra=extra)

    def _count(self, calls: int) -> None:
        """Take note of calls that begin or end."""
        self._calls += calls
        if self._calls:
            self._idle.clear()
        else:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until no call is under way: no request that is more than a look."""
        await self._idle.wait()

    async def _answer(self, request: Request, exchange: "_Exchange") -> int:
        try:
            self._check(request.headers)
            reply = await exchange.guarded(self._handler(request)(request))
        except ApiError as error:
            reply = self._refusal(error, request)
        except ClientGoneError:
            raise
        except Exception as error:  # noqa: BLE001  # the same, where there is still time for an answer
            self._log_defect(request, error)
            reply = self._refusal(ApiError("Something is wrong inside Privity; its log says where."), request)
        if self._cors is not None and (headers := self._cors.shared(request.headers, reply.headers)) is not None:
            reply = replace(reply, headers=headers)
        await exchange.send(reply)
        return reply.status

    def _refusal(self, error: ApiError, request: Request) -> Reply:
        if self._cors is not None and isinstance(error, MethodNotAllowedError) and request.method == "OPTIONS":
            preflight = self._cors.preflight(request.headers, error.allowed)
            if preflight is not None:
                return Reply(204, preflight, b"")
        reply = error_reply(error, request)
        return Reply(reply.status, [*reply.headers, *self._error_headers], reply.body)

    def _log_defect(self, request: Request, error: Exception) -> None:
        """Log where it happened and nothing of what: a traceback or an error's text may show content."""
        _LOG.error("defect", extra={"route": self._route_name(request), "error": _where(error)})

    def _route_name(self, request: Request) -> str:
        """Return the route without what the client made up."""
        if request.path in self._exact:
            return request.path
        return next((prefix for prefix, _ in self._prefixes if request.path.startswith(prefix)), "other")

    def _handler(self, request: Request) -> Handler:
        methods = self._exact.get(request.path)
        if methods is None:
            for prefix, candidates in self._prefixes:
                if request.path.startswith(prefix) and request.path != prefix:
                    methods, request.tail = candidates, request.path[len(prefix) :]
                    break
        if methods is None:
            raise RouteNotFoundError(f"There is no {_shown(request.path)} here. GET /v1/models is a good start.")
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allowed = tuple(methods) + (("HEAD",) if "GET" in methods else ())
            raise MethodNotAllowedError(f"{request.path} takes {', '.join(allowed)}, not {request.method}.", allowed)
        return handler


class _Exchange:
    """One request and its answer: ends the work for it when the client leaves."""

    def __init__(self, request: Request, send: Send, background: Background) -> None:
        self._request = request
        self._send = send
        self._background = background
        self._gone = False
        self._over = False
        self._loop = asyncio.get_running_loop()  # asked for once: in Python 3.11 each time costs a system call
        self._task = asyncio.current_task(self._loop)
        self._watcher: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(WATCH_AFTER, self._watch)

    async def guarded(self, work: Awaitable[Reply | StreamReply]) -> Reply | StreamReply:
        """Return the result of `work`. Raises `ClientGoneError` where the client leaves meanwhile."""
        try:
            return await work
        except asyncio.CancelledError:
            self._raise_if_gone()
            raise

    async def send(self, reply: Reply | StreamReply) -> None:
        """Send the answer. Raises `ClientGoneError` where the client leaves meanwhile."""
        try:
            if isinstance(reply, Reply):
                await self._send_whole(reply)
            else:
                async with aclosing(reply.chunks):
                    await self._send_stream(reply)
        except asyncio.CancelledError:
            self._raise_if_gone()
            raise

    async def _send_whole(self, reply: Reply) -> None:
        headers = list(reply.headers)
        if reply.status not in _WITHOUT_BODY:
            headers.append((b"content-length", str(len(reply.body)).encode()))
        unread = self._request.has_unread_body
        if unread:
            headers.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if unread:
            await self._send({"type": "http.response.body", "body": reply.body, "more_body": True})
            await self._request.drain()
            reply = Reply(reply.status, reply.headers, b"")
        self._over = True
        await self._send({"type": "http.response.body", "body": reply.body})

    async def _send_stream(self, reply: StreamReply) -> None:
        await self._send({"type": "http.response.start", "status": reply.status, "headers": list(reply.headers)})
        try:
            async for chunk in reply.chunks:
                await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
                del chunk  # the next one may be long in coming, and this one large
        except PrivityError as error:
            # Without the last chunk the connection is cut, which is how HTTP says that an answer is not whole.
            _LOG.warning("answer cut", extra={"error": type(error).__name__})
            raise ClientGoneError from error
        self._over = True
        await self._send({"type": "http.response.body", "body": b""})

    def end(self) -> None:
        """Stop watching."""
        self._over = True
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def _watch(self) -> None:
        if not self._request.complete and self._request.method not in ("GET", "HEAD"):
            # Whoever reads the body sees the client leave.
            self._timer = self._loop.call_later(WATCH_AFTER, self._watch)
        elif not self._over:
            self._watcher = self._background.start(self._wait_for_departure(), "client watcher")

    async def _wait_for_departure(self) -> None:
        message: Message = {"type": ""}
        while message["type"] != "http.disconnect":
            message = await self._request.receive()
        if not self._over and self._task is not None:
            self._gone = True
            self._task.cancel()

    def _raise_if_gone(self) -> None:
        if self._gone:
            if self._task is not None:
                self._task.uncancel()
            raise ClientGoneError


def _too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(f"The body is over the limit of {limit} bytes.")


def _shown(path: str) -> str:
    """Return a path as it may stand in a message: short and printable."""
    return "".join(each if each.isprintable() else "?" for each in path[:80])


def _where(error: Exception) -> str:
    """Return the kind of an error and the line that raised it, without its text, which may hold content."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace is not None else ""
    return type(error).__name__ + place


def require_json(request: Request) -> None:
    """Raise `UnsupportedMediaError` where the body claims to be something other than JSON."""
    kind = header(request.headers, b"content-type")
    if kind is not None and kind.split(b";")[0].strip().lower() != b"application/json":
        raise UnsupportedMediaError("This endpoint takes application/json.")
