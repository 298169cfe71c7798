"""An application out of routes, on bare ASGI."""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from privity.errors import ApiError, ClientGoneError, MethodNotAllowedError, RouteNotFoundError, UnavailableError
from privity.http import Headers
from privity.transport.cors import Cors
from privity.transport.exchange import Exchange
from privity.transport.tasks import Background
from privity.transport.unknown_paths import explain
from privity.transport.web import (
    DRAIN_SECONDS,
    MAX_HELD_BYTES,
    Check,
    Handler,
    Receive,
    Reply,
    Request,
    Room,
    Routes,
    Send,
    error_reply,
)

CLIENT_GONE = 499
"""The status that is logged for a client that left; nothing is sent."""

_LOG = logging.getLogger(__name__)


class WebApp:
    """An ASGI application out of routes. Its errors are always in the API's own form; a defect of ours is a bare 500.

    Args:
        routes: what answers where.
        background: holds the tasks that look after clients.
        check: sees each request's headers first, and raises an `ApiError` where it must not be answered.
        error_headers: what each error's answer bears besides.
        cors: which web pages may read the answers; None is those of our own origin alone.
        drain_seconds: for how long a client that was refused in the middle of its request is still listened to.
        max_held: bytes of bodies that are held at the same time.
    """

    def __init__(
        self,
        routes: Routes,
        background: Background,
        check: Check = lambda _headers: None,
        error_headers: Headers = (),
        cors: Cors | None = None,
        drain_seconds: float = DRAIN_SECONDS,
        max_held: int = MAX_HELD_BYTES,
    ) -> None:
        self._cors = cors
        self._check = check
        self._error_headers = error_headers
        self._exact = {path: methods for path, methods in routes.items() if not path.endswith("/")}
        self._prefixes = [(path, methods) for path, methods in routes.items() if path.endswith("/")]
        self._background = background
        self._drain_seconds = drain_seconds
        self._room = Room(max_held)
        self._exchanges: set[Exchange] = set()

    @property
    def routes(self) -> dict[str, tuple[str, ...]]:
        """What is answered: the methods of each path. One that ends in a slash stands for all below it."""
        return {path: tuple(methods) for path, methods in (*self._exact.items(), *self._prefixes)}

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3.0, scope `http`)."""
        request = Request(scope["method"], scope["path"], scope["query_string"], scope["headers"], receive, self._room)
        exchange = Exchange(request, send, self._background, self._drain_seconds)
        started = time.perf_counter()
        status = CLIENT_GONE
        self._exchanges.add(exchange)
        try:
            status = await self._answer(request, exchange)
        except ClientGoneError:
            pass
        except Exception as error:  # noqa: BLE001  # the outermost loop: a defect ends one request, not the program
            self._log_defect(request, error)
        finally:
            exchange.end()
            request.release()
            self._exchanges.discard(exchange)
        is_call = request.method not in ("GET", "HEAD")
        level = logging.INFO if is_call else logging.DEBUG  # roles ask each other for lists all day
        if _LOG.isEnabledFor(level):
            milliseconds = round((time.perf_counter() - started) * 1000, 1)
            extra = {"method": request.method, "route": self._route_name(request), "status": status, "ms": milliseconds}
            _LOG.log(level, "request", extra=extra)

    @property
    def under_way(self) -> int:
        """How many answers are under way, apart from those to clients that only wait for news."""
        return sum(not exchange.request.only_waits for exchange in self._exchanges)

    def release(self) -> None:
        """End the exchanges whose clients only wait for news."""
        self._stop(exchange for exchange in self._exchanges if exchange.request.only_waits)

    def stop(self) -> None:
        """End what is under way; clients are told so far as they still can be."""
        self._stop(self._exchanges)

    def _stop(self, exchanges: Iterable[Exchange]) -> None:
        for exchange in tuple(exchanges):
            exchange.stop(UnavailableError("Privity is being stopped here. Ask again in a moment.", code="stopping"))

    async def _answer(self, request: Request, exchange: Exchange) -> int:
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
            raise RouteNotFoundError(explain(request.path))
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allowed = tuple(methods) + (("HEAD",) if "GET" in methods else ())
            raise MethodNotAllowedError(f"{request.path} takes {', '.join(allowed)}, not {request.method}.", allowed)
        return handler


def _where(error: Exception) -> str:
    """Return the kind of an error and the line that raised it, without its text, which may hold content."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace is not None else ""
    return type(error).__name__ + place
