"""A whole gateway between real sockets: what moves while a request is under way."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from privity.catalogue.model import Model
from privity.roles.gateway.config import Settings
from privity.roles.gateway.main import Running, serve
from privity.streams import Stream
from privity.transport.http_client import PooledHttpClient
from privity.transport.server import listening
from privity.transport.tasks import Background
from privity.transport.web import Handler, Reply, Request, Routes, StreamReply, WebApp, json_reply

pytestmark = pytest.mark.timeout(60)

CHAT = Model("org/chat", ("generate",), 1, "org")
HEADERS = [(b"privatemode-target-model", b"org/chat")]
PATH = "/v1/chat/completions"
POLL_SECONDS = 0.05
PIECE = b"a" * (1 << 20)


@asynccontextmanager
async def inference_proxy(infer: Handler, port: int = 0) -> AsyncIterator[str]:
    async def list_models(_request: Request) -> Reply:
        return json_reply({"data": [CHAT.row(CHAT.id)]})

    routes: Routes = {"/v1/models": {"GET": list_models}, PATH: {"POST": infer}}
    async with Background() as background, listening(WebApp(routes, background), "127.0.0.1", port, "peer") as url:
        yield url


@asynccontextmanager
async def gateway(*urls: str) -> AsyncIterator[tuple[Running, PooledHttpClient]]:
    async with serve(Settings(urls, poll_seconds=POLL_SECONDS)) as running, PooledHttpClient() as client:
        yield running, client


async def eventually(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110  # what is waited for has no event
        await asyncio.sleep(0.01)


async def answer(_request: Request) -> Reply:
    return json_reply({})


async def test_it_serves_from_the_first_moment_what_its_inference_proxies_serve() -> None:
    async with inference_proxy(answer) as peer, gateway(peer) as (running, client):
        assert list(running.fleet.catalogue.by_id) == ["org/chat"]
        response = await client.request("POST", running.url + PATH, headers=HEADERS, body=b"{}")
        async with response:
            assert response.status == 200


async def test_models_leave_with_their_inference_proxy_and_come_back_with_it() -> None:
    async with inference_proxy(answer) as peer:
        port = int(peer.rsplit(":", 1)[1])
    async with gateway(peer) as (running, _):
        assert list(running.fleet.catalogue.by_id) == []
        for _ in range(2):
            async with inference_proxy(answer, port):
                await eventually(lambda: list(running.fleet.catalogue.by_id) == ["org/chat"])
            await eventually(lambda: list(running.fleet.catalogue.by_id) == [])


async def test_a_large_body_goes_on_while_it_comes() -> None:
    first_arrived = asyncio.Event()
    received = 0

    async def count(request: Request) -> Reply:
        nonlocal received
        async for piece in request.stream(1 << 30):
            received += len(piece)
            first_arrived.set()
        return json_reply({"received": received})

    async def pieces() -> AsyncIterator[bytes]:
        yield PIECE
        await first_arrived.wait()  # a gateway that collects the body would never let this happen
        yield PIECE

    async with inference_proxy(count) as peer, gateway(peer) as (running, client):
        response = await client.request("POST", running.url + PATH, headers=HEADERS, body=pieces())
        async with response:
            assert await response.read(1000) == b'{"received":%d}' % (2 * len(PIECE))
        assert running.fleet.replicas[0].in_flight == 0


class OneEvent:
    """An answer that sends one event and then waits."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def __call__(self, request: Request) -> StreamReply:
        await request.body(1000)
        return StreamReply(200, [(b"content-type", b"text/event-stream")], Stream(self._chunks()))

    async def _chunks(self) -> AsyncGenerator[bytes]:
        try:
            yield b"data: 1\n\n"
            await asyncio.Event().wait()
        finally:
            self.left.set()


async def test_an_app_that_leaves_a_stream_ends_the_work_for_it() -> None:
    stream = OneEvent()
    async with inference_proxy(stream) as peer, gateway(peer) as (running, client):
        (replica,) = running.fleet.replicas
        response = await client.request("POST", running.url + PATH, headers=HEADERS, body=b"{}")
        async with response:
            assert await anext(response.chunks()) == b"data: 1\n\n"
            assert replica.in_flight == 1
            assert not stream.left.is_set()
        await stream.left.wait()
        await eventually(lambda: replica.in_flight == 0)


async def test_an_app_that_leaves_before_its_answer_ends_the_work_for_it() -> None:
    began, left = asyncio.Event(), asyncio.Event()

    async def wait(request: Request) -> Reply:
        await request.body(1000)
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        return json_reply({})

    async with inference_proxy(wait) as peer, gateway(peer) as (running, client):
        (replica,) = running.fleet.replicas
        asking = asyncio.get_running_loop().create_task(
            client.request("POST", running.url + PATH, headers=HEADERS, body=b"{}")
        )
        await began.wait()
        assert replica.in_flight == 1
        asking.cancel()
        await left.wait()
        await eventually(lambda: replica.in_flight == 0)


async def test_an_app_that_leaves_in_the_middle_of_a_large_body_ends_the_work_for_it() -> None:
    left = asyncio.Event()

    async def read(request: Request) -> Reply:
        try:
            await request.body(1 << 30)
        finally:
            left.set()
        return json_reply({})

    async def pieces() -> AsyncIterator[bytes]:
        yield PIECE
        await asyncio.Event().wait()

    async with inference_proxy(read) as peer, gateway(peer) as (running, client):
        (replica,) = running.fleet.replicas
        asking = asyncio.get_running_loop().create_task(
            client.request("POST", running.url + PATH, headers=HEADERS, body=pieces())
        )
        await eventually(lambda: replica.in_flight == 1)
        asking.cancel()
        await left.wait()
        await eventually(lambda: replica.in_flight == 0)


async def test_two_requests_at_once_go_to_two_replicas() -> None:
    streams = OneEvent(), OneEvent()
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(inference_proxy(stream)) for stream in streams]
        running, client = await stack.enter_async_context(gateway(*peers))
        for _ in peers:
            response = await client.request("POST", running.url + PATH, headers=HEADERS, body=b"{}")
            await stack.enter_async_context(response)
        assert [replica.in_flight for replica in running.fleet.replicas] == [1, 1]
