"""What clients may hold of a listener, and for how long, by a clock that tests move."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field, replace

import pytest

from privity.errors import ClientGoneError
from privity.protocol.mesh import SECRET_SERVICE
from privity.streams import Stream
from privity.testing.inference_rig import CA, NOW
from privity.transport.http_protocol import BODY_STEP_BYTES, WRITE_BUFFER_BYTES, Limits
from privity.transport.open_files import MAX_CONNECTIONS, max_connections
from privity.transport.server import Terms, listening
from privity.transport.tasks import Background
from privity.transport.tls import client_context, server_context
from privity.transport.web import EVENTS, MAX_BODY, Reply, Request, Routes, StreamReply, json_reply
from privity.transport.web_app import WebApp

pytestmark = pytest.mark.timeout(30)  # each takes milliseconds

LIMITS = Limits(connections=3, head_seconds=30, body_seconds=60, stall_seconds=120)
GET = b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n"
POST = b"POST /body HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\n"
CHUNK = 10_000
SOCKET_BUFFER = 32 * 1024
"""Bytes that a client's kernel takes, so that little is enough to fill it."""


@dataclass
class Clock:
    """A clock that stands until it is moved. Each look at it is one at the clients."""

    seconds: float = 1000.0
    looked: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self) -> float:
        self.looked.set()
        return self.seconds

    async def looks(self, times: int = 2) -> None:
        """Wait until the listener has looked so often."""
        for _ in range(times):
            self.looked.clear()
            await self.looked.wait()

    async def pass_by(self, seconds: float) -> None:
        """Let time pass, and the listener see it, when it has seen the present."""
        await self.looks()
        self.seconds += seconds
        await self.looks()


class Handlers:
    """What the listener serves."""

    def __init__(self) -> None:
        self.sent = 0
        self.left = asyncio.Event()
        self.go_on = asyncio.Event()
        self.error: BaseException | None = None

    async def ready(self, _asked: Request) -> Reply:
        return json_reply("ready")

    async def body(self, asked: Request) -> Reply:
        try:
            return json_reply((await asked.body(MAX_BODY)).decode())
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.left.set()

    async def busy(self, asked: Request) -> Reply:
        await asked.body(1000)
        await self.go_on.wait()
        return json_reply("done")

    async def endless(self, _asked: Request) -> StreamReply:
        async def chunks() -> AsyncGenerator[bytes]:
            try:
                while True:
                    yield b"x" * CHUNK
                    self.sent += CHUNK
                    await asyncio.sleep(0)
            finally:
                self.left.set()

        return StreamReply(200, [EVENTS], Stream(chunks()))


class Rig:
    def __init__(self) -> None:
        self.clock = Clock()
        self.handlers = Handlers()
        self.url = ""

    @contextlib.asynccontextmanager
    async def serving(self, *, tls: bool = False, limits: Limits = LIMITS) -> AsyncIterator[None]:
        handlers = self.handlers
        routes: Routes = {
            "/ready": {"GET": handlers.ready},
            "/body": {"POST": handlers.body},
            "/busy": {"POST": handlers.busy},
            "/endless": {"GET": handlers.endless},
        }
        terms = Terms(limits=limits, clock=self.clock, look_seconds=0.001)
        context = server_context(CA.issue(SECRET_SERVICE, NOW)) if tls else None
        async with Background() as background:
            app = WebApp(routes, background)
            async with listening(app, "127.0.0.1", 0, "test", context, terms=terms) as self.url:
                yield

    async def connect(self, sent: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.url.rsplit(":", 1)[1]))
        writer.write(sent)
        return reader, writer

    async def stalled(self, *, tls: bool = False) -> asyncio.StreamWriter:
        """Ask for what never ends, and take none of it."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        connection.connect(("127.0.0.1", int(self.url.rsplit(":", 1)[1])))
        context = client_context(CA.certificate) if tls else None
        name = SECRET_SERVICE if tls else None
        reader, writer = await asyncio.open_connection(sock=connection, limit=1, ssl=context, server_hostname=name)
        writer.write(b"GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await reader.read(1)
        return writer


async def settled(value: Callable[[], int]) -> int:
    """Return a value that grows, once it doesn't any more."""
    before = -1
    while (now := value()) != before:
        before = now
        await asyncio.sleep(0.05)
    return now


def error_of(answer: bytes) -> dict[str, str]:
    error: dict[str, str] = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    return error


# Heads


@pytest.mark.parametrize("length", [1, len(GET) - 2], ids=["a letter", "nearly all"])
async def test_a_head_that_does_not_come_to_its_end_is_a_408(length: int) -> None:
    rig = Rig()
    async with rig.serving():
        reader, writer = await rig.connect(GET[:length])
        await rig.clock.pass_by(LIMITS.head_seconds - 1)
        writer.write(GET[length : length + 1])  # a byte now and then doesn't help
        await rig.clock.pass_by(1)
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"connection: close" in answer
    assert error_of(answer)["code"] == "request_timeout"


@pytest.mark.parametrize("sent", [b"", b"\r\n"], ids=["nothing", "an empty line"])
async def test_a_connection_on_which_nothing_is_asked_is_closed(sent: bytes) -> None:
    rig = Rig()
    async with rig.serving():
        reader, writer = await rig.connect(sent)
        await rig.clock.pass_by(LIMITS.head_seconds)
        assert await reader.read() == b""
        writer.close()


async def test_an_idle_connection_is_kept_and_a_slow_second_head_is_a_408() -> None:
    rig = Rig()
    async with rig.serving():
        reader, writer = await rig.connect(GET)
        await reader.readuntil(b'"ready"')
        await rig.clock.pass_by(10 * LIMITS.head_seconds)  # uvicorn's own clock says when this is too long
        writer.write(GET[:10])
        await rig.clock.pass_by(0)
        await rig.clock.pass_by(LIMITS.head_seconds)
        assert (await reader.read()).startswith(b"HTTP/1.1 408")
        writer.close()


async def test_a_connection_that_is_used_again_and_again_is_never_cut_off() -> None:
    rig = Rig()
    async with rig.serving():
        reader, writer = await rig.connect()
        for _ in range(5):
            writer.write(GET[:10])
            await rig.clock.pass_by(LIMITS.head_seconds - 1)
            writer.write(GET[10:])
            await reader.readuntil(b'"ready"')
        writer.close()


# Bodies


async def test_a_body_without_progress_is_a_408_and_its_handler_is_left() -> None:
    rig = Rig()
    async with rig.serving():
        reader, writer = await rig.connect(POST.replace(b"length: 5", b"length: 50000"))
        for piece in b"a" * BODY_STEP_BYTES, b"b" * BODY_STEP_BYTES, b"c", b"d":
            writer.write(piece)
            await rig.clock.pass_by(LIMITS.body_seconds / 2)
        answer = await reader.read()
        await rig.handlers.left.wait()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408")
    assert error_of(answer)["message"] == "The request's body didn't come in time."
    assert isinstance(rig.handlers.error, ClientGoneError)


async def test_bodies_that_progress_are_waited_for() -> None:
    rig = Rig()
    async with rig.serving():
        reader, writer = await rig.connect(POST.replace(b"length: 5", b"length: 49152"))
        for _ in range(3):
            await rig.clock.pass_by(LIMITS.body_seconds - 1)
            writer.write(b"a" * BODY_STEP_BYTES)
            await writer.drain()
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_handshake_that_does_not_come_is_not_waited_for() -> None:
    rig = Rig()
    async with rig.serving(tls=True, limits=replace(LIMITS, handshake_seconds=0.05)):
        reader, writer = await rig.connect()
        assert await reader.read() == b""
        writer.close()


async def test_who_waits_for_an_answer_is_not_cut_off() -> None:
    rig = Rig()
    async with rig.serving():
        reader, writer = await rig.connect(POST.replace(b"/body", b"/busy") + b"abcde")
        await rig.clock.pass_by(1000 * LIMITS.stall_seconds)
        rig.handlers.go_on.set()
        assert (await reader.readuntil(b'"done"')).startswith(b"HTTP/1.1 200")
        writer.close()


# Readers


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_a_client_that_takes_nothing_is_waited_for_with_little_in_memory_and_then_cut_off(*, tls: bool) -> None:
    rig = Rig()
    async with rig.serving(tls=tls):
        writer = await rig.stalled(tls=tls)
        sent = await settled(lambda: rig.handlers.sent)
        assert sent < 50 * WRITE_BUFFER_BYTES + 4 * 1024 * 1024  # the kernel's buffers are most of it
        await rig.clock.pass_by(LIMITS.stall_seconds - 1)
        assert not rig.handlers.left.is_set()
        await rig.clock.pass_by(1)
        await rig.handlers.left.wait()
        writer.transport.abort()


async def test_a_client_that_takes_something_now_and_then_is_not_cut_off() -> None:
    rig = Rig()
    async with rig.serving():
        reader, writer = await rig.connect(b"GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n")
        for _ in range(4):
            await rig.clock.pass_by(LIMITS.stall_seconds - 1)
            before = rig.handlers.sent
            while rig.handlers.sent == before:
                await reader.read(1 << 16)
        assert not rig.handlers.left.is_set()
        writer.transport.abort()


async def test_a_client_that_takes_nothing_does_not_hold_up_others() -> None:
    rig = Rig()
    async with rig.serving():
        stalled = await rig.stalled()
        await settled(lambda: rig.handlers.sent)
        reader, writer = await rig.connect(GET)
        assert (await reader.readuntil(b'"ready"')).startswith(b"HTTP/1.1 200")
        writer.close()
        stalled.transport.abort()


# Connections


async def test_a_connection_beyond_the_limit_is_a_503_and_there_is_room_when_one_leaves() -> None:
    rig = Rig()
    async with rig.serving():
        kept = [await rig.connect(GET) for _ in range(LIMITS.connections)]
        for reader, _ in kept:
            await reader.readuntil(b'"ready"')
        reader, writer = await rig.connect()
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nretry-after: " in answer
        assert error_of(answer)["code"] == "busy"
        kept[0][1].close()
        await rig.clock.looks()
        reader, writer = await rig.connect(GET)
        await reader.readuntil(b'"ready"')
        for _, each in [*kept[1:], (reader, writer)]:
            each.close()


def test_a_process_with_few_files_takes_few_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"soft": 1024}
    monkeypatch.setattr("resource.getrlimit", lambda _which: (limits["soft"], limits["soft"]))
    assert 100 < max_connections() < 1024 / 5
    limits["soft"] = 10**6
    assert max_connections() == MAX_CONNECTIONS
