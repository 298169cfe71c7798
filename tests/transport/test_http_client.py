"""The client against scripted servers: real loopback sockets, raw bytes, on both event loops."""

import asyncio
import gc
import inspect
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import UpstreamError, UpstreamProtocolError, UpstreamTimeoutError, UpstreamUnreachableError
from privity.http import HttpClient
from privity.transport.http_client import PooledHttpClient
from privity.transport.http_client.exchange import HIGH_WATER_BYTES, MAX_PIECE_BYTES, SPLIT_BYTES
from privity.transport.http_client.parser import MAX_HEAD_BYTES, MAX_HEADERS, ResponseParser
from privity.transport.http_client.request import encode_head, split_url

CLOSE = b"(close the connection)"
RESET = b"(reset the connection)"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def on_both_loops(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test on asyncio and on uvloop; an exception that nobody retrieved fails it."""

    def run(*instance: object, loop_factory: Callable[[], asyncio.AbstractEventLoop], **arguments: Any) -> None:
        problems: list[dict[str, Any]] = []
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: problems.append(context))
            runner.run(_within(10, test(*instance, **arguments)))
            gc.collect()
            assert not problems  # before the loop closes: that cancels what the servers have under way

    signature = inspect.signature(test)
    factory = inspect.Parameter("loop_factory", inspect.Parameter.KEYWORD_ONLY)
    attributes = {
        "__name__": test.__name__,
        "__signature__": signature.replace(parameters=[*signature.parameters.values(), factory]),
        "pytestmark": list(getattr(test, "pytestmark", [])),
    }
    vars(run).update(attributes)
    loops = pytest.mark.parametrize(
        "loop_factory", [asyncio.SelectorEventLoop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
    )
    decorated: Callable[..., None] = loops(run)
    return decorated


async def _within(seconds: float, test: Awaitable[None]) -> None:
    async with asyncio.timeout(seconds):
        await test


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head:
        return head + await reader.readuntil(b"0\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
    return head + await reader.readexactly(length)


class Peer:
    """A server that answers each request on each connection with the next bytes of its script."""

    def __init__(self, *connections: Sequence[bytes]) -> None:
        self._scripts = [list(script) for script in connections]
        self.requests: list[tuple[int, bytes]] = []
        self.connections = 0
        self.closed = asyncio.Event()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.connections = self.connections, self.connections + 1
        for answer in self._scripts[number]:
            if answer == CLOSE:
                break
            self.requests.append((number, await read_request(reader)))
            for piece in answer.split(b"|"):
                if piece == RESET:
                    writer.transport.abort()
                    return
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
        else:
            await reader.read()
        self.closed.set()


@asynccontextmanager
async def listening(handler: Handler, **arguments: Any) -> AsyncIterator[str]:
    """Serve `handler` and yield the URL's beginning."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
            await handler(reader, writer)
        writer.transport.abort() if "ssl" not in arguments else writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, **arguments)
    scheme = "https" if "ssl" in arguments else "http"
    try:
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def exchange_with(
    *connections: Sequence[bytes], **arguments: Any
) -> AsyncIterator[tuple[PooledHttpClient, Peer]]:
    peer = Peer(*connections)
    async with listening(peer.serve) as peer.url, PooledHttpClient(**arguments) as client:
        yield client, peer


async def get(client: HttpClient, url: str, **arguments: Any) -> tuple[int, bytes]:
    async with await client.request(arguments.pop("method", "GET"), url, **arguments) as response:
        return response.status, await response.read(1 << 20)


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


class TestRequest:
    @on_both_loops
    async def test_the_client_writes_head_and_body(self) -> None:
        async with exchange_with([OK, OK, OK, OK]) as (client, peer):
            assert await get(client, f"{peer.url}/a?b=c", headers=[(b"accept", b"*/*")]) == (200, b"ok")
            await get(client, peer.url, method="POST", body=b"body")
            await get(client, peer.url, method="POST")
            await get(client, peer.url, method="PUT", body=pieces_of(b"a" * 17, b"", b"b"))
            host = peer.url.removeprefix("http://").encode()
            assert peer.requests == [
                (0, b"GET /a?b=c HTTP/1.1\r\nhost: " + host + b"\r\naccept: */*\r\n\r\n"),
                (0, b"POST / HTTP/1.1\r\nhost: " + host + b"\r\ncontent-length: 4\r\n\r\nbody"),
                (0, b"POST / HTTP/1.1\r\nhost: " + host + b"\r\ncontent-length: 0\r\n\r\n"),
                (
                    0,
                    b"PUT / HTTP/1.1\r\nhost: " + host + b"\r\ntransfer-encoding: chunked\r\n\r\n"
                    b"11\r\n" + b"a" * 17 + b"\r\n1\r\nb\r\n0\r\n\r\n",
                ),
            ]

    @on_both_loops
    async def test_a_unix_domain_socket_is_reached(self, tmp_path: Path) -> None:
        peer = Peer([OK])
        path = tmp_path / "a b.sock"

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await peer.serve(reader, writer)
            writer.transport.abort()

        async with await asyncio.start_unix_server(handler, path):
            async with PooledHttpClient() as client:
                assert await get(client, f"http+unix://{quote(str(path), safe='')}/x") == (200, b"ok")
            assert peer.requests == [(0, b"GET /x HTTP/1.1\r\nhost: localhost\r\n\r\n")]
            await peer.closed.wait()

    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("http://h", ("h", 80, None, False, "h", "/")),
            ("https://h/", ("h", 443, None, True, "h", "/")),
            ("http://h:81/p?q=a/b", ("h", 81, None, False, "h:81", "/p?q=a/b")),
            ("http://[::1]:81/p", ("::1", 81, None, False, "[::1]:81", "/p")),
            ("http+unix://%2Frun%2Fx.sock/p", ("", 0, "/run/x.sock", False, "localhost", "/p")),
        ],
    )
    def test_a_url_is_split(self, url: str, expected: tuple[object, ...]) -> None:
        origin, target = split_url(url)
        assert (origin.host, origin.port, origin.path, origin.tls, origin.authority, target) == expected

    @pytest.mark.parametrize(
        "url",
        [
            "", "h/p", "ftp://h/", "http:///p", "http://h?q", "http://u@h/", "http://h:0/", "http://h:65536/",
            "http://h:/", "http://h\r\n/", "http://h/a b", "http://h/\r\n", "http://h/\x7f", "http://h/\xe4",
            "http://h/#f", "http://::1/", "http+unix://relative/", "http+unix://%2Fa%00/", "http+unix:///a/",
        ],
    )  # fmt: skip
    def test_a_url_that_cannot_be_sent_is_refused(self, url: str) -> None:
        with pytest.raises(ValueError, match=r"URL|target|port"):
            split_url(url)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            (b"a", b"x\r\ny: z"), (b"a", b"x\n"), (b"a", b"\r"), (b"a", b"\0"),
            (b"a\r\nb", b""), (b"a\0", b""), (b"", b"x"), (b"a:", b""), (b"a b", b""),
            (b"host", b"h"), (b"content-length", b"1"), (b"Transfer-Encoding", b"chunked"), (b"connection", b"close"),
        ],
    )  # fmt: skip
    def test_a_header_that_would_break_the_message_is_refused(self, name: bytes, value: bytes) -> None:
        with pytest.raises(ValueError, match=r"header|belongs"):
            encode_head("GET", split_url("http://h")[0], "/", [(name, value)], 0)

    @pytest.mark.parametrize("method", ["", "get", "GET /", "GET\r\n", "CONNECT"])
    def test_a_method_that_would_break_the_message_is_refused(self, method: str) -> None:
        with pytest.raises(ValueError, match="method"):
            encode_head(method, split_url("http://h")[0], "/", [], 0)


class TestStreamedRequestBody:
    @on_both_loops
    async def test_it_is_written_with_backpressure(self) -> None:
        produced = 0
        read_on = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            nonlocal produced
            for _ in range(1000):
                produced += 1
                yield bytes(64 * 1024)

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_on.wait()
            while not (await reader.read(1 << 20)).endswith(b"0\r\n\r\n"):
                pass
            writer.write(OK)
            await reader.read()

        async def watch() -> None:
            before = -1
            while before != produced or not produced:  # until nothing moves any more
                before = produced
                for _ in range(50):
                    await asyncio.sleep(0)
            assert produced < 1000
            read_on.set()

        async with listening(handler, limit=1 << 16) as url, PooledHttpClient() as client:
            answer, _ = await asyncio.gather(get(client, url, method="POST", body=body()), watch())
            assert answer == (200, b"ok")
            assert produced == 1000

    @on_both_loops
    @pytest.mark.parametrize("large", [False, True], ids=["iterator", "bytes"])
    async def test_an_early_answer_stops_it(self, *, large: bool) -> None:
        refused = b"HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno"

        async def endless() -> AsyncIterator[bytes]:
            yield b"a"
            await asyncio.Event().wait()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(refused)
            await asyncio.Event().wait()

        async with listening(handler) as url, PooledHttpClient() as client:
            body = bytes(100 * SPLIT_BYTES) if large else endless()
            assert await get(client, url, method="POST", body=body) == (413, b"no")

    @on_both_loops
    async def test_its_own_exception_comes_out_unchanged_and_closes(self) -> None:
        failure = TimeoutError("mine")

        async def body() -> AsyncIterator[bytes]:
            yield b"a"
            raise failure

        async with exchange_with([OK]) as (client, peer):
            with pytest.raises(TimeoutError) as caught:
                await client.request("POST", peer.url, body=body())
            assert caught.value is failure
            assert peer.requests == []

    @on_both_loops
    async def test_large_bytes_arrive_whole(self) -> None:
        body = bytes(range(256)) * (3 * SPLIT_BYTES // 256) + b"end"
        async with exchange_with([OK, OK]) as (client, peer):
            await get(client, peer.url, method="POST", body=body)
            await get(client, peer.url)
            assert peer.requests[0][1].endswith(b"\r\n\r\n" + body)
            assert peer.connections == 1


class TestReuse:
    @on_both_loops
    async def test_the_connection_used_last_is_used_first(self) -> None:
        turns = {b"/0": asyncio.Event(), b"/1": asyncio.Event(), b"/2": asyncio.Event()}
        arrived = asyncio.Event()
        paths: list[list[bytes]] = []

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            mine: list[bytes] = []
            paths.append(mine)
            while True:
                mine.append((await read_request(reader)).split(b" ")[1])
                arrived.set()
                await turns[mine[-1]].wait()
                writer.write(OK)

        async with listening(handler) as url, PooledHttpClient() as client, asyncio.TaskGroup() as group:
            first = group.create_task(get(client, f"{url}/0"))
            await arrived.wait()
            second = group.create_task(get(client, f"{url}/1"))
            turns[b"/2"].set()
            for task, path in ((first, b"/0"), (second, b"/1")):
                turns[path].set()
                await task
            await get(client, f"{url}/2")
            assert [mine for mine in paths if b"/1" in mine] == [[b"/1", b"/2"]]

    @on_both_loops
    @pytest.mark.parametrize(
        "answer",
        [
            OK,
            CHUNKED + b"2\r\nok\r\n0\r\n\r\n",
            CHUNKED + b"2\r\nok\r\n0\r\n|\r\n",
            CHUNKED + b"2\r\nok\r\n0\r\ntrailer: x\r\n\r\n",
            b"HTTP/1.1 204 No\r\n\r\n",
            b"HTTP/1.1 304 No\r\ncontent-length: 5\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\na: b\r\n\r\n" + OK,
        ],
    )
    async def test_it_happens_after(self, answer: bytes) -> None:
        async with exchange_with([answer, OK]) as (client, peer):
            await get(client, peer.url)
            await get(client, peer.url)
            assert peer.connections == 1

    @on_both_loops
    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", id="close"),
            pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x, Close\t\r\n\r\nok", id="close-tab"),
            pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", id="close-empty"),
            pytest.param(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", id="http-1.0"),
            pytest.param(OK + b"x", id="surplus"),
            pytest.param(OK + b"\r\n", id="surplus-line-end"),
            pytest.param(OK + OK, id="surplus-answer"),
            pytest.param(CHUNKED + b"2\r\nok\r\n0\r\n\r\nx", id="surplus-after-chunks"),
            pytest.param(CHUNKED + b"2\r\nok\r\n0\r\n\r\n\r\n", id="surplus-line-end-after-chunks"),
            pytest.param(CHUNKED + b"2\r\nok\r\n0\r\n\r\n\r\n\r\n", id="surplus-empty-lines-after-chunks"),
            pytest.param(CHUNKED + b"2\r\nok\r\n0\r\n\r\n\r\r\n\r\n", id="surplus-odd-lines-after-chunks"),
            pytest.param(CHUNKED + b"2\r\nok\r\n0\r\n\r\n" + b"HTTP/1.1 204 N\r\n\r\n", id="answer-after-chunks"),
            pytest.param(b"HTTP/1.1 204 No\r\ncontent-length: 2\r\n\r\n", id="204-with-a-body-announced"),
            pytest.param(b"HTTP/1.1 204 No\r\ntransfer-encoding: chunked\r\n\r\n", id="204-chunked"),
        ],
    )
    async def test_it_does_not_happen_after(self, answer: bytes) -> None:
        async with exchange_with([answer], [OK]) as (client, peer):
            assert (await get(client, peer.url))[1] in {b"ok", b""}
            assert await get(client, peer.url) == (200, b"ok")
            assert peer.connections == 2

    @on_both_loops
    async def test_it_does_not_happen_before_the_answer_is_complete(self) -> None:
        unfinished = CHUNKED + b"1\r\na\r\n"
        async with exchange_with([unfinished], [OK]) as (client, peer), await client.request("GET", peer.url):
            await get(client, peer.url)
            assert peer.connections == 2

    @on_both_loops
    async def test_it_does_not_wait_for_the_reader(self) -> None:
        async with exchange_with([OK, OK]) as (client, peer):
            first = await client.request("GET", peer.url)
            await get(client, peer.url)
            assert await first.read(9) == b"ok"
            assert peer.connections == 1

    @on_both_loops
    async def test_bytes_on_an_idle_connection_close_it(self) -> None:
        spoken, closed = asyncio.Event(), asyncio.Event()
        count = 0

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal count
            count += 1
            await read_request(reader)
            writer.write(OK)
            if count == 1:
                await spoken.wait()
                writer.write(OK)
                assert await reader.read() == b""
                closed.set()
            else:
                await reader.read()

        async with listening(handler) as url, PooledHttpClient() as client:
            await get(client, url)
            spoken.set()
            await closed.wait()
            assert await get(client, url) == (200, b"ok")
            assert count == 2

    @on_both_loops
    async def test_a_connection_that_is_too_old_is_not_used(self) -> None:
        now = 100.0
        async with exchange_with([OK, OK], [OK], idle_timeout=4, clock=lambda: now) as (client, peer):
            await get(client, peer.url)
            now += 3.9
            await get(client, peer.url)
            now += 4
            await get(client, peer.url)
            assert [number for number, _ in peer.requests] == [0, 0, 1]
            await peer.closed.wait()

    @on_both_loops
    async def test_a_connection_that_nobody_uses_is_closed(self) -> None:
        async with exchange_with([OK], idle_timeout=0.01) as (client, peer):
            await get(client, peer.url)
            await peer.closed.wait()

    @on_both_loops
    async def test_no_more_than_max_idle_are_kept(self) -> None:
        both, closed = asyncio.Event(), asyncio.Event()
        waiting = 0

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal waiting
            await read_request(reader)
            waiting += 1
            if waiting == 2:
                both.set()
            await both.wait()
            writer.write(OK)
            await reader.read()
            closed.set()

        async with listening(handler) as url, PooledHttpClient(max_idle=1, idle_timeout=1000) as client:
            await asyncio.gather(get(client, url), get(client, url))
            await closed.wait()


class TestRepetition:
    @on_both_loops
    @pytest.mark.parametrize("end", [b"", RESET])
    async def test_bytes_are_repeated_where_a_kept_connection_was_closed(self, end: bytes) -> None:
        script = [OK, end] if end else [OK, b"", CLOSE]
        async with exchange_with(script, [OK]) as (client, peer):
            await get(client, peer.url)
            assert await get(client, peer.url, method="POST", body=b"again") == (200, b"ok")
            assert [(number, request[-5:]) for number, request in peer.requests[1:]] == [(0, b"again"), (1, b"again")]

    @on_both_loops
    async def test_an_iterator_is_not_repeated(self) -> None:
        async with exchange_with([OK, b"", CLOSE]) as (client, peer):
            await get(client, peer.url)
            with pytest.raises(UpstreamUnreachableError):
                await get(client, peer.url, method="POST", body=pieces_of(b"once"))
            assert peer.connections == 1

    @on_both_loops
    @pytest.mark.parametrize("end", [b"", RESET])
    async def test_bytes_whose_sender_forbids_it_are_not_repeated(self, end: bytes) -> None:
        script = [OK, end] if end else [OK, b"", CLOSE]
        async with exchange_with(script) as (client, peer):
            await get(client, peer.url)
            with pytest.raises(UpstreamUnreachableError):
                await client.request("POST", peer.url, body=b"once", repeat=False)
            assert [request[-4:] for _, request in peer.requests[1:]] == [b"once"]
            assert peer.connections == 1

    @on_both_loops
    async def test_who_forbids_it_still_uses_kept_connections(self) -> None:
        async with exchange_with([OK, OK]) as (client, peer):
            for _ in range(2):
                response = await client.request("POST", peer.url, body=b"once", repeat=False)
                async with response:
                    assert await response.read(100) == b"ok"
            assert peer.connections == 1

    @on_both_loops
    async def test_it_happens_once(self) -> None:
        async with exchange_with([OK, b"", CLOSE], [b"", CLOSE]) as (client, peer):
            await get(client, peer.url)
            with pytest.raises(UpstreamUnreachableError):
                await get(client, peer.url)
            assert peer.connections == 2

    @on_both_loops
    async def test_it_does_not_happen_after_a_byte_of_an_answer(self) -> None:
        async with exchange_with([OK, b"H", CLOSE]) as (client, peer):
            await get(client, peer.url)
            with pytest.raises(UpstreamProtocolError):
                await get(client, peer.url)
            assert peer.connections == 1

    @on_both_loops
    async def test_it_does_not_happen_on_a_fresh_connection(self) -> None:
        async with exchange_with([b"", CLOSE]) as (client, peer):
            with pytest.raises(UpstreamUnreachableError):
                await get(client, peer.url)
            assert peer.connections == 1


class TestResponseBody:
    @on_both_loops
    async def test_chunks_come_as_they_come_and_together_where_they_waited(self) -> None:
        turn: asyncio.Queue[bytes] = asyncio.Queue()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            while data := await turn.get():
                writer.write(data)
            await reader.read()

        async with listening(handler) as url, PooledHttpClient() as client:
            turn.put_nowait(CHUNKED)
            async with await client.request("GET", url) as response:
                chunks = aiter(response.chunks())
                turn.put_nowait(b"1\r\na\r\n")
                assert await anext(chunks) == b"a"
                turn.put_nowait(b"1\r\nb\r\n1\r\nc\r\n0\r\n\r\n")
                assert await anext(chunks) == b"bc"
                assert [chunk async for chunk in chunks] == []

    @on_both_loops
    async def test_a_slow_reader_makes_the_peer_wait(self) -> None:
        size, sent = 64 << 20, 0

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
            while sent < size:
                writer.write(bytes(1 << 16))
                sent += 1 << 16
                await writer.drain()
            await reader.read()

        async with (
            listening(handler) as url,
            PooledHttpClient() as client,
            await client.request("GET", url) as response,
        ):
            before = -1
            while before != sent:  # until nothing moves any more
                before = sent
                for _ in range(100):
                    await asyncio.sleep(0)
            assert sent < size
            assert response._parser.buffered <= HIGH_WATER_BYTES + MAX_PIECE_BYTES  # noqa: SLF001
            lengths = [len(chunk) async for chunk in response.chunks()]
            assert sum(lengths) == size
            assert max(lengths) <= MAX_PIECE_BYTES

    @on_both_loops
    async def test_one_that_ends_with_the_connection_is_read(self) -> None:
        async with exchange_with([b"HTTP/1.1 200 OK\r\n\r\nto the| end", CLOSE]) as (client, peer):
            assert await get(client, peer.url) == (200, b"to the end")

    @on_both_loops
    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", id="counted"),
            pytest.param(CHUNKED + b"2\r\nab\r\n", id="chunked"),
            pytest.param(CHUNKED + b"2\r\nab\r\n0\r\n", id="last-empty-line-missing"),
        ],
    )
    async def test_a_premature_end_is_an_error_that_every_call_repeats(self, answer: bytes) -> None:
        async with exchange_with([answer, CLOSE]) as (client, peer), await client.request("GET", peer.url) as response:
            chunks = response.chunks()
            assert await anext(chunks) == b"ab"
            for _ in range(2):
                with pytest.raises(UpstreamProtocolError):
                    await anext(chunks)
                with pytest.raises(UpstreamProtocolError):
                    await response.read(9)

    @on_both_loops
    async def test_a_reset_does_not_end_one_that_ends_with_the_connection(self) -> None:
        begun = asyncio.Event()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nab")
            await begun.wait()
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a close becomes a reset

        async with (
            listening(handler) as url,
            PooledHttpClient() as client,
            await client.request("GET", url) as response,
        ):
            chunks = response.chunks()
            assert await anext(chunks) == b"ab"
            begun.set()
            with pytest.raises(UpstreamProtocolError):
                await anext(chunks)

    @on_both_loops
    @pytest.mark.parametrize("answer", [OK, CHUNKED + b"3\r\nabc\r\n"], ids=["complete", "under-way"])
    async def test_read_refuses_more_than_its_limit_and_repeats_it(self, answer: bytes) -> None:
        async with exchange_with([answer]) as (client, peer), await client.request("GET", peer.url) as response:
            for _ in range(2):
                with pytest.raises(UpstreamProtocolError):
                    await response.read(1)

    @on_both_loops
    @pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
    async def test_head_204_and_304_have_none(self, method: str, status: int) -> None:
        answer = b"HTTP/1.1 %d X\r\ncontent-length: 5\r\n\r\n" % status
        async with exchange_with([answer]) as (client, peer), await client.request(method, peer.url) as response:
            assert (response.status, await response.read(0)) == (status, b"")
            assert list(response.headers) == [(b"content-length", b"5")]

    @on_both_loops
    async def test_an_answer_to_head_leaves_the_connection_usable(self) -> None:
        async with exchange_with([b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", OK]) as (client, peer):
            await get(client, peer.url, method="HEAD")
            assert await get(client, peer.url) == (200, b"ok")
            assert peer.connections == 1

    @on_both_loops
    async def test_two_readers_at_a_time_are_refused(self) -> None:
        async with exchange_with([CHUNKED]) as (client, peer), await client.request("GET", peer.url) as response:
            async with asyncio.timeout(None) as scope:
                first = asyncio.get_running_loop().create_task(response.read(9))
                await asyncio.sleep(0)
                with pytest.raises(ValueError, match="another task"):
                    await response.read(9)
                assert not scope.expired()
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first


class TestLeaving:
    @on_both_loops
    async def test_leaving_the_context_closes_at_once(self) -> None:
        async with exchange_with([CHUNKED + b"1\r\na\r\n"]) as (client, peer):
            async with await client.request("GET", peer.url) as response:
                pass
            await peer.closed.wait()
            with pytest.raises(UpstreamProtocolError):
                await response.read(9)

    @on_both_loops
    @pytest.mark.parametrize("streamed", [False, True])
    async def test_cancelling_before_the_head_closes(self, *, streamed: bool) -> None:
        async def endless() -> AsyncIterator[bytes]:
            await asyncio.Event().wait()
            yield b""

        arrived, closed = asyncio.Event(), asyncio.Event()

        async def handler(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            arrived.set()
            await reader.read()
            closed.set()

        async with listening(handler) as url, PooledHttpClient() as client:
            body = endless() if streamed else b"x"
            task = asyncio.get_running_loop().create_task(client.request("POST", url, body=body))
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await closed.wait()

    @on_both_loops
    async def test_cancelling_at_any_step_leaves_nothing_behind(self) -> None:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await read_request(reader)
                writer.write(CHUNKED)

        async def read(client: HttpClient, url: str) -> None:
            async with await client.request("POST", url, body=pieces_of(b"a", b"b")) as response:
                await response.read(9)

        async with listening(handler) as url:
            for steps in range(60):
                async with PooledHttpClient() as client:
                    task = asyncio.get_running_loop().create_task(read(client, url))
                    for _ in range(steps):
                        await asyncio.sleep(0)
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task  # and then the client waits until its connections are gone

    @on_both_loops
    async def test_closing_the_client_at_any_step_ends_a_request(self) -> None:
        async def handler(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read()

        async with listening(handler) as url:
            for steps in range(30):
                client = PooledHttpClient()
                task = asyncio.get_running_loop().create_task(client.request("GET", url))
                for _ in range(steps):
                    await asyncio.sleep(0)
                await client.aclose()
                with pytest.raises(UpstreamUnreachableError):
                    await task

    @on_both_loops
    async def test_closing_the_client_closes_everything(self) -> None:
        async with exchange_with([CHUNKED], [OK]) as (client, peer):
            response = await client.request("GET", peer.url)
            await get(client, peer.url)
            await client.aclose()
            await client.aclose()
            with pytest.raises(UpstreamError):
                await response.read(9)
            with pytest.raises(UpstreamUnreachableError):
                await client.request("GET", peer.url)
            await peer.closed.wait()


class TestTimeouts:
    @on_both_loops
    @pytest.mark.parametrize("streamed", [False, True])
    async def test_no_head_in_time(self, *, streamed: bool) -> None:
        async def endless() -> AsyncIterator[bytes]:
            await asyncio.Event().wait()
            yield b""

        closed = asyncio.Event()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"")
            await reader.read()
            closed.set()

        async with listening(handler) as url, PooledHttpClient() as client:
            with pytest.raises(UpstreamTimeoutError):
                await client.request("POST", url, body=endless() if streamed else b"x", head_timeout=0.05)
            await closed.wait()

    @on_both_loops
    async def test_a_client_has_a_time_for_requests_that_name_none(self) -> None:
        async def handler(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await reader.read()

        async with listening(handler) as url, PooledHttpClient(head_timeout=0.05) as client:
            with pytest.raises(UpstreamTimeoutError):
                await client.request("GET", url)

    @on_both_loops
    async def test_a_body_may_take_longer_than_the_head(self) -> None:
        async with (
            exchange_with([CHUNKED]) as (client, peer),
            await client.request("GET", peer.url, head_timeout=0.05) as response,
        ):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await response.read(9)

    @on_both_loops
    async def test_nobody_listens(self) -> None:
        async with exchange_with() as (client, peer):
            pass
        async with PooledHttpClient() as client:
            with pytest.raises(UpstreamUnreachableError) as caught:
                await client.request("GET", f"{peer.url}/secret")
            assert "secret" not in str(caught.value)
            with pytest.raises(UpstreamUnreachableError):
                await client.request("GET", "http+unix://%2Fnowhere.sock/")
            with pytest.raises(UpstreamUnreachableError):
                await client.request("GET", f"http://{'a' * 70}.invalid/")

    @on_both_loops
    @pytest.mark.parametrize(
        ("connect", "head", "error"),
        [(0.05, None, UpstreamUnreachableError), (0.05, 5, UpstreamUnreachableError), (5, 0.05, UpstreamTimeoutError)],
    )
    async def test_connecting_takes_too_long(
        self, connect: float, head: float | None, error: type[UpstreamError]
    ) -> None:
        async def handler(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read()  # never answers the TLS handshake

        async with listening(handler) as url, PooledHttpClient(connect_timeout=connect) as client:
            with pytest.raises(error):
                await client.request("GET", url.replace("http", "https"), head_timeout=head)


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    files = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
         files / "key", "-out", files / "cert", "-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files / "cert", files / "key")
    return server, ssl.create_default_context(cafile=files / "cert")


class TestTls:
    @on_both_loops
    async def test_requests_and_reuse(self, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        peer = Peer([OK, CHUNKED + b"100000\r\n" + bytes(1 << 20) + b"\r\n0\r\n\r\n", OK])
        async with listening(peer.serve, ssl=contexts[0]) as url, PooledHttpClient(tls=contexts[1]) as client:
            assert await get(client, url) == (200, b"ok")
            assert await get(client, url) == (200, bytes(1 << 20))
            assert await get(client, url, method="POST", body=bytes(1 << 20)) == (200, b"ok")
            assert peer.connections == 1

    @on_both_loops
    async def test_an_untrusted_peer_is_unreachable(self, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        peer = Peer([OK])
        async with listening(peer.serve, ssl=contexts[0]) as url, PooledHttpClient() as client:
            with pytest.raises(UpstreamUnreachableError):
                await get(client, url)

    @on_both_loops
    @pytest.mark.parametrize("cut", [False, True])
    async def test_only_a_close_notify_ends_a_body(
        self, contexts: tuple[ssl.SSLContext, ssl.SSLContext], *, cut: bool
    ) -> None:
        read = asyncio.Event()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nab")
            await read.wait()
            if cut:
                writer.transport.abort()

        async with (
            listening(handler, ssl=contexts[0]) as url,
            PooledHttpClient(tls=contexts[1]) as client,
            await client.request("GET", url) as response,
        ):
            chunks = response.chunks()
            assert await anext(chunks) == b"ab"
            read.set()
            with pytest.raises(UpstreamProtocolError if cut else StopAsyncIteration):
                await anext(chunks)


def parse(*pieces: bytes, head_only: bool = False) -> ResponseParser:
    parser = ResponseParser(head_only=head_only)
    for piece in pieces:
        parser.feed(piece)
    return parser


def feed_often(parser: ResponseParser, piece: bytes, times: int) -> None:
    for _ in range(times):
        parser.feed(piece)


def head(*lines: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


class TestParserRefuses:
    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(head(b"content-length: 1", b"transfer-encoding: chunked"), id="length-and-coding"),
            pytest.param(head(b"transfer-encoding: chunked", b"content-length: 1"), id="coding-and-length"),
            pytest.param(head(b"content-length: 1", b"content-length: 2"), id="differing-lengths"),
            pytest.param(head(b"content-length: 1, 2"), id="differing-lengths-in-a-list"),
            pytest.param(head(b"content-length: +1"), id="length-with-a-sign"),
            pytest.param(head(b"content-length: -1"), id="negative-length"),
            pytest.param(head(b"content-length: "), id="empty-length"),
            pytest.param(head(b"content-length: 18446744073709551616"), id="length-beyond-64-bits"),
            pytest.param(head(b"transfer-encoding: gzip, chunked"), id="other-coding"),
            pytest.param(head(b"transfer-encoding: identity"), id="identity"),
            pytest.param(head(b"transfer-encoding: chunked\t"), id="tab-after-chunked"),
            pytest.param(head(b"transfer-encoding: chunked "), id="space-after-chunked"),
            pytest.param(head(b"transfer-encoding: gzip", b"transfer-encoding: chunked"), id="two-codings"),
            pytest.param(head(b"transfer-encoding: chunked", b"transfer-encoding: chunked"), id="chunked-twice"),
            pytest.param(head(b"transfer-encoding: chunked").replace(b"1.1", b"1.0"), id="chunked-http-1.0"),
            pytest.param(head(b"a : b"), id="space-before-colon"),
            pytest.param(head(b": b"), id="empty-name"),
            pytest.param(head(b"a: b", b" folded"), id="folded-line"),
            pytest.param(head(b"a: b\0"), id="nul"),
            pytest.param(head(b"a: b\rc"), id="bare-cr"),
            pytest.param(b"HTTP/1.1 200 OK\na: b\n\n", id="bare-lf"),
            pytest.param(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", id="101"),
            pytest.param(b"HTTP/1.1 099 No\r\n\r\n", id="status-099"),
            pytest.param(b"HTTP/1.1 600 No\r\n\r\n", id="status-600"),
            pytest.param(b"HTTP/0.9 200 OK\r\n\r\n", id="http-0.9"),
            pytest.param(b"HTTP/2.0 200 OK\r\n\r\n", id="http-2"),
            pytest.param(b"RTSP/1.0 200 OK\r\n\r\n", id="rtsp"),
            pytest.param(b"\r\n" + OK, id="empty-line-first"),
            pytest.param(b"SSH-2.0-x\r\n", id="ssh"),
            pytest.param(CHUNKED + b"3 \r\nabc\r\n", id="space-after-chunk-size"),
            pytest.param(CHUNKED + b"3\nabc\r\n", id="chunk-size-without-cr"),
            pytest.param(CHUNKED + b"3\r\nabc\n", id="chunk-without-cr"),
            pytest.param(CHUNKED + b"10000000000000000\r\n", id="chunk-size-beyond-64-bits"),
            pytest.param(CHUNKED + b"-1\r\n", id="negative-chunk-size"),
            pytest.param(CHUNKED + b"0\r\ncontent-length: 1\r\n\r\n", id="length-in-trailer"),
            pytest.param(head(*(b"a: b" for _ in range(MAX_HEADERS + 1))), id="too-many-headers"),
            pytest.param(head(b"a: " + b"b" * MAX_HEAD_BYTES), id="head-too-long"),
        ],
    )
    def test_it(self, answer: bytes) -> None:
        with pytest.raises(UpstreamProtocolError):
            parse(answer)
        with pytest.raises(UpstreamProtocolError):
            parse(*(bytes([byte]) for byte in answer))

    @pytest.mark.parametrize(
        ("first", "repeated"),
        [
            pytest.param(b"HTTP/1.1 200 OK\r\n", b"a" * 1000, id="a-name-without-end"),
            pytest.param(b"HTTP/1.1 ", b"HTTP/1.1 100 Continue\r\n\r\n"[9:] + b"HTTP/1.1 ", id="informational-heads"),
            pytest.param(CHUNKED + b"1;", b"a" * 1000, id="chunk-extensions"),
            pytest.param(CHUNKED + b"0\r\n", b"a: b\r\n", id="trailers"),
        ],
    )
    def test_what_has_no_end(self, first: bytes, repeated: bytes) -> None:
        parser = parse(first)
        with pytest.raises(UpstreamProtocolError):
            feed_often(parser, repeated, MAX_HEAD_BYTES // len(repeated) + 1)

    def test_heads_at_the_limits_pass(self) -> None:
        longest = head(b"content-length: 0", b"a: " + b"b" * (MAX_HEAD_BYTES - len(head(b"content-length: 0", b"a: "))))
        assert len(longest) == MAX_HEAD_BYTES
        assert parse(longest).complete
        assert len(parse(head(*(b"a: b" for _ in range(MAX_HEADERS)))).headers) == MAX_HEADERS


token = st.text("abcXYZ019-_!", min_size=1, max_size=8).map(lambda name: b"x-" + name.encode())
value = st.text('azAZ09 \t,;:="\xe4', max_size=20).map(lambda text: text.strip(" \t").encode("latin-1"))


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, int, list[tuple[bytes, bytes]], bytes, bool]:
    """A well-formed answer: its bytes, status, headers, body, and whether the connection's end ends it."""
    status = draw(st.integers(200, 599))
    headers = draw(st.lists(st.tuples(token, value), max_size=6))
    body = b"" if status in {204, 304} else draw(st.binary(max_size=60))
    framing = draw(st.sampled_from(["counted", "chunked", "close"])) if status not in {204, 304} else "none"
    encoded = body
    if framing == "counted":
        headers = [*headers, (b"Content-Length", b"%d" % len(body))]
    elif framing == "chunked":
        headers = [(b"Transfer-Encoding", b"Chunked"), *headers]
        cuts = sorted({0, len(body), *draw(st.lists(st.integers(0, len(body)), max_size=4))})
        parts = [body[start:end] for start, end in pairwise(cuts)]
        encoded = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
        encoded += b"0\r\n" + draw(st.sampled_from([b"", b"a: b\r\n"])) + b"\r\n"
    space = draw(st.sampled_from([b"", b" ", b"\t "]))
    informational = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 E\r\nl: x\r\n\r\n"]))
    lines = b"".join(
        name + b":" + space + text + (b"" if name == b"Transfer-Encoding" else space) + b"\r\n"
        for name, text in headers
    )
    raw = informational + b"HTTP/1.1 %d Reason\r\n" % status + lines + b"\r\n" + encoded
    return raw, status, [(name.lower(), text) for name, text in headers], body, framing == "close"


@given(answers(), st.data())
def test_any_cutting_of_an_answer_gives_the_same(
    answer: tuple[bytes, int, list[tuple[bytes, bytes]], bytes, bool], data: st.DataObject
) -> None:
    raw, status, headers, body, ends_with_connection = answer
    cuts = sorted({0, len(raw), *data.draw(st.lists(st.integers(0, len(raw)), max_size=20))})
    parser = ResponseParser()
    taken = b""
    for start, end in pairwise(cuts):
        assert not parser.complete
        parser.feed(raw[start:end])
        taken += parser.take(data.draw(st.integers(1, 100)))
    assert parser.complete != ends_with_connection
    parser.feed_eof()
    while parser.buffered:
        taken += parser.take(7)
    assert (parser.status, parser.headers, taken) == (status, headers, body)
    assert parser.complete


@given(answers(), st.integers(0))
def test_any_prefix_of_an_answer_is_a_premature_end(
    answer: tuple[bytes, int, list[tuple[bytes, bytes]], bytes, bool], cut: int
) -> None:
    raw, _, _, _, ends_with_connection = answer
    parser = ResponseParser()
    prefix = raw[: cut % len(raw)]
    if prefix:
        parser.feed(prefix)
    if not (ends_with_connection and parser.head_complete):
        with pytest.raises(UpstreamProtocolError):
            parser.feed_eof()
