"""Listeners and clients that speak TLS with certificates of a mesh, over real loopback sockets."""

import asyncio
import contextlib
import logging
import ssl
import stat
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from privity.errors import UpstreamUnreachableError
from privity.protocol.mesh import INFERENCE_PROXY, SECRET_SERVICE, Identity, MeshCa
from privity.streams import Stream
from privity.transport.http_client import PooledHttpClient
from privity.transport.server import LAST_WORDS_SECONDS, listening
from privity.transport.tasks import Background
from privity.transport.tls import client_context, server_context
from privity.transport.web import Reply, Request, Routes, StreamReply, json_reply
from privity.transport.web_app import WebApp

pytestmark = pytest.mark.timeout(30)  # each takes milliseconds

NOW = datetime.now(UTC)
MESH, FOREIGN_MESH = MeshCa.create(NOW), MeshCa.create(NOW)
SERVICE, PROXY = MESH.issue(SECRET_SERVICE, NOW), MESH.issue(INFERENCE_PROXY, NOW)
BODY = b"a" * (1 << 20)
GET = b"GET /ticks HTTP/1.1\r\nhost: localhost\r\n\r\n"


class Service:
    """Routes that take note of what reaches them."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gone = asyncio.Event()

    @property
    def routes(self) -> Routes:
        return {"/length": {"POST": self._length}, "/ticks": {"GET": self._ticks}}

    async def _length(self, request: Request) -> Reply:
        self.asked.append(request.path)
        return json_reply(len(await request.body(1 << 22)))

    async def _ticks(self, request: Request) -> StreamReply:
        self.asked.append(request.path)

        async def chunks() -> AsyncGenerator[bytes]:
            try:
                yield b"first"
                yield BODY
                await asyncio.Event().wait()
            finally:
                self.gone.set()

        return StreamReply(200, [], Stream(chunks()))


@contextlib.asynccontextmanager
async def serving(tls: ssl.SSLContext, client_name: str | None = None) -> AsyncIterator[tuple[str, Service]]:
    service = Service()
    async with Background() as background:
        app = WebApp(service.routes, background)
        async with listening(app, "127.0.0.1", 0, "test", tls=tls, client_name=client_name) as url:
            yield url, service


def client(ca: MeshCa = MESH, identity: Identity | None = None, name: str = SECRET_SERVICE) -> PooledHttpClient:
    return PooledHttpClient(tls=client_context(ca.certificate, identity), server_name=name)


async def length(http: PooledHttpClient, url: str, body: bytes = BODY) -> bytes:
    async with await http.request("POST", url + "/length", body=body) as answer:
        assert answer.status == 200
        return await answer.read(100)


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


async def test_answers_and_bodies_pass_and_the_connection_is_kept() -> None:
    async with serving(server_context(SERVICE)) as (url, _), client() as http:
        assert url.startswith("https://127.0.0.1:")
        for _ in range(3):
            assert await length(http, url) == b"%d" % len(BODY)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=["P-256", "P-384"])
async def test_both_curves_of_a_mesh_work(curve: ec.EllipticCurve) -> None:
    service, proxy = MESH.issue(SECRET_SERVICE, NOW, curve), MESH.issue(INFERENCE_PROXY, NOW, curve)
    tls = server_context(service, MESH.certificate)
    async with serving(tls, INFERENCE_PROXY) as (url, _), client(identity=proxy) as http:
        assert await length(http, url, b"ab") == b"2"


async def test_a_stream_arrives_as_it_comes_and_ends_when_its_client_leaves() -> None:
    async with serving(server_context(SERVICE)) as (url, service), client() as http:
        async with await http.request("GET", url + "/ticks") as answer:
            chunks = answer.chunks()
            received = await anext(chunks)
            assert received.startswith(b"first")
            while len(received) < len(BODY) + 5:
                received += await anext(chunks)
        await service.gone.wait()


@pytest.mark.parametrize(("ca", "name"), [(FOREIGN_MESH, SECRET_SERVICE), (MESH, INFERENCE_PROXY), (MESH, "localhost")])
async def test_a_client_refuses_a_server_of_another_ca_or_name(ca: MeshCa, name: str) -> None:
    async with serving(server_context(SERVICE)) as (url, service), client(ca, name=name) as http:
        with pytest.raises(UpstreamUnreachableError, match="certificate verify failed"):
            await length(http, url)
        assert service.asked == []


async def test_a_client_without_a_name_wants_the_hosts() -> None:
    nameless = PooledHttpClient(tls=client_context(MESH.certificate))
    async with serving(server_context(SERVICE)) as (url, _), nameless as http:
        with pytest.raises(UpstreamUnreachableError, match="IP address mismatch"):
            await length(http, url)


async def test_the_name_is_for_tls_only() -> None:
    async with (
        Background() as background,
        listening(WebApp(Service().routes, background), "127.0.0.1", 0, "test") as url,
        client() as http,
    ):
        assert await length(http, url, b"abc") == b"3"


# Whom a listener for one role refuses

REFUSED = {
    "no certificate": None,
    "of another CA": FOREIGN_MESH.issue(INFERENCE_PROXY, NOW),
    "another name": SERVICE,
    "a longer name": MESH.issue("inference-proxy.example", NOW),
    "a wildcard": MESH.issue("*", NOW),
    "expired": MESH.issue(INFERENCE_PROXY, NOW.replace(year=NOW.year - 2)),
}


@pytest.mark.parametrize("identity", REFUSED.values(), ids=REFUSED)
async def test_a_listener_for_one_role_reads_nothing_from_others(
    identity: Identity | None, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    tls = server_context(SERVICE, MESH.certificate)
    async with serving(tls, INFERENCE_PROXY) as (url, service):
        async with client(identity=identity) as http:
            with pytest.raises(UpstreamUnreachableError):
                await length(http, url)
        async with client(identity=PROXY) as http:
            assert await length(http, url, b"a") == b"1"
        assert service.asked == ["/length"]
    assert [each for each in caplog.records if each.levelno >= logging.INFO and each.message != "request"] == []
    assert "Traceback" not in caplog.text
    assert capfd.readouterr() == ("", "")


async def test_a_request_that_comes_with_the_handshake_is_not_read_either() -> None:
    async with serving(server_context(SERVICE, MESH.certificate), INFERENCE_PROXY) as (url, service):
        context = client_context(MESH.certificate, SERVICE)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname=SECRET_SERVICE)
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        writer.write(outgoing.read())
        while True:
            incoming.write(await reader.read(1 << 16))
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                continue
            break
        tls.write(b"GET /ticks HTTP/1.1\r\nhost: localhost\r\n\r\n")
        writer.write(outgoing.read())  # the client's certificate and its request in one piece
        with contextlib.suppress(ConnectionError):
            incoming.write(await reader.read())
            assert b"HTTP" not in incoming.read()
        writer.close()
        assert service.asked == []


async def test_a_listener_that_wants_a_name_and_has_no_tls_answers_nobody() -> None:
    async with Background() as background, PooledHttpClient() as http:
        app = WebApp(Service().routes, background)
        async with listening(app, "127.0.0.1", 0, "test", client_name=INFERENCE_PROXY) as url:
            with pytest.raises(UpstreamUnreachableError):
                await length(http, url)


# What is not TLS 1.3


async def test_tls_1_2_is_refused_by_both_ends() -> None:
    new_server, old_server = server_context(SERVICE), server_context(SERVICE)
    new_client, old_client = client_context(MESH.certificate), client_context(MESH.certificate)
    for old in (old_server, old_client):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    for of_server, of_client in ((new_server, old_client), (old_server, new_client)):
        http = PooledHttpClient(tls=of_client, server_name=SECRET_SERVICE)
        async with serving(of_server) as (url, service), http:
            with pytest.raises(UpstreamUnreachableError):
                await length(http, url)
            assert service.asked == []
    async with serving(old_server) as (url, _), PooledHttpClient(tls=old_client, server_name=SECRET_SERVICE) as http:
        assert await length(http, url, b"a") == b"1"  # it was the version


@pytest.mark.parametrize("sent", [GET, b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"a" * 100, b""])
async def test_a_client_that_speaks_something_else_is_cut_off_without_a_word(
    sent: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(server_context(SERVICE)) as (url, service):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
        writer.write(sent)
        if not sent:
            writer.close()
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in await reader.read()
        writer.close()
        async with client() as http:
            assert await length(http, url, b"a") == b"1"
        assert service.asked == ["/length"]
    assert [each for each in caplog.records if each.levelno >= logging.INFO and each.message != "request"] == []
    assert capfd.readouterr() == ("", "")


async def test_bytes_that_are_not_http_get_the_same_answer_as_without_tls() -> None:
    async with serving(server_context(SERVICE)) as (url, _):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port_of(url), ssl=client_context(MESH.certificate), server_hostname=SECRET_SERVICE
        )
        writer.write(b"hello\r\n\r\n")
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"invalid_http" in answer


# Stopping


async def test_stopping_closes_idle_connections_without_waiting() -> None:
    async with client() as http:
        async with serving(server_context(SERVICE)) as (url, _):
            await length(http, url)
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < LAST_WORDS_SECONDS


async def test_a_client_that_never_finishes_its_handshake_does_not_hold_up_the_end() -> None:
    async with serving(server_context(SERVICE)) as (url, _):
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
        writer.write(b"\x16\x03\x01")
        await writer.drain()
    writer.close()
    await asyncio.sleep(0)


# Keys


def test_a_key_never_reaches_a_file_in_clear_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    load = ssl.SSLContext.load_cert_chain

    def spy(self: ssl.SSLContext, certfile: Path, *, password: bytes) -> None:
        file, directory = (stat.S_IMODE(path.stat().st_mode) for path in (certfile, certfile.parent))
        seen.append((certfile.read_text(), file, directory))
        load(self, certfile, password=password)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", spy)
    server_context(SERVICE, MESH.certificate)
    client_context(MESH.certificate, PROXY)
    assert [modes for _, *modes in seen] == [[0o600, 0o700]] * 2
    assert all("BEGIN ENCRYPTED PRIVATE KEY" in text and "BEGIN PRIVATE KEY" not in text for text, *_ in seen)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_resumed_and_only_the_mesh_ca_is_trusted() -> None:
    assert server_context(SERVICE).num_tickets == 0
    for context in (server_context(SERVICE, MESH.certificate), client_context(MESH.certificate)):
        assert context.cert_store_stats() == {"x509": 1, "crl": 0, "x509_ca": 1}
        assert context.verify_mode == ssl.CERT_REQUIRED
