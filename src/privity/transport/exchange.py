"""One request and its answer, on their way through a listener."""

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import aclosing

from privity.errors import ApiError, ClientGoneError, PrivityError
from privity.streams import Stream
from privity.transport.tasks import Background
from privity.transport.web import Message, Reply, Request, Send, StreamReply

WATCH_AFTER = 0.1
"""Seconds that an exchange runs before somebody looks whether its client is still there: most are over by then."""

KEEP_ALIVE_COMMENT = b": keep-alive\n\n"
"""What shows that a silent event stream lives: a comment, which every reader of the format skips."""

_WITHOUT_BODY = (204, 304)
"""Statuses whose answers end with their head."""

_LOG = logging.getLogger(__name__)


class Exchange:
    """One request and its answer. Ends the work for it when the client leaves, or when its listener must stop.

    Args:
        request: what is asked.
        send: takes the answer (ASGI 3.0).
        background: holds what looks after the client.
        drain_seconds: for how long a client that was answered in the middle of its request is still listened to.
    """

    def __init__(self, request: Request, send: Send, background: Background, drain_seconds: float) -> None:
        self.request = request
        self._send = send
        self._background = background
        self._drain_seconds = drain_seconds
        self._gone = False
        self._over = False
        self._stopped: ApiError | None = None
        self._is_waiting = True
        """Whether it waits for what it shall send next: ended then, it loses nothing."""
        self._chunks = 0
        self._loop = asyncio.get_running_loop()  # asked for once: in Python 3.11 each time costs a system call
        self._task = asyncio.current_task(self._loop)
        self._watcher: asyncio.Task[None] | None = None
        self._watch_timer = self._loop.call_later(WATCH_AFTER, self._watch)
        self._comment: asyncio.Task[None] | None = None
        self._comment_timer: asyncio.TimerHandle | None = None

    async def guarded(self, work: Awaitable[Reply | StreamReply]) -> Reply | StreamReply:
        """Return the result of `work`.

        Raises:
            ClientGoneError: the client leaves meanwhile.
            ApiError: what it is stopped with.
        """
        try:
            return await work
        except asyncio.CancelledError:
            self._raise_if_gone()
            if self._stopped is None:
                raise
            self._uncancel()
            raise self._stopped from None
        finally:
            self._is_waiting = False

    async def send(self, reply: Reply | StreamReply) -> None:
        """Send the answer. Raises `ClientGoneError` where the client leaves meanwhile, or the answer must be cut."""
        try:
            if isinstance(reply, Reply):
                await self._send_whole(reply)
            else:
                async with aclosing(reply.chunks):
                    await self._send_stream(reply)
        except asyncio.CancelledError:
            self._raise_if_gone()
            raise

    def stop(self, error: ApiError) -> None:
        """End it before its time, with an error so far as the client can still be told."""
        self._stopped = error
        if self._is_waiting and self._task is not None:
            self._task.cancel()

    def end(self) -> None:
        """Stop looking after it."""
        self._over = True
        for helper in (self._watch_timer, self._watcher, self._comment_timer, self._comment):
            if helper is not None:
                helper.cancel()

    # The answer

    async def _send_whole(self, reply: Reply) -> None:
        headers = list(reply.headers)
        if reply.status not in _WITHOUT_BODY:
            headers.append((b"content-length", str(len(reply.body)).encode()))
        unread = self.request.has_unread_body
        if unread:
            headers.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if unread:
            await self._send({"type": "http.response.body", "body": reply.body, "more_body": True})
            await self.request.drain(self._drain_seconds)
            reply = Reply(reply.status, reply.headers, b"")
        self._over = True
        await self._send({"type": "http.response.body", "body": reply.body})

    async def _send_stream(self, reply: StreamReply) -> None:
        await self._send({"type": "http.response.start", "status": reply.status, "headers": list(reply.headers)})
        if reply.keep_alive is not None:
            self._comment_after(reply.keep_alive)
        try:
            while self._stopped is None and (chunk := await self._next(reply.chunks)) is not None:
                await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
                self._chunks += 1
                del chunk  # the next one may be long in coming, and this one large
        except PrivityError as error:
            raise _cut(error) from error
        self.end()
        last_words = b""
        if self._stopped is not None:
            if reply.last_words is None:
                raise _cut(self._stopped)
            last_words = reply.last_words(self._stopped)
        await self._send({"type": "http.response.body", "body": last_words})

    async def _next(self, chunks: Stream[bytes]) -> bytes | None:
        """Return the next chunk; None at the end, or where this is stopped."""
        self._is_waiting = True
        try:
            return await anext(chunks, None)
        except asyncio.CancelledError:
            if self._gone or self._stopped is None:
                raise
            self._uncancel()
            return None
        finally:
            self._is_waiting = False

    def _comment_after(self, seconds: float) -> None:
        """Send a comment whenever so many seconds pass without a chunk."""
        sent = self._chunks

        def speak() -> None:
            is_silent = self._is_waiting and self._chunks == sent
            if is_silent and (self._comment is None or self._comment.done()):
                self._comment = self._background.start(self._send_comment(), "keep-alive comment")
            self._comment_after(seconds)

        self._comment_timer = self._loop.call_later(seconds, speak)

    async def _send_comment(self) -> None:
        await self._send({"type": "http.response.body", "body": KEEP_ALIVE_COMMENT, "more_body": True})

    # The client

    def _watch(self) -> None:
        if not self.request.complete and self.request.method not in ("GET", "HEAD"):
            # Whoever reads the body sees the client leave.
            self._watch_timer = self._loop.call_later(WATCH_AFTER, self._watch)
        elif not self._over:
            self._watcher = self._background.start(self._wait_for_departure(), "client watcher")

    async def _wait_for_departure(self) -> None:
        message: Message = {"type": ""}
        while message["type"] != "http.disconnect":
            message = await self.request.receive()
        if not self._over and self._task is not None:
            self._gone = True
            self._task.cancel()

    def _raise_if_gone(self) -> None:
        if self._gone:
            self._uncancel()
            raise ClientGoneError

    def _uncancel(self) -> None:
        if self._task is not None:
            self._task.uncancel()


def _cut(error: PrivityError) -> ClientGoneError:
    """Return what leaves an answer without its last chunk, which is how HTTP says that it isn't whole."""
    _LOG.warning("answer cut", extra={"error": type(error).__name__})
    return ClientGoneError()
