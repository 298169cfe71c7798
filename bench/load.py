"""The load generator: a process of its own, so that its work is in nobody else's account.

Reads one `Job` a line from standard input, as JSON, and writes one `Outcome` a line; ends when its input does.
"""

import asyncio
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import cast

import msgspec
import uvloop

from bench.sealed import seal_value, sealed_request
from bench.traffic import (
    BOUNDARY,
    CHAT_PATH,
    MODELS_PATH,
    PACE_MS,
    UPLOAD_MODEL,
    UPLOAD_PATH,
    chat_body,
    request_bytes,
    stream_body,
    upload_body,
)

GRACE_SECONDS = 20.0
"""That a job may take beyond its time before it counts as failed."""

SATURATED_EVENTS = 500
"""Events of one stream at full speed; another one follows it."""


class Job(msgspec.Struct, frozen=True):
    """What to do: `kind` is models, chat, paced, saturated or upload; `size` is of an upload's file, in bytes."""

    kind: str
    port: int
    connections: int
    seconds: float
    sealed: bool = False
    """Whether requests are encrypted already: for whom they are encrypted everybody knows the secret."""
    size: int = 0


class Outcome(msgspec.Struct, frozen=True):
    """What happened: `done` requests or events in all, `rate` of them a second, `p50` seconds of a request."""

    done: int = 0
    rate: float = 0.0
    p50: float = 0.0
    error: str = ""


@dataclass(slots=True)
class _Run:
    """One job under way."""

    request: bytes
    connections: int
    events: int
    """In one stream; 0 where answers are whole."""
    begun: float
    deadline: float
    over: asyncio.Future[None]
    finished: int = 0
    counted: int = 0
    last: float = 0.0
    times: list[float] = field(default_factory=list)

    def fail(self, why: str) -> None:
        if not self.over.done():
            self.over.set_exception(ConnectionError(why))

    def leave(self) -> None:
        self.finished += 1
        if self.finished == self.connections and not self.over.done():
            self.over.set_result(None)


class _Client(asyncio.Protocol):
    """One connection that asks again and again."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._sent = 0.0
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        self._tail = b""
        self._sent = time.perf_counter()
        if self._transport is not None:
            self._transport.write(self._run.request)

    def _answered(self) -> None:
        run = self._run
        run.last = time.perf_counter()
        run.times.append(run.last - self._sent)
        if run.last < run.deadline:
            self._ask()
        elif self._transport is not None:
            self._transport.close()
            self._transport = None
            run.leave()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Fail where this came too early."""
        if self._transport is not None:
            self._run.fail("a connection was closed before its time")


class _WholeAnswers(_Client):
    def data_received(self, data: bytes) -> None:
        """Wait for the last byte of an answer with a content-length."""
        answer = self._tail + data if self._tail else data
        end = answer.find(b"\r\n\r\n")
        at = answer.lower().find(b"content-length:", 0, end) if end >= 0 else -1
        if at < 0 or len(answer) < end + 4 + int(answer[at + 15 : answer.find(b"\r\n", at)]):
            self._tail = answer
        elif answer.startswith(b"HTTP/1.1 200"):
            self._answered()
        else:
            self._run.fail(f"the answer is {answer[:200]!r}")


class _Streams(_Client):
    def data_received(self, data: bytes) -> None:
        """Count events, and wait for the last chunk."""
        if not self._tail and not data.startswith(b"HTTP/1.1 200"):
            self._run.fail(f"the answer is {data[:40]!r}")
        self._tail = (self._tail + data)[-48:]
        if time.perf_counter() < self._run.deadline:
            self._run.counted += data.count(b"data: ")
        if self._tail.endswith(b"0\r\n\r\n"):
            if b"[DONE]" not in self._tail:
                self._run.fail("a stream ended before its end")
            self._answered()


def _prepare(job: Job) -> tuple[bytes, int]:
    """Return the request's bytes, and the events of one stream."""
    if job.kind == "models":
        return request_bytes("GET", MODELS_PATH, job.port), 0
    if job.kind == "upload":
        body = upload_body(job.size, seal_value if job.sealed else bytes)
        kind = f"multipart/form-data; boundary={BOUNDARY.decode()}\r\nPrivatemode-Target-Model: {UPLOAD_MODEL}"
        return request_bytes("POST", UPLOAD_PATH, job.port, body, kind), 0
    events = 0
    if job.kind != "chat":
        paced = job.kind == "paced"
        events = max(2, round(job.seconds * 1000 / PACE_MS)) if paced else SATURATED_EVENTS
    body = stream_body(events, paced=job.kind == "paced") if events else chat_body()
    if job.sealed:
        body = sealed_request(CHAT_PATH, body)
    return request_bytes("POST", CHAT_PATH, job.port, body), events


async def work(job: Job) -> Outcome:
    """Do a job."""
    loop = asyncio.get_running_loop()
    request, events = _prepare(job)
    begun = time.perf_counter()
    # Paced streams take their time by themselves: the deadline only keeps each connection from a second one.
    run = _Run(request, job.connections, events, begun, begun + job.seconds * 0.9, loop.create_future())
    kind = _Streams if events else _WholeAnswers
    try:
        async with asyncio.timeout(job.seconds + GRACE_SECONDS):
            for _ in range(job.connections):
                await loop.create_connection(lambda: kind(run), "127.0.0.1", job.port)
            await run.over
    except (OSError, TimeoutError) as error:
        return Outcome(error=f"{job.kind}: {str(error) or type(error).__name__}")
    if events:
        return Outcome(len(run.times) * events, run.counted / (run.deadline - begun), statistics.median(run.times))
    return Outcome(len(run.times), len(run.times) / (run.last - begun), statistics.median(run.times))


def _main() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin.buffer:
            outcome = runner.run(work(msgspec.json.decode(line, type=Job)))
            sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main()
