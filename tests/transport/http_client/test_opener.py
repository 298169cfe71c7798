"""Outgoing proxies and trust: the client against real proxies and TLS on loopback."""

import asyncio
import gc
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest

from privity.errors import (
    OutgoingProxyError,
    UntrustedPeerError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from privity.protocol.mesh import Identity, MeshCa
from privity.testing.connect_proxy import ConnectProxy, connect_proxy, tls_in_front_of, write_tls_files
from privity.transport.forward import api_error
from privity.transport.http_client import OutgoingProxy, PooledHttpClient, outgoing_proxy
from privity.transport.http_client.parser import MAX_HEAD_BYTES

pytestmark = pytest.mark.timeout(30)  # each takes milliseconds

NOW = datetime.now(UTC)
CA, FOREIGN_CA = MeshCa.create(NOW), MeshCa.create(NOW)
GATEWAY, LOCALHOST = CA.issue("gateway.test", NOW), CA.issue("localhost", NOW)
USER = "user:open sesame"
URL = "https://gateway.test/v1/models"
SIZE = 1 << 22
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def trusting(ca: MeshCa = CA) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca.certificate_pem().decode())


def way(url: str, proxy: str) -> OutgoingProxy:
    found = outgoing_proxy({"all_proxy": proxy}, url)
    assert found is not None
    return found


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Web:
    """Answers each request, and keeps its head."""

    def __init__(self, answer: bytes = OK) -> None:
        self.heads: list[bytes] = []
        self.connections = 0
        self.left = asyncio.Event()
        self._answer = answer

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError):
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self._answer)
        writer.close()
        self.left.set()


@asynccontextmanager
async def gateway(directory: Path, identity: Identity = GATEWAY) -> AsyncIterator[tuple[Web, int]]:
    web = Web()
    async with serving(web.answer) as port:
        with tls_in_front_of(port, write_tls_files(identity, directory)) as own:
            yield web, own


@asynccontextmanager
async def proxied(directory: Path, user: str | None = None) -> AsyncIterator[tuple[Web, ConnectProxy]]:
    async with gateway(directory) as (web, port):
        with connect_proxy({"gateway.test:443": port}, user) as proxy:
            yield web, proxy


async def get(client: PooledHttpClient, url: str = URL) -> bytes:
    async with await client.request("GET", url) as response:
        assert response.status == 200
        return await response.read(100)


@pytest.fixture(autouse=True)
def _nothing_is_left_open() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        yield
        gc.collect()


# Through a tunnel


async def test_requests_go_through_one_tunnel_that_is_kept(tmp_path: Path) -> None:
    async with proxied(tmp_path) as (web, proxy):
        async with PooledHttpClient(tls=trusting(), proxy=way(URL, proxy.url)) as client:
            assert [await get(client) for _ in range(3)] == [b"ok"] * 3
        assert proxy.heads == [b"CONNECT gateway.test:443 HTTP/1.1\r\nhost: gateway.test:443\r\n\r\n"]
        assert web.connections == 1
        assert web.heads == [b"GET /v1/models HTTP/1.1\r\nhost: gateway.test\r\n\r\n"] * 3


async def test_the_proxys_user_is_known_to_the_proxy_alone(tmp_path: Path) -> None:
    async with proxied(tmp_path, USER) as (web, proxy):
        async with PooledHttpClient(tls=trusting(), proxy=way(URL, proxy.url)) as client:
            assert await get(client) == b"ok"
        assert b"proxy-authorization: Basic " in proxy.heads[0]
        assert b"authorization" not in web.heads[0]


async def test_the_origins_certificate_is_still_what_counts(tmp_path: Path) -> None:
    async with proxied(tmp_path) as (web, proxy):
        async with PooledHttpClient(tls=trusting(FOREIGN_CA), proxy=way(URL, proxy.url)) as client:
            with pytest.raises(UpstreamUnreachableError, match="certificate verify failed"):
                await get(client)
        assert web.heads == []


async def test_a_name_for_certificates_holds_inside_a_tunnel_too(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (_, port):
        with connect_proxy({"192.0.2.1:8443": port}) as proxy:
            url = "https://192.0.2.1:8443/"
            named = PooledHttpClient(tls=trusting(), server_name="gateway.test", proxy=way(url, proxy.url))
            async with named as client:
                assert await get(client, url) == b"ok"


async def test_a_proxy_may_speak_tls_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    (tmp_path / "ca.pem").write_bytes(CA.certificate_pem())
    async with proxied(tmp_path) as (web, proxy):
        with tls_in_front_of(proxy.port, write_tls_files(LOCALHOST, tmp_path)) as port:
            async with PooledHttpClient(proxy=way(URL, f"https://localhost:{port}")) as client:
                assert [await get(client), await get(client)] == [b"ok", b"ok"]
        assert len(web.heads) == 2


async def test_a_proxy_whose_certificate_is_not_trusted_is_told_nothing(tmp_path: Path) -> None:
    async with proxied(tmp_path, USER) as (_, proxy):
        with tls_in_front_of(proxy.port, write_tls_files(LOCALHOST, tmp_path)) as port:
            outgoing = way(URL, f"https://{quote(USER, safe=':')}@localhost:{port}")
            async with PooledHttpClient(tls=trusting(), proxy=outgoing) as client:
                with pytest.raises(
                    OutgoingProxyError, match=r"localhost:\d+ shows a certificate that this machine does"
                ):
                    await get(client)
        assert proxy.heads == []


async def test_a_tunnel_that_the_origin_closes_is_an_unreachable_origin() -> None:
    async def closes(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        return

    async with serving(closes) as port:
        with connect_proxy({"gateway.test:443": port}) as proxy:
            async with PooledHttpClient(tls=trusting(), proxy=way(URL, proxy.url)) as client:
                with pytest.raises(UpstreamUnreachableError):
                    await get(client)


async def test_large_bodies_pass_in_both_directions(tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(SIZE)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (SIZE, body))
        await writer.drain()
        await reader.read()

    body = bytes(range(256)) * (SIZE // 256)
    async with serving(echo) as port:
        with (
            tls_in_front_of(port, write_tls_files(GATEWAY, tmp_path)) as own,
            connect_proxy({"gateway.test:443": own}) as proxy,
        ):
            client = PooledHttpClient(tls=trusting(), proxy=way(URL, proxy.url))
            async with client, await client.request("POST", URL, body=body) as response:
                assert await response.read(SIZE) == body


async def test_an_answer_that_is_cut_inside_a_tunnel_is_an_error(tmp_path: Path) -> None:
    files = write_tls_files(GATEWAY, tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(files.certificate, files.key)
    read = asyncio.Event()

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nab")
        await read.wait()

    async with serving(cut, tls) as port:  # which aborts the connection at the handler's end
        with connect_proxy({"gateway.test:443": port}) as proxy:
            client = PooledHttpClient(tls=trusting(), proxy=way(URL, proxy.url))
            async with client, await client.request("GET", URL) as response:
                chunks = response.chunks()
                assert await anext(chunks) == b"ab"
                read.set()
                with pytest.raises(UpstreamProtocolError):
                    await anext(chunks)


# Proxies that don't let through


async def test_a_proxy_that_wants_another_user_says_so(tmp_path: Path) -> None:
    async with proxied(tmp_path, USER) as (_, proxy):
        for user in ("", "user:wrong@"):
            outgoing = way(URL, f"http://{user}127.0.0.1:{proxy.port}")
            async with PooledHttpClient(tls=trusting(), proxy=outgoing) as client:
                with pytest.raises(OutgoingProxyError, match=r"wants a user's name and password") as caught:
                    await get(client)
                assert "wrong" not in str(caught.value)


REFUSALS = {
    "403": (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno", "answers with status 403"),
    "502 in pieces": (b"HTTP/1.1 502 |Bad Gateway\r\n|\r\n", "answers with status 502"),
    "redirect": (b"HTTP/1.1 302 Found\r\nlocation: https://login.example/\r\n\r\n", "answers with status 302"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", "gives no valid answer"),
    "nothing": (b"", "gives no valid answer"),
    "half a head": (b"HTTP/1.1 200 OK\r\nx: y\r\n", "gives no valid answer"),
    "an endless head": (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * (MAX_HEAD_BYTES // 6 + 1), "gives no valid answer"),
    "another protocol": (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", "gives no valid answer"),
}


@pytest.mark.parametrize(("answer", "text"), REFUSALS.values(), ids=REFUSALS)
async def test_a_proxy_that_refuses_is_named(answer: bytes, text: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in answer.split(b"|"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()

    async with serving(refuse) as port:
        outgoing = way(URL, f"http://{quote(USER, safe=':')}@127.0.0.1:{port}")
        async with PooledHttpClient(tls=trusting(), proxy=outgoing) as client:
            with pytest.raises(OutgoingProxyError) as caught:
                await get(client)
    told = api_error(caught.value, "gateway")
    assert (told.status, told.code) == (503, "outgoing_proxy_failed")
    assert told.message.startswith(f"The gateway can't be reached: the outgoing proxy http://127.0.0.1:{port} ")
    assert told.message.endswith(f"{text}.")
    assert "sesame" not in told.message


async def test_a_proxy_that_is_not_there_is_named(unused_tcp_port: int) -> None:
    async with PooledHttpClient(tls=trusting(), proxy=way(URL, f"http://127.0.0.1:{unused_tcp_port}")) as client:
        with pytest.raises(OutgoingProxyError, match="can't be reached itself"):
            await get(client)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["asked", "connected"])
async def test_a_proxy_that_lets_wait_is_named(said: bytes) -> None:
    async def wait(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await asyncio.Event().wait()

    async with serving(wait) as port:
        outgoing = way(URL, f"http://127.0.0.1:{port}")
        async with PooledHttpClient(tls=trusting(), proxy=outgoing, connect_timeout=0.1) as client:
            with pytest.raises(OutgoingProxyError, match="takes too long"):
                await get(client)
            with pytest.raises(UpstreamTimeoutError):
                await client.request("GET", URL, head_timeout=0.05)


async def test_closing_the_client_ends_a_tunnel_that_is_being_made() -> None:
    asked = asyncio.Event()

    async def wait(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with serving(wait) as port:
        client = PooledHttpClient(tls=trusting(), proxy=way(URL, f"http://127.0.0.1:{port}"))
        request = asyncio.get_running_loop().create_task(client.request("GET", URL))
        await asked.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await client.aclose()


# Plain HTTP


async def test_plain_requests_are_the_proxys_to_read() -> None:
    url = "http://gateway.test:8081/v1/models?limit=1"
    web = Web()
    async with serving(web.answer) as port:
        outgoing = way(url, f"http://{quote(USER, safe=':')}@127.0.0.1:{port}")
        async with PooledHttpClient(proxy=outgoing) as client:
            assert [await get(client, url), await get(client, url)] == [b"ok", b"ok"]
    assert web.connections == 1
    line, host, user = web.heads[0].split(b"\r\n")[:3]
    assert line == b"GET http://gateway.test:8081/v1/models?limit=1 HTTP/1.1"
    assert host == b"host: gateway.test:8081"
    assert user.startswith(b"proxy-authorization: Basic ")


WHO = b"HTTP/1.1 407 Who are you?\r\ncontent-length: 2\r\n\r\nno"


async def test_a_proxy_that_reads_and_wants_another_user_says_so() -> None:
    url = "http://gateway.test"
    async with serving(Web(WHO).answer) as port:
        outgoing = way(url, f"http://127.0.0.1:{port}")
        async with PooledHttpClient(proxy=outgoing) as client:
            with pytest.raises(OutgoingProxyError, match="wants a user's name and password"):
                await get(client, url)


async def test_407_of_an_origin_is_its_own_answer() -> None:
    async with serving(Web(WHO).answer) as port, PooledHttpClient() as client:
        response = await client.request("GET", f"http://127.0.0.1:{port}")
        assert (response.status, await response.read(10)) == (407, b"no")


async def test_a_unix_socket_is_never_behind_a_proxy(tmp_path: Path) -> None:
    web = Web()
    server = await asyncio.start_unix_server(web.answer, tmp_path / "s")
    outgoing = way("http://gateway.test", f"http://{quote(USER, safe=':')}@192.0.2.1")
    async with PooledHttpClient(proxy=outgoing) as client:
        assert await get(client, f"http+unix://{quote(str(tmp_path / 's'), safe='')}/x") == b"ok"
    await web.left.wait()
    server.close()
    assert web.heads == [b"GET /x HTTP/1.1\r\nhost: localhost\r\n\r\n"]


# Trust


async def test_a_private_ca_is_trusted_where_the_environment_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_bytes(CA.certificate_pem())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with gateway(tmp_path, LOCALHOST) as (_, port), PooledHttpClient() as client:
        assert await get(client, f"https://localhost:{port}") == b"ok"


EXPIRED = CA.issue("localhost", NOW.replace(year=NOW.year - 2))
TOO_NEW = CA.issue("localhost", NOW.replace(year=NOW.year + 2))


@pytest.mark.parametrize(
    ("ca", "identity", "host", "text"),
    [
        (FOREIGN_CA, LOCALHOST, "localhost", "from nobody that this machine trusts. If you do, let the environment"),
        (CA, GATEWAY, "localhost", "for another name"),
        (CA, LOCALHOST, "127.0.0.1", "for another name"),
        (CA, EXPIRED, "localhost", "isn't valid at this time"),
        (CA, TOO_NEW, "localhost", "isn't valid at this time"),
    ],
    ids=["unknown CA", "another name", "an address", "expired", "of the future"],
)
async def test_a_certificate_that_is_not_trusted_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ca: MeshCa, identity: Identity, host: str, text: str
) -> None:
    (tmp_path / "ca.pem").write_bytes(ca.certificate_pem())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with gateway(tmp_path, identity) as (web, port), PooledHttpClient() as client:
        with pytest.raises(UntrustedPeerError) as caught:
            await get(client, f"https://{host}:{port}")
    assert web.heads == []
    told = api_error(caught.value, "gateway")
    assert (told.status, told.code) == (503, "certificate_not_trusted")
    assert told.message.startswith("The gateway can't be reached: its certificate is")
    assert text in told.message
