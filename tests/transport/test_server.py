"""A listener over real loopback sockets, seen by a client that sends bytes of its choice."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

import pytest
import pytest_asyncio

from privity.errors import StartError
from privity.streams import Stream
from privity.transport.http_protocol import MAX_HEAD_BYTES
from privity.transport.server import listening, require_free
from privity.transport.tasks import Background
from privity.transport.web import Reply, Request, Routes, StreamReply, json_reply
from privity.transport.web_app import WebApp

pytestmark = pytest.mark.timeout(30)  # each takes milliseconds

GET = b"GET /headers HTTP/1.1\r\nhost: localhost\r\n"
POST = b"POST /length HTTP/1.1\r\nhost: localhost\r\n"
CLOSE = b"connection: close\r\n\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
REFUSED = b"HTTP/1.1 400 Bad Request\r\n"


async def headers(asked: Request) -> Reply:
    return json_reply([name.decode() for name, _ in asked.headers])


async def length(asked: Request) -> Reply:
    body = await asked.body(1 << 22)
    return json_reply({"length": len(body), "headers": [name.decode() for name, _ in asked.headers]})


async def ticks(_asked: Request) -> StreamReply:
    async def chunks() -> AsyncGenerator[bytes]:
        yield b"first"
        await asyncio.Event().wait()

    return StreamReply(200, [], Stream(chunks()))


ROUTES: Routes = {"/headers": {"GET": headers}, "/length": {"POST": length}, "/ticks": {"GET": ticks}}


@contextlib.asynccontextmanager
async def serving(routes: Routes = ROUTES) -> AsyncIterator[str]:
    async with (
        Background() as background,
        listening(WebApp(routes, background, drain_seconds=0.1), "127.0.0.1", 0, "test") as url,
    ):
        yield url


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.removeprefix("http://").rsplit(":", 1)
    return await asyncio.open_connection(host.strip("[]"), int(port))


async def ask(url: str, *pieces: bytes) -> bytes:
    """Send the pieces, each in a write of its own, and return all that comes until the connection's end."""
    reader, writer = await connect(url)
    reading = asyncio.get_running_loop().create_task(reader.read())
    with contextlib.suppress(ConnectionError):  # a server that has refused reads no more
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
    try:
        return await reading
    except ConnectionError:
        return b""
    finally:
        writer.close()


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url() -> AsyncIterator[str]:
    async with serving() as found:
        yield found


on_one_server = pytest.mark.asyncio(loop_scope="module")


# What is not HTTP


@on_one_server
@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"\x00" * 100,
        b"GET /headers\xff HTTP/1.1\r\n\r\n",
        b"GET headers HTTP/1.1\r\n\r\n",
        b"GET /headers HTTP/3.0\r\n\r\n",
        b"FETCH /headers HTTP/1.1\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\n\r\n",
        GET + b"no colon\r\n\r\n",
        GET + b"na me: x\r\n\r\n",
        GET + b"name: a\x00b\r\n\r\n",
        POST + b"content-length: x\r\n\r\n",
        POST + b"content-length: -1\r\n\r\n",
        POST + b"content-length: 1\r\ncontent-length: 2\r\n\r\n",
        POST + b"content-length: " + b"9" * 30 + b"\r\n\r\n",
        POST + b"content-length: 5\r\n" + CHUNKED + b"0\r\n\r\n",
        POST + b"transfer-encoding: gzip\r\n\r\n",
        POST + CHUNKED + b"zz\r\n",
    ],
)
async def test_what_is_not_http_is_a_400_in_openais_form(url: str, garbage: bytes) -> None:
    answer = await ask(url, garbage)
    again = await ask(url, GET + CLOSE)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(REFUSED)
    lines = head.split(b"\r\n")
    assert {b"content-type: application/json", b"x-content-type-options: nosniff", b"connection: close"} <= set(lines)
    assert json.loads(body) == {
        "error": {
            "message": "The request isn't valid HTTP.",
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_http",
        }
    }
    assert again.startswith(b"HTTP/1.1 200")


@on_one_server
async def test_garbage_behind_a_request_never_becomes_part_of_its_answer(url: str) -> None:
    reader, writer = await connect(url)
    writer.write(b"GET /ticks HTTP/1.1\r\nhost: localhost\r\n\r\n")
    await reader.readuntil(b"first\r\n")
    writer.write(b"\x00garbage\r\n\r\n")
    assert await reader.read() == b""
    writer.close()


# Heads and what else is not body


@on_one_server
@pytest.mark.parametrize("size", [0, 1000, MAX_HEAD_BYTES - 200])
async def test_a_head_up_to_the_limit_is_taken(url: str, size: int) -> None:
    answer = await ask(url, GET + b"x: " + b"a" * size + b"\r\n" + CLOSE)
    assert json.loads(body_of(answer)) == ["host", "x", "connection"]


LONG = MAX_HEAD_BYTES + 1
FIELD = b"x: " + b"a" * 4000 + b"\r\n"
TOO_LONG = {
    "value": [GET + b"x: " + b"a" * LONG + b"\r\n\r\n"],
    "name": [GET + b"a" * LONG + b": x\r\n\r\n"],
    "target": [b"GET /" + b"a" * LONG + b" HTTP/1.1\r\nhost: localhost\r\n\r\n"],
    "many fields": [GET + b"name: value\r\n" * (LONG // 9) + b"\r\n"],
    "in pieces": [GET, *[FIELD] * 16, FIELD + b"\r\n"],
    "no end": [GET + b"x: " + b"a" * LONG],
    "no end, in pieces": [GET, *[FIELD] * 17],
    "the second one": [GET + b"\r\n", GET, *[FIELD] * 17],
}


@on_one_server
@pytest.mark.parametrize("pieces", TOO_LONG.values(), ids=TOO_LONG)
async def test_a_head_over_the_limit_is_refused(url: str, pieces: list[bytes]) -> None:
    answer = await ask(url, *pieces)
    refusal = answer[answer.rindex(b"HTTP/1.1 ") :]
    assert refusal.startswith(REFUSED)
    assert json.loads(body_of(refusal))["error"]["code"] == "invalid_http"
    assert str(MAX_HEAD_BYTES) in json.loads(body_of(refusal))["error"]["message"]


@on_one_server
@pytest.mark.parametrize(
    ("begin", "endless"),
    [(b"", FIELD), (b"0\r\n", FIELD), (b"0\r\nx: ", b"a" * 4000), (b"1;x=", b"a" * 4000)],
    ids=["chunk size", "trailers", "one trailer", "chunk extension"],
)
async def test_what_goes_on_for_ever_around_a_body_is_cut_off(url: str, begin: bytes, endless: bytes) -> None:
    answer = await ask(url, POST + CHUNKED + b"1\r\na\r\n" + begin, *[endless] * 250)
    assert not answer or answer.startswith(REFUSED)  # nothing: it was cut while the client still sent


@on_one_server
async def test_a_body_is_no_part_of_what_is_limited(url: str) -> None:
    body = b"a" * (1 << 20)
    sized = POST + b"content-length: %d\r\n\r\n" % len(body) + body
    chunked = POST + CHUNKED + b"".join(b"7d0\r\n%b\r\n" % (b"b" * 2000) for _ in range(500)) + b"0\r\n\r\n"
    answer = await ask(url, sized + chunked + sized + GET + CLOSE)
    assert answer.count(b"HTTP/1.1 200 OK") == 4
    assert [answer.count(b'"length":%d' % size) for size in (1 << 20, 1_000_000)] == [2, 1]


@on_one_server
async def test_a_head_that_trickles_in_is_taken(url: str) -> None:
    answer = await ask(url, *(bytes([each]) for each in POST + b"content-length: 2\r\n" + CLOSE + b"ab"))
    assert answer.startswith(b"HTTP/1.1 200")
    assert json.loads(body_of(answer))["length"] == 2


@on_one_server
async def test_trailers_do_not_become_headers(url: str) -> None:
    answer = await ask(url, POST + b"connection: close\r\n" + CHUNKED + b"1\r\na\r\n0\r\nauthorization: x\r\n\r\n")
    assert json.loads(body_of(answer)) == {"length": 1, "headers": ["host", "connection", "transfer-encoding"]}


@on_one_server
async def test_a_client_that_would_like_http2_is_heard_in_http1(url: str) -> None:
    upgrade = b"upgrade: h2c\r\nconnection: upgrade, http2-settings, close\r\nhttp2-settings: AAEAAEAA\r\n"
    answer = await ask(url, POST + upgrade + b"content-length: 3\r\n\r\nabc")
    assert json.loads(body_of(answer))["length"] == 3


@on_one_server
async def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(url: str) -> None:
    reader, writer = await connect(url)
    writer.write(POST + b"expect: 100-continue\r\ncontent-length: 3\r\nconnection: close\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"abc")
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()


@on_one_server
async def test_a_client_that_waits_for_leave_to_send_too_much_does_not_get_it(url: str) -> None:
    answer = await ask(url, POST + b"expect: 100-continue\r\ncontent-length: 9999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")


@on_one_server
async def test_no_answer_tells_what_serves_it(url: str) -> None:
    answer = await ask(url, GET + CLOSE)
    assert b"\r\nserver:" not in answer.lower()


# Stopping (what becomes of answers is test_stopping's matter)


@pytest.mark.parametrize("sent", [b"", GET, GET + b"\r\n"], ids=["silent", "half a head", "idle"])
async def test_stopping_closes_connections_that_carry_nothing(sent: bytes) -> None:
    async with serving() as url:
        reader, writer = await connect(url)
        writer.write(sent)
        if sent.endswith(b"\r\n\r\n"):
            await reader.readuntil(b"]")
        for _ in range(20):  # a listener that stops with bytes unread resets the connection, as every server does
            await asyncio.sleep(0)
    assert await reader.read() == b""
    writer.close()


async def test_a_listener_that_has_stopped_leaves_its_port_free() -> None:
    async with serving() as url:
        await ask(url, GET + CLOSE)
    require_free("127.0.0.1", int(url.rsplit(":", 1)[1]), "test")


async def test_a_listener_stops_when_its_caller_fails() -> None:
    urls: list[str] = []

    async def fails() -> None:
        async with serving() as url:
            urls.append(url)
            raise KeyError

    with pytest.raises(KeyError):
        await fails()
    with pytest.raises(ConnectionRefusedError):
        await connect(urls[0])


async def test_a_line_of_a_body_that_looks_like_an_upgrade_is_a_line_of_the_body() -> None:
    first, second = b"a form\r\n", b"x\r\nUpgrade: my report\r\n\r\n"

    async def echo(request: Request) -> Reply:
        return json_reply((await request.body(1000)).decode())

    async with serving({"/echo": {"POST": echo}}) as url:
        reader, writer = await connect(url)
        head = b"POST /echo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        writer.write(head % len(first + second) + first)
        for _ in range(20):
            await asyncio.sleep(0)
        writer.write(second)
        answer = await reader.read()
        writer.close()
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == (first + second).decode()


# Addresses


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def listen(host: str, port: int) -> None:
    async with Background() as background, listening(WebApp({}, background), host, port, "proxy"):
        pass


async def test_a_busy_port_is_named_together_with_the_way_out(busy_port: int) -> None:
    with pytest.raises(StartError) as caught:
        await listen("127.0.0.1", busy_port)
    assert str(busy_port) in caught.value.problem
    assert "proxy" in caught.value.problem
    assert "--port" in caught.value.way_out
    with pytest.raises(StartError) as beforehand:
        require_free("127.0.0.1", busy_port, "proxy")
    assert str(beforehand.value) == str(caught.value)


@pytest.mark.usefixtures("without_privilege")
def test_a_privileged_port_is_an_error_that_names_the_way_out() -> None:
    with pytest.raises(
        StartError, match=r"may not listen on port 1\. Choose a port above 1023 with --port\."
    ) as caught:
        require_free("127.0.0.1", 1, "proxy")
    assert isinstance(caught.value.__cause__, PermissionError)


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("127.0.0.1", 70_000), ("::bad::", 0), ("é" * 70, 0)])
async def test_an_address_that_is_not_ours_is_an_error_that_names_the_options(host: str, port: int) -> None:
    with pytest.raises(StartError) as caught:
        await listen(host, port)
    assert caught.value.way_out == "Check --host and --port."
    assert str(port) in caught.value.problem


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "http://127.0.0.1:"), ("localhost", "http://127.0.0.1:"), ("::1", "http://[::1]:")],
)
async def test_the_url_says_where_it_listens(host: str, shown: str) -> None:
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    async with Background() as background, listening(WebApp(ROUTES, background), host, 0, "test") as url:
        assert url.startswith(shown)
        assert (await ask(url, GET + CLOSE)).startswith(b"HTTP/1.1 200")
