"""The web layer over real loopback sockets, seen by a client that sends raw bytes."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import h11
import pytest
import pytest_asyncio

from privity.errors import (
    ApiError,
    ClientGoneError,
    InvalidRequestError,
    PayloadTooLargeError,
    UnavailableError,
    UpstreamProtocolError,
)
from privity.http import Headers, header
from privity.streams import Stream
from privity.testing.in_memory_app import ask_app
from privity.transport.error_forms import encode_error, error_event, wants_events
from privity.transport.server import listening
from privity.transport.tasks import Background
from privity.transport.web import (
    PLAIN,
    Check,
    Message,
    Reply,
    Request,
    Room,
    Routes,
    StreamReply,
    error_reply,
    json_reply,
    require_json,
)
from privity.transport.web_app import WebApp

CANARY = "canary-2f6d"
LIMIT = 10  # bytes of a body
DEADLINE = 20.0  # seconds, for what takes milliseconds
EVENTS: Headers = [(b"content-type", b"text/event-stream")]


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes = b""
    whole: bool = False

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)["error"]
        return found


async def ask(url: str, request: bytes, *methods: str) -> list[Answer]:
    """Send bytes and return the answers up to the connection's end, one for each method."""
    async with asyncio.timeout(DEADLINE):
        reader, writer = await connect(url)
        writer.write(request)
        received = await reader.read()
        writer.close()
    return parse(received, methods)


def parse(received: bytes, methods: tuple[str, ...]) -> list[Answer]:
    answers: list[Answer] = []
    client = h11.Connection(h11.CLIENT)
    client.receive_data(received)
    client.receive_data(b"")
    for method in methods:
        client.send(h11.Request(method=method, target="/", headers=[("host", "localhost")]))
        client.send(h11.EndOfMessage())
        answer = Answer(0, {})
        try:
            while not isinstance(event := client.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Response):
                    answer = Answer(event.status_code, {k.decode(): v.decode() for k, v in event.headers})
                elif isinstance(event, h11.Data):
                    answer.body += bytes(event.data)
            answer.whole = True
        except h11.RemoteProtocolError:
            pass
        answers.append(answer)
        if client.our_state is h11.DONE and client.their_state is h11.DONE:
            client.start_next_cycle()
    return answers


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


def request(method: str, target: str, body: bytes | None = None, /, **headers: str) -> bytes:
    """Return a request that asks for the connection's end; names of headers with `_` for `-`."""
    fields = {"host": "localhost", "connection": "close"} | {k.replace("_", "-"): v for k, v in headers.items()}
    if body is not None:
        fields.setdefault("content-length", str(len(body)))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + (body or b"")


@asynccontextmanager
async def serving(routes: Routes, check: Check = lambda _: None, error_headers: Headers = ()) -> AsyncIterator[str]:
    async with Background() as background:
        app = WebApp(routes, background, check, error_headers, drain_seconds=0.1)
        async with listening(app, "127.0.0.1", 0, "test") as url:
            yield url


def privity_logs(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name.startswith("privity")]


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not holds():  # noqa: ASYNC110  # what is waited for is a log record
            await asyncio.sleep(0.01)


# One application for the tables


async def show(asked: Request) -> Reply:
    return json_reply({"path": asked.path, "tail": asked.tail, "query": asked.query.decode()}, headers=[(b"x-a", b"b")])


async def take(asked: Request) -> Reply:
    require_json(asked)
    return json_reply({"body": (await asked.body(LIMIT)).decode()})


async def count(_asked: Request) -> StreamReply:
    async def chunks() -> AsyncGenerator[bytes]:
        for n in range(3):
            yield b"%d" % n

    return StreamReply(200, EVENTS, Stream(chunks()))


async def fail(asked: Request) -> Reply:
    raise InvalidRequestError(asked.query.decode(), param="p", code="c")


async def refuse(_asked: Request) -> Reply:
    raise UnavailableError("busy", retry_after=7)


async def break_down(_asked: Request) -> Reply:
    raise ValueError(CANARY)


def check(headers: Headers) -> None:
    if header(headers, b"x-forbidden") is not None:
        raise InvalidRequestError("forbidden")


ROUTES: Routes = {
    "/show": {"GET": show},
    "/show/": {"GET": show},
    "/take": {"POST": take},
    "/count": {"GET": count},
    "/fail": {"GET": fail},
    "/refuse": {"GET": refuse},
    "/defect": {"GET": break_down},
    "/both": {"GET": show, "POST": take},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url() -> AsyncIterator[str]:
    async with serving(ROUTES, check) as found:
        yield found


on_one_server = pytest.mark.asyncio(loop_scope="module")


@on_one_server
@pytest.mark.parametrize(
    ("target", "path", "tail", "query"),
    [
        ("/show", "/show", "", ""),
        ("/show?a=b&c", "/show", "", "a=b&c"),
        ("/show?", "/show", "", ""),
        ("/show/x", "/show/x", "x", ""),
        ("/show/org/name", "/show/org/name", "org/name", ""),
        ("/show/org%2Fname", "/show/org/name", "org/name", ""),
        ("/show/org%2fname?q=%2F", "/show/org/name", "org/name", "q=%2F"),
        ("/show/%E2%82%AC%20x", "/show/€ x", "€ x", ""),
        ("/show/a%253Ab", "/show/a%3Ab", "a%3Ab", ""),
        ("/show//x/", "/show//x/", "/x/", ""),
        ("http://localhost/show", "/show", "", ""),
    ],
)
async def test_a_path_leads_to_its_handler(url: str, target: str, path: str, tail: str, query: str) -> None:
    (answer,) = await ask(url, request("GET", target), "GET")
    assert (answer.status, answer.headers["content-type"], answer.headers["x-a"]) == (200, "application/json", "b")
    assert json.loads(answer.body) == {"path": path, "tail": tail, "query": query}


@on_one_server
@pytest.mark.parametrize(
    "target",
    ["/", "/shows", "/sho", "//show", "/SHOW", "/show%20", "/show/", "/take/x", "*", "/%00%1b[31m", "/" + "x" * 500],
)
async def test_an_unknown_path_is_a_404_that_shows_it_harmlessly(url: str, target: str) -> None:
    (answer,) = await ask(url, request("GET", target), "GET")
    assert answer.status == 404
    assert (answer.error["type"], answer.error["code"], answer.error["param"]) == (
        "invalid_request_error",
        "unknown_url",
        None,
    )
    assert answer.error["message"].isprintable()
    assert len(answer.error["message"]) < 200


@on_one_server
@pytest.mark.parametrize("method", ["DELETE", "OPTIONS", "PATCH", "PUT", "POST", "TRACE"])
@pytest.mark.parametrize(("target", "allow"), [("/show", "GET, HEAD"), ("/show/x", "GET, HEAD")])
async def test_a_wrong_method_is_a_405_that_says_which_are_right(
    url: str, method: str, target: str, allow: str
) -> None:
    (answer,) = await ask(url, request(method, target), method)
    assert (answer.status, answer.headers["allow"], answer.error["code"]) == (405, allow, "method_not_allowed")
    assert allow in answer.error["message"]


@on_one_server
@pytest.mark.parametrize(("target", "allow"), [("/take", "POST"), ("/both", "GET, POST, HEAD")])
async def test_head_is_allowed_where_get_is(url: str, target: str, allow: str) -> None:
    (answer,) = await ask(url, request("OPTIONS", target), "OPTIONS")
    assert answer.headers["allow"] == allow
    (answer,) = await ask(url, request("HEAD", target), "HEAD")
    assert answer.status == (200 if "HEAD" in allow else 405)


@on_one_server
@pytest.mark.parametrize("target", ["/show", "/count", "/nowhere"])
async def test_head_is_answered_as_get_is_but_without_a_body(url: str, target: str) -> None:
    get, head = [(await ask(url, request(method, target), method))[0] for method in ("GET", "HEAD")]
    ignored = {"date", "transfer-encoding"}
    assert head.status == get.status
    assert head.body == b""
    assert {k: v for k, v in head.headers.items() if k not in ignored} == {
        k: v for k, v in get.headers.items() if k not in ignored
    }


@on_one_server
@pytest.mark.parametrize("length", [0, 1, LIMIT])
async def test_a_body_up_to_the_limit_is_taken(url: str, length: int) -> None:
    (answer,) = await ask(url, request("POST", "/take", b"a" * length), "POST")
    assert (answer.status, json.loads(answer.body)) == (200, {"body": "a" * length})


@on_one_server
async def test_a_chunked_body_is_put_together(url: str) -> None:
    head = request("POST", "/take", transfer_encoding="chunked")
    (answer,) = await ask(url, head + b"3\r\nabc\r\n4;ext=x\r\ndefg\r\n0\r\n\r\n", "POST")
    assert json.loads(answer.body) == {"body": "abcdefg"}


@on_one_server
@pytest.mark.parametrize(
    "sent",
    [
        request("POST", "/take", content_length=str(LIMIT + 1)),
        request("POST", "/take", content_length="9" * 18),
        request("POST", "/take", transfer_encoding="chunked") + b"b\r\nabcdefghijk\r\n",
        request("POST", "/take", transfer_encoding="chunked") + b"6\r\nabcdef\r\n5\r\nabcde\r\n",
    ],
    ids=["announced", "announced, huge", "in one chunk", "in two chunks"],
)
async def test_a_body_over_the_limit_is_a_413_before_its_end(url: str, sent: bytes) -> None:
    (answer,) = await ask(url, sent, "POST")
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert answer.headers["connection"] == "close"
    assert str(LIMIT) in answer.error["message"]


@on_one_server
async def test_an_early_answer_reaches_a_client_that_is_still_sending(url: str) -> None:
    (answer,) = await ask(url, request("POST", "/nowhere", b"a" * 20_000_000), "POST")
    assert answer.status == 404


@on_one_server
@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (None, 200),
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON ;x=y", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/jsonp", 415),
        ("text/plain; application/json", 415),
        ("", 415),
    ],
)
async def test_a_body_that_claims_to_be_something_else_than_json_is_a_415(
    url: str, kind: str | None, status: int
) -> None:
    headers = {} if kind is None else {"content_type": kind}
    (answer,) = await ask(url, request("POST", "/take", b"{}", **headers), "POST")
    assert answer.status == status
    assert status == 200 or answer.error["code"] == "unsupported_media_type"


@on_one_server
@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/json, text/event-stream"])
async def test_an_error_is_complete(url: str, accept: str | None) -> None:
    headers = {} if accept is None else {"accept": accept}
    (answer,) = await ask(url, request("GET", "/fail?why", **headers), "GET")
    assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert json.loads(answer.body) == {
        "error": {"message": "why", "type": "invalid_request_error", "param": "p", "code": "c"}
    }


@on_one_server
@pytest.mark.parametrize(
    "accept", ["text/event-stream", " text/event-stream", "text/event-stream, */*;q=0.1", "Text/Event-Stream"]
)
async def test_an_error_is_an_event_for_a_client_that_wants_events(url: str, accept: str) -> None:
    (answer,) = await ask(url, request("GET", "/fail?why", accept=accept), "GET")
    assert (answer.status, answer.headers["content-type"]) == (400, "text/event-stream")
    assert answer.headers["x-content-type-options"] == "nosniff"
    event, data, *rest = answer.body.split(b"\n")
    assert (event, data[:6], rest) == (b"event: error", b"data: ", [b"", b""])
    assert json.loads(data[6:])["error"]["code"] == "c"


@on_one_server
async def test_an_errors_own_headers_go_with_it(url: str) -> None:
    (answer,) = await ask(url, request("GET", "/refuse"), "GET")
    assert (answer.status, answer.headers["retry-after"]) == (503, "7")


@on_one_server
@pytest.mark.parametrize("target", ["/show", "/nowhere", "/defect"])
async def test_the_check_comes_before_all_else(url: str, target: str) -> None:
    (answer,) = await ask(url, request("GET", target, x_forbidden="1"), "GET")
    assert (answer.status, answer.error["message"]) == (400, "forbidden")


@on_one_server
async def test_a_defect_is_a_bare_500_and_its_text_is_told_to_nobody(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (answer,) = await ask(url, request("GET", f"/defect?{CANARY}", accept=f"{CANARY}/x"), "GET")
    assert (answer.status, answer.headers["content-type"]) == (500, "application/json")
    assert answer.error == {
        "message": "Something is wrong inside Privity; its log says where.",
        "type": "server_error",
        "param": None,
        "code": None,
    }
    await eventually(lambda: len(privity_logs(caplog)) == 2)
    assert CANARY not in str([vars(record) for record in caplog.records])
    defect, _ = privity_logs(caplog)
    assert defect.levelno == logging.ERROR
    assert vars(defect)["error"].startswith("ValueError at ")
    assert vars(defect)["error"].rpartition(":")[2].isdigit()


@on_one_server
async def test_a_request_is_logged_by_its_route_and_not_by_what_the_client_made_up(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    targets = ("/show", f"/show/{CANARY}?{CANARY}", f"/{CANARY}")
    for target in targets:
        await ask(url, request("GET", target, authorization=CANARY), "GET")
    await ask(url, request("POST", "/take", CANARY[:LIMIT].encode()), "POST")
    await eventually(lambda: len(privity_logs(caplog)) == 4)
    logged = [vars(record) for record in privity_logs(caplog)]
    assert [(each["method"], each["route"], each["status"], each["levelno"]) for each in logged] == [
        ("GET", "/show", 200, logging.DEBUG),
        ("GET", "/show/", 200, logging.DEBUG),
        ("GET", "other", 404, logging.DEBUG),
        ("POST", "/take", 200, logging.INFO),
    ]
    assert CANARY not in str([vars(record) for record in caplog.records])


@on_one_server
async def test_a_stream_comes_in_its_pieces_and_ends_in_order(url: str) -> None:
    (answer,) = await ask(url, request("GET", "/count"), "GET")
    assert answer == Answer(200, answer.headers, b"012", whole=True)
    assert answer.headers["content-type"] == "text/event-stream"


@on_one_server
async def test_one_connection_carries_many_requests(url: str) -> None:
    async with asyncio.timeout(DEADLINE):
        reader, writer = await connect(url)
        for n in range(5):
            for target in (f"/show/{n}", "/nowhere", "/fail?x", "/defect", "/count"):
                writer.write(request("GET", target, connection="keep-alive"))
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 ")
                end = b"0\r\n\r\n" if target == "/count" else b"}"
                await reader.readuntil(end if target.startswith(("/show", "/count")) else b"}}")
        writer.write(request("GET", "/show"))
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()


@on_one_server
async def test_pipelined_requests_are_answered_in_their_order(url: str) -> None:
    body = request("POST", "/take", b"abc", connection="keep-alive")
    gets = [request("GET", f"/show/{n}", connection="keep-alive") for n in range(3)]
    answers = await ask(url, b"".join([*gets, body, request("GET", "/show/last")]), *["GET"] * 3, "POST", "GET")
    assert [answer.status for answer in answers] == [200] * 5
    tails = [json.loads(answer.body).get("tail") for answer in answers]
    assert tails == ["0", "1", "2", None, "last"]


# Clients that leave


class Waiting:
    """Handlers that wait, and tell when they began and how they were left."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.left = asyncio.Event()
        self.error: BaseException | None = None

    async def unary(self, asked: Request) -> Reply:
        await self._wait(asked)
        return json_reply({})

    async def unread(self, _asked: Request) -> Reply:
        await self._wait(None)
        return json_reply({})

    async def stream(self, asked: Request) -> StreamReply:
        await asked.body(LIMIT)
        return StreamReply(200, EVENTS, Stream(self._chunks()))

    async def endless(self, _asked: Request) -> StreamReply:
        async def chunks() -> AsyncGenerator[bytes]:
            try:
                while True:
                    yield b"x" * 10_000
                    self.began.set()
                    await asyncio.sleep(0)
            finally:
                self.left.set()

        return StreamReply(200, EVENTS, Stream(chunks()))

    async def _wait(self, asked: Request | None) -> None:
        self.began.set()
        try:
            if asked is not None:
                await asked.body(LIMIT)
            await asyncio.Event().wait()
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.left.set()

    async def _chunks(self) -> AsyncGenerator[bytes]:
        try:
            yield b"data: 1\n\n"
            self.began.set()
            await asyncio.Event().wait()
        finally:
            self.left.set()

    @property
    def routes(self) -> Routes:
        return {
            "/unary": {"GET": self.unary, "POST": self.unary},
            "/unread": {"GET": self.unread, "POST": self.unread},
            "/stream": {"GET": self.stream, "POST": self.stream},
            "/endless": {"GET": self.endless},
        }


PART_OF_A_BODY = request("POST", "/unary", content_length="5") + b"ab"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (request("GET", "/unary"), asyncio.CancelledError),
        (request("POST", "/unary", b"{}"), asyncio.CancelledError),
        (request("POST", "/unary", transfer_encoding="chunked") + b"0\r\n\r\n", asyncio.CancelledError),
        (request("GET", "/unread"), asyncio.CancelledError),
        (PART_OF_A_BODY, ClientGoneError),
        (request("GET", "/stream"), None),
        (request("POST", "/stream", b"{}"), None),
        (request("GET", "/endless"), None),
    ],
    ids=["get", "post", "post, chunked", "get, unread", "post, half sent", "stream", "post, stream", "endless stream"],
)
async def test_the_work_for_a_client_that_leaves_is_ended(
    sent: bytes, expected: type[BaseException] | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    waiting = Waiting()
    async with asyncio.timeout(DEADLINE), serving(waiting.routes) as url:
        _, writer = await connect(url)
        writer.write(sent)
        await waiting.began.wait()
        assert not waiting.left.is_set()
        writer.close()
        await waiting.left.wait()
        await eventually(lambda: bool(privity_logs(caplog)))
    assert isinstance(waiting.error, expected or type(None))
    (record,) = privity_logs(caplog)
    assert (record.getMessage(), vars(record)["status"]) == ("request", 499)


async def test_a_client_that_stays_gets_the_answer_however_long_it_takes() -> None:
    go_on = asyncio.Event()

    async def slow(_asked: Request) -> Reply:
        await go_on.wait()
        return json_reply({"late": True})

    async with asyncio.timeout(DEADLINE), serving({"/slow": {"GET": slow, "POST": slow}}) as url:
        reader, writer = await connect(url)
        writer.write(request("GET", "/slow"))
        await asyncio.sleep(0.3)  # longer than WATCH_AFTER, so that somebody watches the client
        go_on.set()
        (answer,) = parse(await reader.read(), ("GET",))
        assert json.loads(answer.body) == {"late": True}
        writer.close()


# Sources that break


async def broken(error: Exception) -> AsyncGenerator[bytes]:
    yield b"data: 1\n\n"
    raise error


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (UpstreamProtocolError(CANARY), (logging.WARNING, "answer cut")),
        (UnavailableError(CANARY), (logging.WARNING, "answer cut")),
        (ValueError(CANARY), (logging.ERROR, "defect")),
    ],
)
async def test_a_stream_whose_source_breaks_cuts_the_connection(
    error: Exception, logged: tuple[int, str], caplog: pytest.LogCaptureFixture
) -> None:
    async def breaks(_asked: Request) -> StreamReply:
        return StreamReply(200, EVENTS, Stream(broken(error)))

    async with serving({"/": {}, "/breaks": {"GET": breaks}}) as url:
        (answer,) = await ask(url, request("GET", "/breaks", connection="keep-alive"), "GET")
    assert answer == Answer(200, answer.headers, b"data: 1\n\n", whole=False)
    (record,) = privity_logs(caplog)
    assert (record.levelno, record.getMessage()) == logged
    assert CANARY not in str(vars(record))


# Without sockets


def scripted(*messages: Message) -> Callable[[], Any]:
    remaining = list(messages)

    async def receive() -> Message:
        return remaining.pop(0)

    return receive


def piece(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def asked_with(headers: Headers, *messages: Message) -> Request:
    return Request("POST", "/", b"", headers, scripted(*messages))


@pytest.mark.parametrize(
    ("messages", "pieces"),
    [
        ([piece(b"")], []),
        ([{"type": "http.request"}], []),
        ([piece(b"abc")], [b"abc"]),
        ([piece(b"abc", more=True), piece(b"", more=True), piece(b"def")], [b"abc", b"def"]),
        ([piece(b"a" * LIMIT)], [b"a" * LIMIT]),
    ],
)
async def test_a_body_comes_in_its_pieces(messages: list[Message], pieces: list[bytes]) -> None:
    assert [each async for each in asked_with([], *messages).stream(LIMIT)] == pieces
    assert await asked_with([], *messages).body(LIMIT) == b"".join(pieces)


async def test_bodies_have_room_together_until_they_are_let_go() -> None:
    room = Room(8)
    first, second, third = (Request("POST", "/", b"", [], scripted(piece(b"abcde")), room) for _ in range(3))
    assert await first.body(LIMIT) == b"abcde"
    with pytest.raises(UnavailableError):
        await second.body(LIMIT)
    second.release()
    first.release()
    first.release()
    assert await third.body(LIMIT) == b"abcde"
    with pytest.raises(UnavailableError):
        room.take(4)


async def test_what_passes_through_takes_no_room() -> None:
    asked = Request("POST", "/", b"", [], scripted(piece(b"abcde")), Room(0))
    assert [each async for each in asked.stream(LIMIT)] == [b"abcde"]


async def test_a_body_is_read_once() -> None:
    asked = asked_with([], piece(b"abc"))
    assert [await asked.body(LIMIT), await asked.body(LIMIT)] == [b"abc", b""]


@pytest.mark.parametrize(
    ("headers", "messages", "error"),
    [
        ([(b"content-length", b"11")], [], PayloadTooLargeError),
        ([], [piece(b"a" * 11)], PayloadTooLargeError),
        ([], [piece(b"a" * 6, more=True), piece(b"a" * 5, more=True)], PayloadTooLargeError),
        ([(b"content-length", b"3")], [piece(b"a" * 11)], PayloadTooLargeError),
        ([], [piece(b"a", more=True), {"type": "http.disconnect"}], ClientGoneError),
    ],
)
async def test_a_body_that_is_too_long_or_cut_is_an_error(
    headers: Headers, messages: list[Message], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await asked_with(headers, *messages).body(LIMIT)


@pytest.mark.parametrize(
    ("headers", "messages", "unread"),
    [
        ([], [], False),
        ([(b"content-length", b"0")], [], False),
        ([(b"content-length", b"5")], [], True),
        ([(b"transfer-encoding", b"chunked")], [], True),
        ([(b"content-length", b"5")], [piece(b"abcde")], False),
    ],
)
async def test_a_request_knows_whether_bytes_may_come_that_nobody_reads(
    headers: Headers,
    messages: list[Message],
    unread: bool,  # noqa: FBT001  # a parameter
) -> None:
    asked = asked_with(headers, *messages)
    if messages:
        await asked.body(LIMIT)
    assert asked.has_unread_body is unread


ERRORS = [ApiError("text"), InvalidRequestError('quotes " and \n', param="p"), UnavailableError("later")]
WANTS_EVENTS: Headers = [(b"accept", b"text/event-stream")]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/elsewhere"])
def test_an_error_event_is_one_event(error: ApiError, path: str) -> None:
    event = error_event(error, path)
    assert event.startswith(b"event: error\ndata: ")
    assert event.count(b"\n") == 3
    assert event.split(b"data: ")[1].rstrip(b"\n") == encode_error(error, path)
    reply = error_reply(error, Request("POST", path, b"", WANTS_EVENTS, scripted()))
    assert (reply.status, reply.body) == (error.status, event)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(
    ("path", "is_anthropics"),
    [
        ("/v1/messages", True),
        ("/v1/messages/count_tokens", True),
        ("/v1/messages/batches", True),
        ("/v1/chat/completions", False),
        ("/v1/models", False),
        ("/unstructured/x", False),
        ("/", False),
    ],
)
def test_an_error_has_the_form_of_the_api_that_was_asked(error: ApiError, path: str, *, is_anthropics: bool) -> None:
    expected = error.anthropic_body() if is_anthropics else error.body()
    assert json.loads(encode_error(error, path)) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], False),
        ([(b"accept", b"")], False),
        ([(b"accept", b"*/*")], False),
        ([(b"content-type", b"text/event-stream")], False),
        ([(b"accept", b"application/json, text/event-stream")], False),
        (WANTS_EVENTS, True),
    ],
)
def test_a_client_wants_events_that_names_them_first(headers: Headers, *, expected: bool) -> None:
    assert wants_events(headers) is expected


async def test_each_error_bears_the_headers_that_errors_bear_here_and_other_answers_do_not() -> None:
    async with serving(ROUTES, check, error_headers=[PLAIN]) as url:
        for target in ("/nowhere", "/fail", "/refuse", "/defect"):
            for accept in ("*/*", "text/event-stream"):
                (answer,) = await ask(url, request("GET", target, accept=accept), "GET")
                assert answer.headers["privatemode-encrypted"] == "false"
        for target, fields in (("/show", {"x_forbidden": "1"}), ("/take", {})):
            (answer,) = await ask(url, request("GET", target, **fields), "GET")
            assert answer.headers["privatemode-encrypted"] == "false"
        for target in ("/show", "/count"):
            (answer,) = await ask(url, request("GET", target), "GET")
            assert "privatemode-encrypted" not in answer.headers


async def test_an_app_gives_the_room_of_a_body_back_when_it_was_answered() -> None:
    async def echo(asked: Request) -> Reply:
        return json_reply((await asked.body(LIMIT)).decode())

    async with Background() as background:
        app = WebApp({"/echo": {"POST": echo}}, background, max_held=5)
        statuses = [(await ask_app(app, "POST", "/echo", [], body)).status for body in (b"abcde", b"abcdef", b"abcde")]
    assert statuses == [200, 503, 200]
