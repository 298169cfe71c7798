"""A whole gateway between real sockets: what moves while a request is under way, and whom it talks to."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import pytest

from privity.catalogue import full
from privity.catalogue.model import Model
from privity.errors import UpstreamProtocolError
from privity.http import Headers
from privity.protocol.agreement import Offer
from privity.protocol.mesh import INFERENCE_PROXY, SECRET_SERVICE, Identity, MeshCa
from privity.roles.gateway.config import Served, Settings
from privity.roles.gateway.fleet import Fleet
from privity.roles.gateway.main import Running, serve
from privity.roles.gateway.replica import Replica
from privity.roles.secret_service import config as secret_service_config
from privity.roles.secret_service import main as secret_service
from privity.streams import Stream
from privity.transport.forward import MAX_WHOLE_ANSWER
from privity.transport.http_client import PooledHttpClient
from privity.transport.server import listening
from privity.transport.tasks import Background
from privity.transport.tls import server_context
from privity.transport.web import Handler, Reply, Request, Routes, StreamReply, json_reply
from privity.transport.web_app import WebApp

pytestmark = pytest.mark.timeout(60)

LISTED = full.row(Model("org/chat", ("generate",), 1, "org"), "org/chat", datetime.now(UTC))
HEADERS = [(b"privatemode-target-model", b"org/chat")]
PATH = "/v1/chat/completions"
AGREE = "/privatemode/v1/secret"
POLL_SECONDS = 0.05
PIECE = b"a" * (1 << 20)
NOW = datetime.now(UTC)
MESH, FOREIGN_MESH = MeshCa.create(NOW), MeshCa.create(NOW)
PROXY = MESH.issue(INFERENCE_PROXY, NOW)
NOBODY = "http://127.0.0.1:1"


@asynccontextmanager
async def inference_proxy(infer: Handler, port: int = 0, identity: Identity = PROXY) -> AsyncIterator[str]:
    async def list_models(_request: Request) -> Reply:
        return json_reply({"data": [LISTED]})

    routes: Routes = {"/v1/models": {"GET": list_models}, PATH: {"POST": infer}}
    async with Background() as background:
        app = WebApp(routes, background)
        async with listening(app, "127.0.0.1", port, "peer", tls=server_context(identity)) as url:
            yield url


@asynccontextmanager
async def gateway(*urls: str, secret_services: Sequence[str] = ()) -> AsyncIterator[tuple[Running, PooledHttpClient]]:
    settings = Settings(Served(urls), tuple(secret_services), MESH.certificate, poll_seconds=POLL_SECONDS)
    async with serve(settings) as running, PooledHttpClient() as client:
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


async def test_an_inference_proxy_is_looked_at_again_after_a_failure_that_nobody_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    polls, again = iter([ValueError(), KeyError()]), asyncio.Event()

    async def poll(_fleet: Fleet, _replica: Replica) -> None:
        if (error := next(polls, None)) is not None:
            raise error
        again.set()

    async with inference_proxy(answer) as peer:
        monkeypatch.setattr(Fleet, "poll", poll)
        async with gateway(peer):
            await again.wait()


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


@pytest.mark.parametrize("kind", [b"text/event-stream", b"application/json"])
async def test_each_piece_of_an_answer_goes_on_before_the_next_comes_in(kind: bytes) -> None:
    go_on = asyncio.Event()
    sent = [os.urandom(size) for size in (1, 100, 70_000, 1)]

    async def pieces() -> AsyncGenerator[bytes]:
        for piece in sent:
            yield piece
            await go_on.wait()  # a gateway that collects would never let this happen
            go_on.clear()

    async def infer(request: Request) -> StreamReply:
        await request.body(1000)
        return StreamReply(200, [(b"content-type", kind)], Stream(pieces()))

    async with inference_proxy(infer) as peer, gateway(peer) as (running, client):
        response = await client.request("POST", running.url + PATH, headers=HEADERS, body=b"{}")
        async with response:
            chunks = response.chunks()
            for piece in sent:
                received = b""
                while len(received) < len(piece):
                    received += await anext(chunks)
                assert received == piece
                go_on.set()
            assert [chunk async for chunk in chunks] == []


@pytest.mark.parametrize("size", [1000, 3_000_000], ids=["small", "large"])
async def test_bytes_come_through_both_ways_as_they_are(size: int) -> None:
    async def echo(request: Request) -> Reply:
        return Reply(200, [(b"content-type", b"application/json")], (await request.body(1 << 30))[::-1])

    body = os.urandom(size)
    async with inference_proxy(echo) as peer, gateway(peer) as (running, client):
        for _ in range(2):
            response = await client.request("POST", running.url + PATH, headers=HEADERS, body=body)
            async with response:
                assert await response.read(1 << 30) == body[::-1]


# Answers that are cut

LONG = b"content-length: %d\r\n\r\n" % (MAX_WHOLE_ANSWER + 1)
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"


@asynccontextmanager
async def breaking_inference_proxy(answer: bytes) -> AsyncIterator[str]:
    """Serve a model whose every answer is the same bytes, after which the connection ends."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        listed = json_reply({"data": [LISTED]}).body
        asks_for_models = head.startswith(b"GET")
        if not asks_for_models:
            await reader.readexactly(2)
        length = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(listed)
        writer.write(length + listed if asks_for_models else b"HTTP/1.1 200 OK\r\n" + answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(PROXY))
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "answer",
    [
        LONG + b"ab",
        CHUNKED + b"2\r\nab\r\n",
        CHUNKED + b"2\r\nab\r\n5\r\ncd",
        b"content-type: text/event-stream\r\n" + CHUNKED + b"2\r\nab\r\n",
    ],
    ids=["long", "between chunks", "in a chunk", "events"],
)
async def test_an_answer_that_is_cut_in_the_middle_is_cut_for_the_client(answer: bytes) -> None:
    async with breaking_inference_proxy(answer) as peer, gateway(peer) as (running, client):
        response = await client.request("POST", running.url + PATH, headers=HEADERS, body=b"{}")
        async with response:
            assert response.status == 200
            with pytest.raises(UpstreamProtocolError):
                await response.read(1000)
        await eventually(lambda: running.fleet.replicas[0].in_flight == 0)


async def test_an_answer_that_is_cut_while_it_is_collected_is_an_error() -> None:
    async with (
        breaking_inference_proxy(b"content-length: 3\r\n\r\nab") as peer,
        gateway(peer) as (running, client),
    ):
        status, headers, _ = await post(client, running.url + PATH)
        assert (status, dict(headers)[b"privatemode-encrypted"]) == (502, b"false")


# Whom it trusts


async def post(client: PooledHttpClient, url: str, body: bytes = b"{}") -> tuple[int, Headers, bytes]:
    response = await client.request("POST", url, headers=HEADERS, body=body)
    async with response:
        return response.status, response.headers, await response.read(1 << 16)


IMPOSTORS = {
    "of another CA": FOREIGN_MESH.issue(INFERENCE_PROXY, NOW),
    "of another role": MESH.issue(SECRET_SERVICE, NOW),
    "of this host": MESH.issue("localhost", NOW),
}


class Curious:
    """An inference proxy that takes note of whether it is asked."""

    asked = False

    async def __call__(self, _request: Request) -> Reply:
        self.asked = True
        return json_reply({})


@pytest.mark.parametrize("impostor", IMPOSTORS.values(), ids=IMPOSTORS)
async def test_an_inference_proxy_with_another_certificate_is_not_used(impostor: Identity) -> None:
    curious = Curious()
    async with inference_proxy(curious, identity=impostor) as peer, gateway(peer) as (running, client):
        await running.fleet.poll(running.fleet.replicas[0])
        assert list(running.fleet.catalogue.by_id) == []
        assert (await post(client, running.url + PATH))[0] == 503
    assert not curious.asked


async def test_an_impostor_that_takes_an_inference_proxys_place_gets_no_request() -> None:
    curious = Curious()
    async with AsyncExitStack() as stack:
        async with inference_proxy(answer) as peer:
            never = Settings(Served((peer,)), (), MESH.certificate, poll_seconds=1e6)
            running = await stack.enter_async_context(serve(never))
        port = int(peer.rsplit(":", 1)[1])
        await stack.enter_async_context(inference_proxy(curious, port, IMPOSTORS["of another CA"]))
        client = await stack.enter_async_context(PooledHttpClient())
        assert list(running.fleet.catalogue.by_id) == ["org/chat"], "it was there a moment ago"
        assert (await post(client, running.url + PATH))[0] == 503
    assert not curious.asked


# Agreements


@asynccontextmanager
async def holder(identity: Identity, *, tls: bool = False) -> AsyncIterator[str]:
    settings = secret_service_config.Settings(identity, MESH.certificate, tls=tls)
    async with secret_service.serve(settings) as running:
        yield running.url


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_clients_agree_on_secrets_through_it(*, tls: bool) -> None:
    async with (
        holder(MESH.issue(SECRET_SERVICE, NOW), tls=tls) as url,
        gateway(secret_services=[NOBODY, url]) as (running, client),
    ):
        offer = Offer(os.urandom(32))
        status, _, answer = await post(client, running.url + AGREE, offer.request())
        assert status == 200
        assert offer.accept(answer, MESH.certificate, NOW).secret.id == offer.secret_id


@pytest.mark.parametrize(
    "impostor", [FOREIGN_MESH.issue(SECRET_SERVICE, NOW), PROXY], ids=["of another CA", "of another role"]
)
async def test_a_secret_service_with_another_certificate_is_passed_over(impostor: Identity) -> None:
    async with (
        holder(impostor, tls=True) as wrong,
        holder(MESH.issue(SECRET_SERVICE, NOW), tls=True) as right,
        gateway(secret_services=[wrong]) as (alone, client),
        gateway(secret_services=[wrong, right]) as (together, _),
    ):
        offer = Offer(os.urandom(32))
        assert (await post(client, alone.url + AGREE, offer.request()))[0] == 503
        status, _, answer = await post(client, together.url + AGREE, offer.request())
        assert status == 200
        offer.accept(answer, MESH.certificate, NOW)
