"""A proxy's routes over a real listener, in front of a gateway that is a function."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from privity.roles.proxy.app import build_app
from privity.roles.proxy.guard import Guard
from privity.roles.proxy.service import Proxy
from privity.testing.fake_http import FakeHttpClient, SentRequest, json_response
from privity.transport.http_client import PooledHttpClient
from privity.transport.server import listening
from privity.transport.tasks import Background
from privity.transport.web import MAX_BODY

CHAT = "/v1/chat/completions"
BODY = b'{"model": "chat"}'


@asynccontextmanager
async def proxy() -> AsyncIterator[tuple[str, FakeHttpClient]]:
    gateway = FakeHttpClient(lambda request: json_response({"url": request.url}))
    served = Proxy(gateway, "http://gateway", 0)
    guard = Guard("127.0.0.1", (), ("https://app.example",))
    async with (
        Background() as background,
        listening(build_app(served, guard, background), "127.0.0.1", 0, "proxy") as url,
    ):
        yield url, gateway


async def ask(
    method: str, path: str, *headers: tuple[str, str], body: bytes = b""
) -> tuple[int, dict[str, Any], list[SentRequest]]:
    """Return the status, the JSON body, and what the gateway heard."""
    async with proxy() as (url, gateway), PooledHttpClient() as client:
        sent = [(name.encode(), value.encode()) for name, value in headers]
        async with await client.request(method, url + path, headers=sent, body=body, head_timeout=20) as response:
            return response.status, json.loads(await response.read(1 << 20) or b"{}"), gateway.sent


@pytest.mark.parametrize(
    ("asked", "url"),
    [
        ("/v1/models", "/v1/models"),
        ("/v1/models?limit=1000&unknown=%00", "/v1/models"),
        ("/v1/models/chat", "/v1/models/chat"),
        ("/v1/models/org/chat", "/v1/models/org%2Fchat"),
        ("/v1/models/org%2Fchat", "/v1/models/org%2Fchat"),
        ("/v1/models/a%3Fb%23c%25%20%0d%0a", "/v1/models/a%3Fb%23c%25%20%0D%0A"),
        ("/v1/models/mod%C3%A8le", "/v1/models/mod%C3%A8le"),
        ("/v1/models/../v1/completions", "/v1/models/..%2Fv1%2Fcompletions"),
    ],
)
async def test_models_are_asked_for_under_an_encoded_id(asked: str, url: str) -> None:
    status, body, _ = await ask("GET", asked)
    assert (status, body) == (200, {"url": f"http://gateway{url}"})


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/embeddings"])
@pytest.mark.parametrize("kind", [[], [("content-type", "application/json")]], ids=["no type", "JSON"])
async def test_an_endpoint_takes_json(path: str, kind: list[tuple[str, str]]) -> None:
    status, body, sent = await ask("POST", path, *kind, body=BODY)
    assert (status, body) == (200, {"url": f"http://gateway{path}"})
    assert sent[0].body == BODY


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "code"),
    [
        ("POST", CHAT, [("content-type", "text/plain")], BODY, 415, "unsupported_media_type"),
        ("POST", CHAT, [("origin", "http://evil.example")], BODY, 403, "origin_not_allowed"),
        ("GET", "/v1/models", [("origin", "null")], b"", 403, "origin_not_allowed"),
        ("POST", CHAT, [], b"{", 400, "invalid_json"),
        ("POST", CHAT, [], b"{}", 400, "missing_model"),
        ("GET", CHAT, [], b"", 405, "method_not_allowed"),
        ("OPTIONS", CHAT, [("origin", "https://app.example")], b"", 405, "method_not_allowed"),
        ("POST", "/v1/models", [], b"{}", 405, "method_not_allowed"),
        ("POST", "/v1/responses", [], BODY, 404, "unknown_url"),
        ("GET", "/", [], b"", 404, "unknown_url"),
        ("GET", "/v1/models/", [], b"", 404, "unknown_url"),
    ],
)
async def test_what_is_not_answered_goes_nowhere(
    method: str, path: str, headers: list[tuple[str, str]], body: bytes, status: int, code: str
) -> None:
    answered, error, sent = await ask(method, path, *headers, body=body)
    assert (answered, error["error"]["code"]) == (status, code)
    assert sent == []


async def test_a_listed_origin_is_answered() -> None:
    status, _, sent = await ask("POST", CHAT, ("origin", "https://app.example"), body=BODY)
    assert (status, len(sent)) == (200, 1)


@pytest.mark.parametrize("host", [b"evil.example", b"", None])
async def test_a_name_that_only_resolves_to_this_machine_is_refused(host: bytes | None) -> None:
    field = b"" if host is None else b"host: " + host + b"\r\n"
    answer = await raw(b"GET /v1/models HTTP/1.1\r\n" + field + b"connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 421 ")
    assert b'"code":"host_not_allowed"' in answer


async def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % (MAX_BODY + 1)
    answer = await raw(head)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"request_too_large"' in answer


async def raw(request: bytes) -> bytes:
    async with proxy() as (url, gateway):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
        writer.write(request)
        answer = await reader.read()
        writer.close()
        assert gateway.sent == []
    return answer
