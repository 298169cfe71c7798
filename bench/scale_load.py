"""The load generator of `bench.scale`: lists, calls and subscribers.

Reads one `Job` a line from standard input, as JSON, and writes one `Outcome` a line; ends when its input does.
"""

import asyncio
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import cast

import msgspec
import uvloop

from bench.traffic import CHAT_PATH, MODELS_PATH, chat_body

GRACE_SECONDS = 40.0
"""That a job may take beyond its time before it counts as failed."""

AT_ONCE = 50
"""Subscribers that begin at the same time."""

_LENGTH = b"\r\ncontent-length: "
_ETAG = b"\r\netag: "
EVENTS_PATH = f"{MODELS_PATH}/events"


class Job(msgspec.Struct, frozen=True):
    """What to do.

    `list` asks for a list with each of the keys, one after the other; `mixed` lists and calls by turns; `subscribe`
    opens that many event streams and keeps them, `heard` waits until each had that many changes, and `leave` closes
    them.
    """

    kind: str
    port: int = 0
    keys: list[str] = []
    seconds: float = 0.0
    """0 is once for each key."""
    known: bool = False
    """Whether lists are asked for under the condition that they changed."""
    connections: int = 1
    rate: float = 0.0
    """Requests a second; 0 is as fast as it goes."""
    model: str = ""
    """That is called."""
    count: int = 0


class Outcome(msgspec.Struct, frozen=True):
    """What happened."""

    done: int = 0
    rate: float = 0.0
    times: dict[str, list[float]] = {}
    """Seconds of each request, by kind."""
    size: float = 0.0
    """Bytes of an answer's body, the median."""
    first: float = 0.0
    """When the first subscriber heard, by the system's steady clock."""
    last: float = 0.0
    error: str = ""


class _FailedError(Exception):
    """What came back isn't what was expected."""


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._head = b""
        self._missing = 0
        self._answer: asyncio.Future[None] | None = None
        self.etag = ""
        self.status = b""
        self.size = 0

    async def ask(self, request: bytes) -> float:
        """Return the seconds until the whole answer was here."""
        self._head, self._missing = b"", -1
        self._answer = asyncio.get_running_loop().create_future()
        begun = time.perf_counter()
        self._transport.write(request)
        await self._answer
        return self._arrived - begun

    def data_received(self, data: bytes) -> None:
        """Count what comes."""
        if self._missing < 0:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._head[:end].lower() + b"\r\n"
            self.status = head[9:12]
            self.size = int(_value(head, _LENGTH) or 0)
            self.etag = _value(head, _ETAG).decode()
            self._missing = end + 4 + self.size - len(self._head)
        else:
            self._missing -= len(data)
        if self._missing == 0 and self._answer is not None:
            self._arrived = time.perf_counter()
            self._answer.set_result(None)
            self._answer = None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Fail where this came too early."""
        if self._answer is not None:
            self._answer.set_exception(_FailedError("a connection was closed before its time"))

    def close(self) -> None:
        """Close it."""
        self._transport.close()


def _value(head: bytes, name: bytes) -> bytes:
    at = head.find(name)
    return head[at + len(name) :].split(b"\r", 1)[0] if at >= 0 else b""


def _get(path: str, key: str, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n{more}\r\n".encode()


def _call(key: str, model: str) -> bytes:
    body = chat_body(model)
    head = f"POST {CHAT_PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
    head += (
        f"Privatemode-Target-Model: {model}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _connect(port: int) -> _Connection:
    return (await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", port))[1]


async def _list(job: Job) -> Outcome:
    connection = await _connect(job.port)
    etags: dict[str, str] = {}
    if job.known:
        for key in job.keys:
            await connection.ask(_get(MODELS_PATH, key))
            etags[key] = connection.etag
    times, sizes = [], []
    begun = time.perf_counter()
    keys: Iterable[str] = itertools.cycle(job.keys) if job.seconds else job.keys
    for key in keys:
        condition = f"If-None-Match: {etags[key]}\r\n" if job.known else ""
        times.append(await connection.ask(_get(MODELS_PATH, key, condition)))
        sizes.append(connection.size)
        if connection.status != (b"304" if job.known else b"200"):
            raise _FailedError(f"the status is {connection.status.decode()}")
        if job.seconds and time.perf_counter() >= begun + job.seconds:
            break
    connection.close()
    rate = len(times) / (time.perf_counter() - begun)
    return Outcome(len(times), rate, {"list": times}, statistics.median(sizes))


async def _mixed(job: Job) -> Outcome:
    requests = {"list": _get(MODELS_PATH, job.keys[0]), "call": _call(job.keys[0], job.model)}
    kinds = itertools.cycle(requests)
    times: dict[str, list[float]] = {kind: [] for kind in requests}
    begun = time.perf_counter()
    due = itertools.count()

    async def work(connection: _Connection) -> None:
        while time.perf_counter() < begun + job.seconds:
            kind = next(kinds)
            if job.rate:
                await asyncio.sleep(begun + next(due) / job.rate - time.perf_counter())
            times[kind].append(await connection.ask(requests[kind]))
            if connection.status != b"200":
                raise _FailedError(f"the status of a {kind} is {connection.status.decode()}")
        connection.close()

    async with asyncio.TaskGroup() as group:
        for connection in [await _connect(job.port) for _ in range(job.connections)]:
            group.create_task(work(connection))
    done = sum(map(len, times.values()))
    return Outcome(done, done / (time.perf_counter() - begun), times)


class _Subscriber(asyncio.Protocol):
    """One event stream; `heard` is the number of its changes."""

    def __init__(self, crowd: "_Crowd", request: bytes) -> None:
        self._crowd = crowd
        self._request = request
        self._tail = b""
        self.listed = self.heard = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Count events by their names; one that is cut in two is found in what is left."""
        seen = self._tail + data
        self.listed += seen.count(b"event: list\n")
        changes = seen.count(b"event: change\n")
        self._tail = seen[-16:] if not seen.endswith(b"\n") else b""
        if changes:
            self.heard += changes
            self._crowd.times.append(time.monotonic())
        if changes or self.listed:
            self._crowd.progress.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Tell the others."""
        self._crowd.lost += 1
        self._crowd.progress.set()


class _Crowd:
    """All subscribers."""

    def __init__(self) -> None:
        self.progress = asyncio.Event()
        self.times: list[float] = []
        self.lost = 0
        self._all: list[_Subscriber] = []

    async def subscribe(self, job: Job) -> Outcome:
        """Open the streams."""
        loop = asyncio.get_running_loop()
        keys = itertools.cycle(job.keys)
        while len(self._all) < job.count:
            for _ in range(min(AT_ONCE, job.count - len(self._all))):
                made = partial(_Subscriber, self, _get(EVENTS_PATH, next(keys)))
                self._all.append((await loop.create_connection(made, "127.0.0.1", job.port))[1])
            await self._wait(lambda each: each.listed > 0)
        return Outcome(len(self._all))

    async def heard(self, job: Job) -> Outcome:
        """Wait until everybody heard."""
        await self._wait(lambda each: each.heard >= job.count)
        times, self.times = self.times, []
        return Outcome(len(self._all), first=min(times), last=max(times))

    async def leave(self, _job: Job) -> Outcome:
        """Close all streams."""
        count = len(self._all)
        for each in self._all:
            each.transport.abort()
        self._all.clear()
        await asyncio.sleep(0.2)
        self.lost, self.times = 0, []
        return Outcome(count)

    async def _wait(self, is_done: Callable[[_Subscriber], bool]) -> None:
        while not all(map(is_done, self._all)):
            if self.lost:
                raise _FailedError(f"{self.lost} of {len(self._all)} subscribers were cut off")
            self.progress.clear()
            await self.progress.wait()
            await asyncio.sleep(0.01)


async def work(job: Job, crowd: _Crowd) -> Outcome:
    """Do a job."""
    kinds = {
        "list": _list,
        "mixed": _mixed,
        "subscribe": crowd.subscribe,
        "heard": crowd.heard,
        "leave": crowd.leave,
    }
    try:
        async with asyncio.timeout(job.seconds + GRACE_SECONDS):
            return await kinds[job.kind](job)
    except* (OSError, TimeoutError, _FailedError) as errors:
        error = errors.exceptions[0]
    return Outcome(error=f"{job.kind}: {str(error) or type(error).__name__}")


def _main() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        crowd = _Crowd()
        runner.run(_jobs(crowd))


async def _jobs(crowd: _Crowd) -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.buffer.readline):
        outcome = await work(msgspec.json.decode(line, type=Job), crowd)
        sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main()
