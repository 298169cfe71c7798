"""A whole proxy between real sockets."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from privity.protocol.mesh import SECRET_SERVICE, MeshCa
from privity.roles.proxy.config import Settings
from privity.roles.proxy.main import serve
from privity.streams import Stream
from privity.testing.fake_deployment import FakeDeployment
from privity.testing.fake_http import SentRequest
from privity.transport.http_client import PooledHttpClient
from privity.transport.server import listening
from privity.transport.tasks import Background
from privity.transport.web import Reply, Request, StreamReply
from privity.transport.web_app import WebApp

pytestmark = pytest.mark.timeout(60)

CHAT = "/v1/chat/completions"
BODY = b'{"model": "m", "messages": [], "stream": true}'
CHUNK = {"id": "c1", "choices": [{"index": 0, "delta": {"content": "x"}}]}


class Open:
    """Something that is open until it is closed."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def aclose(self) -> None:
        self.closed.set()


class Gateway:
    """A deployment behind a real listener, whose streams may stop in the middle."""

    def __init__(self) -> None:
        self.deployment = FakeDeployment([CHUNK, CHUNK])
        now = datetime.now(UTC)
        self.deployment.ca = MeshCa.create(now)
        self.deployment.identity = self.deployment.ca.issue(SECRET_SERVICE, now)
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.streams: list[Open] = []
        self.begun = asyncio.Event()

    async def answer(self, request: Request) -> Reply | StreamReply:
        sent = SentRequest(
            request.method, "http://g" + request.path, request.headers, await request.body(1 << 20), None
        )
        response = self.deployment.server(sent)
        pieces = [each async for each in response.chunks()]
        if (b"content-type", b"text/event-stream") not in response.headers:
            return Reply(response.status, response.headers, b"".join(pieces))
        self.streams.append(Open())
        return StreamReply(200, response.headers, Stream(self._pieces(pieces), self.streams[-1]))

    async def _pieces(self, pieces: list[bytes]) -> AsyncGenerator[bytes]:
        for piece in pieces:
            yield piece
            self.begun.set()
            await self.go_on.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        routes = {path: {"POST": self.answer} for path in (CHAT, "/privatemode/v1/secret")}
        async with Background() as background, listening(WebApp(routes, background), "127.0.0.1", 0, "gateway") as url:
            yield url


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Gateway, str, PooledHttpClient]]:
    gateway = Gateway()
    async with gateway.running() as upstream:
        settings = Settings(upstream, gateway.deployment.ca.certificate, port=0)
        async with serve(settings) as url, PooledHttpClient() as client:
            yield gateway, url, client


async def test_a_proxy_answers_and_agrees_once() -> None:
    async with running() as (gateway, url, client):
        for _ in range(3):
            async with await client.request("POST", url + CHAT, body=BODY) as response:
                assert response.status == 200
                assert (await response.read(1 << 20)).endswith(b"data: [DONE]\n\n")
    assert gateway.deployment.agreements == 1
    assert len(gateway.deployment.asked) == 3


async def test_it_agrees_before_anybody_asks() -> None:
    async with running() as (gateway, _, _):
        while gateway.deployment.agreements == 0:  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.01)


async def test_it_serves_while_its_gateway_is_not_there() -> None:
    certificate = Gateway().deployment.ca.certificate
    async with (
        serve(Settings("http://127.0.0.1:9", certificate, port=0)) as url,
        PooledHttpClient() as client,
        await client.request("POST", url + CHAT, body=b"{}") as response,
    ):
        assert response.status == 400


async def test_each_event_reaches_the_app_as_it_comes() -> None:
    async with running() as (gateway, url, client):
        gateway.go_on.clear()
        async with await client.request("POST", url + CHAT, body=BODY) as response:
            chunks = response.chunks()
            assert b'"x"' in await anext(chunks)
            gateway.go_on.set()
            assert b"".join([chunk async for chunk in chunks]).endswith(b"data: [DONE]\n\n")


async def test_the_apps_cancel_reaches_the_gateway_within_a_second() -> None:
    async with running() as (gateway, url, client):
        gateway.go_on.clear()
        async with await client.request("POST", url + CHAT, body=BODY) as response:
            await anext(response.chunks())
        left = time.monotonic()
        await asyncio.wait_for(gateway.streams[0].closed.wait(), 1)
        assert time.monotonic() - left < 1


async def test_an_app_that_leaves_before_an_answer_begins_ends_the_request_within_a_second() -> None:
    left = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        begun.set()
        while await reader.read(1 << 16):
            pass
        left.set()
        writer.close()

    begun = asyncio.Event()
    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    upstream = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, serve(Settings(upstream, Gateway().deployment.ca.certificate, port=0)) as url:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
        writer.write(b"GET /v1/models/m HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await begun.wait()
        writer.close()
        await asyncio.wait_for(left.wait(), 5)


@asynccontextmanager
async def counted(upstream: str) -> AsyncIterator[tuple[str, list[int]]]:
    """Pass bytes on, and count the connections."""
    connections: list[int] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        further = await asyncio.open_connection("127.0.0.1", int(upstream.rsplit(":", 1)[1]))
        await asyncio.gather(pump(reader, further[1]), pump(further[0], writer))

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections


async def test_streams_share_a_connection_to_the_gateway() -> None:
    gateway = Gateway()
    async with (
        gateway.running() as upstream,
        counted(upstream) as (url, connections),
        serve(Settings(url, gateway.deployment.ca.certificate, port=0)) as proxy,
        PooledHttpClient() as client,
    ):
        for _ in range(5):
            async with await client.request("POST", proxy + CHAT, body=BODY) as response:
                await response.read(1 << 20)
    assert len(gateway.streams) == 5
    assert len(connections) == 1
