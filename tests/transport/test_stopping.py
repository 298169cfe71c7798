"""What becomes of answers under way when their listener stops, seen over real loopback sockets."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial

import pytest

from privity.streams import Stream
from privity.transport.error_forms import error_event
from privity.transport.exchange import KEEP_ALIVE_COMMENT
from privity.transport.server import Terms, listening
from privity.transport.stopping import Stopping
from privity.transport.tasks import Background
from privity.transport.web import EVENTS, Reply, Request, Routes, StreamReply, json_reply
from privity.transport.web_app import WebApp

pytestmark = pytest.mark.timeout(30)  # each takes milliseconds

FOR_EVER = 1000.0
"""Seconds of a grace that no test waits for."""


class Slow:
    """Handlers that wait until they may go on."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()
        self.left = asyncio.Event()

    async def whole(self, _asked: Request) -> Reply:
        await self._wait()
        return json_reply("finished")

    async def stream(self, asked: Request) -> StreamReply:
        return StreamReply(200, [EVENTS], Stream(self._chunks()), last_words=partial(error_event, path=asked.path))

    async def opaque(self, _asked: Request) -> StreamReply:
        return StreamReply(200, [EVENTS], Stream(self._chunks()))

    async def news(self, asked: Request) -> StreamReply:
        asked.only_waits = True
        return StreamReply(200, [EVENTS], Stream(self._chunks()), last_words=lambda _error: b"")

    async def poll(self, asked: Request) -> Reply:
        asked.only_waits = True
        return await self.whole(asked)

    async def _chunks(self) -> AsyncGenerator[bytes]:
        yield b"data: 1\n\n"
        await self._wait()
        yield b"data: 2\n\n"

    async def _wait(self) -> None:
        self.began.set()
        try:
            await self.go_on.wait()
        finally:
            self.left.set()


class Rig:
    """A listener that is asked for one answer, and then stopped."""

    def __init__(self, grace: float) -> None:
        self.stopping = Stopping(grace)
        self.slow = Slow()
        self.url = ""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        slow = self.slow
        routes: Routes = {
            "/whole": {"POST": slow.whole},
            "/v1/messages": {"POST": slow.stream},
            "/stream": {"POST": slow.stream},
            "/opaque": {"POST": slow.opaque},
            "/news": {"GET": slow.news},
            "/poll": {"GET": slow.poll},
        }
        async with Background() as background:
            app = WebApp(routes, background)
            async with listening(app, "127.0.0.1", 0, "test", terms=Terms(self.stopping)) as self.url:
                yield

    async def ask(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send a request and wait until it is being answered."""
        host, port = self.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        method = b"GET" if path in ("/news", "/poll") else b"POST"
        writer.write(method + b" " + path.encode() + b" HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")
        await self.slow.began.wait()
        return reader, writer


async def received(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[bytes, bytes]:
    """Return the head and the body, as they came, of what comes until the connection's end."""
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return head, body


@pytest.mark.parametrize(("path", "end"), [("/whole", b'"finished"'), ("/stream", b"data: 2\n\n\r\n0\r\n\r\n")])
async def test_an_answer_under_way_finishes(path: str, end: bytes) -> None:
    rig = Rig(FOR_EVER)
    async with rig.serving():
        connection = await rig.ask(path)
        assert rig.stopping.under_way == 1
        asyncio.get_running_loop().call_later(0.1, rig.slow.go_on.set)  # the listener is stopping by then
    head, body = await received(*connection)
    assert head.startswith(b"HTTP/1.1 200")
    assert body.endswith(end)
    assert rig.stopping.under_way == 0


async def test_meanwhile_nobody_else_is_served() -> None:
    rig = Rig(FOR_EVER)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(rig.serving())
        connection = await rig.ask("/whole")
        ending = asyncio.get_running_loop().create_task(stack.aclose())
        for _ in range(20):
            await asyncio.sleep(0)
        with pytest.raises(ConnectionError):
            await rig.ask("/whole")
        rig.slow.go_on.set()
        await ending
    head, _ = await received(*connection)
    assert b"connection: close" in head


@pytest.mark.parametrize(
    ("path", "kept"), [("/stream", {"message", "type", "param", "code"}), ("/v1/messages", {"message", "type"})]
)
async def test_a_stream_that_goes_on_after_the_grace_ends_with_an_error_in_its_apis_form(
    path: str, kept: set[str]
) -> None:
    rig = Rig(0)
    async with rig.serving():
        connection = await rig.ask(path)
    _, body = await received(*connection)
    assert rig.slow.left.is_set()
    assert body.endswith(b"\r\n0\r\n\r\n")
    event = body[body.index(b"event: error\n") :].partition(b"\r\n")[0]
    error = json.loads(event.removeprefix(b"event: error\ndata: "))["error"]
    assert set(error) == kept
    assert "stopped" in error["message"]


async def test_a_whole_answer_that_is_not_there_after_the_grace_is_a_503() -> None:
    rig = Rig(0)
    async with rig.serving():
        connection = await rig.ask("/whole")
    head, body = await received(*connection)
    assert head.startswith(b"HTTP/1.1 503")
    assert json.loads(body)["error"]["code"] == "stopping"
    assert rig.slow.left.is_set()


async def test_a_stream_that_nobody_here_can_end_in_words_is_cut() -> None:
    rig = Rig(0)
    async with rig.serving():
        connection = await rig.ask("/opaque")
    _, body = await received(*connection)
    assert body.endswith(b"data: 1\n\n\r\n")


async def test_a_second_request_to_stop_ends_the_grace() -> None:
    rig = Rig(FOR_EVER)
    async with rig.serving():
        connection = await rig.ask("/stream")
        asyncio.get_running_loop().call_later(0.05, rig.stopping.hasten)
    _, body = await received(*connection)
    assert b"event: error" in body


@pytest.mark.parametrize(("path", "whole"), [("/news", b"data: 1\n\n\r\n0\r\n\r\n"), ("/poll", b'"stopping"}}')])
async def test_who_waits_for_news_is_not_waited_for(path: str, whole: bytes) -> None:
    rig = Rig(FOR_EVER)
    async with rig.serving():
        connection = await rig.ask(path)
        assert rig.stopping.under_way == 0
    _, body = await received(*connection)
    assert body.endswith(whole)


async def test_a_client_that_takes_nothing_is_cut_off_after_the_last_words() -> None:
    began = asyncio.Event()

    async def endless(_asked: Request) -> StreamReply:
        async def chunks() -> AsyncGenerator[bytes]:
            began.set()
            while True:
                yield b"data: " + b"x" * 100_000 + b"\n\n"
                await asyncio.sleep(0)

        return StreamReply(200, [EVENTS], Stream(chunks()), last_words=partial(error_event, path="/"))

    async with Background() as background:
        app = WebApp({"/endless": {"GET": endless}}, background)
        async with listening(app, "127.0.0.1", 0, "test", terms=Terms(Stopping(0))) as url:
            _, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
            writer.write(b"GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await began.wait()
        assert app.under_way == 0
        writer.close()


async def test_all_listeners_of_a_program_share_one_grace() -> None:
    stopping = Stopping(0.05)
    first, second = Rig(0), Rig(0)
    first.stopping = second.stopping = stopping
    async with first.serving(), second.serving():
        connections = [await first.ask("/stream"), await second.ask("/stream")]
        assert stopping.under_way == 1  # one answer may pass through both
        stopping.begin()
        await stopping.pause(FOR_EVER)
    for connection in connections:
        assert b"event: error" in (await received(*connection))[1]


# Signs of life


class Spoken:
    """A stream whose chunks come when they are told to."""

    def __init__(self) -> None:
        self.chunks: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def answer(self, _asked: Request) -> StreamReply:
        return StreamReply(200, [EVENTS], Stream(self._steps()), keep_alive=0.01)

    async def _steps(self) -> AsyncGenerator[bytes]:
        while (chunk := await self.chunks.get()) is not None:
            yield chunk


async def test_a_silent_stream_shows_between_its_chunks_that_it_lives() -> None:
    spoken = Spoken()
    comment = b"%x\r\n%b\r\n" % (len(KEEP_ALIVE_COMMENT), KEEP_ALIVE_COMMENT)
    async with Background() as background:
        app = WebApp({"/": {"GET": spoken.answer}, "/x": {"GET": spoken.answer}}, background)
        async with listening(app, "127.0.0.1", 0, "test") as url:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
            writer.write(b"GET /x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            assert (await reader.readuntil(comment)).startswith(b"HTTP/1.1 200")
            await reader.readuntil(comment)
            spoken.chunks.put_nowait(b"data: 1\n\n")
            await reader.readuntil(b"data: 1\n\n")
            await reader.readuntil(comment)
            spoken.chunks.put_nowait(None)
            assert (await reader.read()).endswith(b"0\r\n\r\n")
            writer.close()
