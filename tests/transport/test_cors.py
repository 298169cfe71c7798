import json
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from privity.errors import ForbiddenOriginError, InvalidRequestError, StartError, UnavailableError
from privity.http import Headers
from privity.roles.proxy.guard import Guard
from privity.streams import Stream
from privity.testing.in_memory_app import Got, ask_app
from privity.transport.cors import ALLOWED_HEADERS, Cors
from privity.transport.tasks import Background
from privity.transport.web import Handler, Reply, Request, Routes, StreamReply, json_reply
from privity.transport.web_app import WebApp

ORIGIN = "https://app.example"
LISTED = (b"origin", ORIGIN.encode())
FOREIGN = (b"origin", b"https://evil.example")
PREFLIGHT: Headers = [LISTED, (b"access-control-request-method", b"POST")]


@pytest.fixture
async def background() -> AsyncIterator[Background]:
    async with Background() as held:
        yield held


@pytest.fixture
def app(background: Background) -> WebApp:
    return WebApp(_routes(), background, cors=Cors([ORIGIN]))


def _routes() -> Routes:
    return {
        "/v1/models": {"GET": _json},
        "/v1/models/": {"GET": _json},
        "/chat": {"POST": _json},
        "/both": {"GET": _json, "POST": _json},
        "/stream": {"GET": _stream},
        "/bad": {"GET": _bad},
        "/busy": {"GET": _busy},
        "/defect": {"GET": _defect},
        "/vary": {"GET": _varying(b"Authorization, Accept")},
        "/vary-origin": {"GET": _varying(b"authorization, Origin")},
        "/vary-all": {"GET": _varying(b"*")},
        "/unchanged": {"GET": _unchanged},
        "/open": {"GET": _open},
    }


async def _json(_request: Request) -> Reply:
    return json_reply({"ok": True})


async def _stream(_request: Request) -> StreamReply:
    async def chunks() -> AsyncGenerator[bytes]:  # a stream is asynchronous
        yield b"data: 1\n\n"
        yield b"data: 2\n\n"

    return StreamReply(200, [(b"content-type", b"text/event-stream")], Stream(chunks()))


async def _bad(_request: Request) -> Reply:
    raise InvalidRequestError("no")


async def _busy(_request: Request) -> Reply:
    raise UnavailableError("busy")


async def _defect(_request: Request) -> Reply:
    raise KeyError("content")


def _varying(value: bytes) -> Handler:
    async def answer(_request: Request) -> Reply:
        return json_reply({}, headers=[(b"vary", value), (b"vary", b"authorization")])

    return answer


async def _unchanged(_request: Request) -> Reply:
    return Reply(304, [(b"etag", b'"a"')], b"")


async def _open(_request: Request) -> Reply:
    return json_reply({}, headers=[(b"access-control-allow-origin", b"*")])


def _cors_headers(got: Got) -> dict[bytes, bytes]:
    names = [name for name, _ in got.headers if name.startswith(b"access-control-")]
    assert len(names) == len(set(names))
    return {name: value for name, value in got.headers if name.startswith(b"access-control-")}


def _vary(got: Got) -> list[bytes]:
    values = [value for name, value in got.headers if name == b"vary"]
    assert len(values) == 1
    return [each.strip() for value in values for each in value.split(b",")]


SHARED = {
    b"access-control-allow-origin": ORIGIN.encode(),
    b"access-control-expose-headers": (
        b"etag, retry-after, x-request-id, deprecation, sunset, link, privity-health, privity-models-dropped"
    ),
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models", 200),
        ("GET", "/v1/models/org/Big", 200),
        ("HEAD", "/v1/models", 200),
        ("POST", "/chat", 200),
        ("GET", "/stream", 200),
        ("GET", "/bad", 400),
        ("GET", "/busy", 503),
        ("GET", "/defect", 500),
        ("GET", "/nowhere", 404),
        ("DELETE", "/v1/models", 405),
        ("OPTIONS", "/v1/models", 405),
        ("GET", "/unchanged", 304),
        ("GET", "/open", 200),
    ],
)
async def test_a_listed_origin_may_read_every_answer(app: WebApp, method: str, path: str, status: int) -> None:
    got = await ask_app(app, method, path, [LISTED])
    assert got.status == status
    assert _cors_headers(got) == SHARED
    assert _vary(got) == [b"origin"]


async def test_an_answer_stays_what_it_was(app: WebApp) -> None:
    assert (await ask_app(app, "GET", "/stream", [LISTED])).pieces == [b"data: 1\n\n", b"data: 2\n\n"]
    busy = await ask_app(app, "GET", "/busy", [LISTED])
    assert (busy.header(b"retry-after"), busy.json()["error"]["message"]) == (b"2", "busy")
    assert (await ask_app(app, "DELETE", "/both", [LISTED])).header(b"allow") == b"GET, POST, HEAD"


@pytest.mark.parametrize(
    ("path", "vary"),
    [
        ("/vary", [b"Authorization", b"Accept", b"authorization", b"origin"]),
        ("/vary-origin", [b"authorization", b"Origin", b"authorization"]),
        ("/vary-all", [b"*"]),
    ],
)
async def test_what_an_answer_varies_by_is_kept(app: WebApp, path: str, vary: list[bytes]) -> None:
    assert _vary(await ask_app(app, "GET", path, [LISTED])) == vary


@pytest.mark.parametrize("headers", [[], [FOREIGN], [(b"origin", b"null")], [(b"origin", b"https://app.example.evil")]])
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/models"), ("GET", "/stream"), ("GET", "/bad")])
async def test_others_get_the_answer_without_a_header_more(
    app: WebApp, method: str, path: str, headers: Headers
) -> None:
    got = await ask_app(app, method, path, headers)
    assert not _cors_headers(got)
    assert got.header(b"vary") is None


async def test_a_preflight_is_answered(app: WebApp) -> None:
    wanted = (b"access-control-request-headers", b"authorization,Content-Type, x-stainless-os,x-evil,x-stainless-\xff")
    got = await ask_app(app, "OPTIONS", "/both", [*PREFLIGHT, wanted])
    assert (got.status, got.body) == (204, b"")
    assert got.header(b"content-length") is None
    assert got.header(b"content-type") is None
    assert _cors_headers(got) == SHARED | {
        b"access-control-allow-methods": b"GET, POST, HEAD",
        b"access-control-allow-headers": b"authorization, content-type, x-stainless-os",
        b"access-control-max-age": b"600",
    }
    assert set(_vary(got)) >= {b"origin", b"access-control-request-method", b"access-control-request-headers"}


@pytest.mark.parametrize("name", sorted(ALLOWED_HEADERS))
async def test_what_known_clients_send_is_allowed(app: WebApp, name: bytes) -> None:
    got = await ask_app(app, "OPTIONS", "/chat", [*PREFLIGHT, (b"access-control-request-headers", name)])
    assert got.header(b"access-control-allow-headers") == name


async def test_a_preflight_that_asks_for_no_header_is_told_of_none(app: WebApp) -> None:
    got = await ask_app(app, "OPTIONS", "/v1/models/org/Big", PREFLIGHT)
    assert got.status == 204
    assert got.header(b"access-control-allow-methods") == b"GET, HEAD"
    assert got.header(b"access-control-allow-headers") is None
    assert got.header(b"access-control-allow-private-network") is None


async def test_a_listed_page_of_the_internet_may_ask_a_machine_at_home(app: WebApp) -> None:
    asked = (b"access-control-request-private-network", b"true")
    got = await ask_app(app, "OPTIONS", "/chat", [*PREFLIGHT, asked])
    assert got.header(b"access-control-allow-private-network") == b"true"


async def test_nobody_is_offered_credentials_or_every_origin(app: WebApp) -> None:
    for method, headers in (("OPTIONS", PREFLIGHT), ("GET", [LISTED])):
        got = await ask_app(app, method, "/both", headers)
        assert got.header(b"access-control-allow-credentials") is None
        assert b"*" not in {value for _, value in got.headers}


async def test_a_foreign_preflight_is_a_method_that_is_not_allowed(app: WebApp) -> None:
    got = await ask_app(app, "OPTIONS", "/v1/models", [FOREIGN, (b"access-control-request-method", b"GET")])
    assert (got.status, got.header(b"allow")) == (405, b"GET, HEAD")
    assert not _cors_headers(got)


async def test_a_preflight_of_no_path_fails(app: WebApp) -> None:
    got = await ask_app(app, "OPTIONS", "/nowhere", PREFLIGHT)
    assert got.status == 404
    assert json.loads(got.body)["error"]["code"] == "unknown_url"


@pytest.mark.parametrize("cors", [None, Cors([])])
async def test_it_is_off_by_default(background: Background, cors: Cors | None) -> None:
    app = WebApp(_routes(), background, cors=cors)
    preflight = await ask_app(app, "OPTIONS", "/v1/models", PREFLIGHT)
    plain = await ask_app(app, "GET", "/v1/models", [LISTED])
    assert (preflight.status, plain.status) == (405, 200)
    assert not _cors_headers(preflight)
    assert not _cors_headers(plain)


async def test_the_guard_comes_first(background: Background) -> None:
    guard = Guard("127.0.0.1", (), (ORIGIN,))
    app = WebApp(_routes(), background, check=guard.check, cors=Cors([ORIGIN]))
    host = (b"host", b"localhost:8080")
    assert (await ask_app(app, "OPTIONS", "/chat", [host, *PREFLIGHT])).status == 204
    foreign = await ask_app(app, "OPTIONS", "/chat", [host, FOREIGN, *PREFLIGHT[1:]])
    assert (foreign.status, foreign.json()["error"]["code"]) == (403, ForbiddenOriginError.code)
    assert not _cors_headers(foreign)
    rebound = await ask_app(app, "OPTIONS", "/chat", [(b"host", b"evil.example"), *PREFLIGHT])
    assert rebound.status == 421


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://App.Example/", "https://app.example"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("app://obsidian.md", "app://obsidian.md"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ],
)
def test_origins_of_many_kinds_can_be_listed(given: str, sent: str) -> None:
    shared = Cors([given]).shared([(b"origin", sent.encode())], [])
    assert shared is not None
    assert (b"access-control-allow-origin", sent.encode()) in shared


@pytest.mark.parametrize(
    "given",
    ["*", "null", "", "app.example", "https://", "https://*", "https://*.example", "https://a.example/app",
     "https://a.example, https://b.example", "https://bücher.example", "https://a.example\r\nx: y"],
)  # fmt: skip
def test_what_is_no_origin_is_refused(given: str) -> None:
    with pytest.raises(StartError, match="not a web page's origin"):
        Cors([given])
