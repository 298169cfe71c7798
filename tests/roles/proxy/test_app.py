"""A proxy's routes over a real listener, in front of a deployment that is a function."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from privity.catalogue.model import Evidence
from privity.roles.proxy.app import _LIMITS, MAX_UNSTRUCTURED_BODY, MAX_UPLOAD, build_app
from privity.roles.proxy.guard import Guard
from privity.testing.adversary_models import CHAT as CHAT_MODEL
from privity.testing.adversary_models import EMBED
from privity.testing.fake_deployment import FakeDeployment
from privity.testing.fake_http import SentRequest
from privity.testing.proxy_rig import CHAT, Rig
from privity.transport.cors import Cors
from privity.transport.http_client import PooledHttpClient
from privity.transport.server import listening
from privity.transport.tasks import Background
from privity.transport.web import MAX_BODY

BODY = b'{"model": "m", "messages": []}'
FORM = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nb\r\n--x--\r\n'  # fmt: skip  # noqa: E501
FORM_TYPE = ("content-type", "multipart/form-data; boundary=x")
ORIGINS = ("https://app.example",)
TRANSCRIPTIONS = "/v1/audio/transcriptions"
UNSTRUCTURED = "/unstructured/general/v0/general"


@asynccontextmanager
async def proxy() -> AsyncIterator[tuple[str, Rig]]:
    async with Background() as background:
        rig = Rig(FakeDeployment({"object": "x", "id": "c1"}), background)
        guard = Guard("127.0.0.1", (), ORIGINS)
        async with listening(
            build_app(rig.proxy, rig.models, guard, background, Cors(ORIGINS)), "127.0.0.1", 0, "proxy"
        ) as url:
            yield url, rig


async def ask(
    method: str, path: str, *headers: tuple[str, str], body: bytes = b""
) -> tuple[int, dict[str, Any], list[SentRequest]]:
    """Return the status, the JSON body, and what the gateway heard."""
    async with proxy() as (url, rig), PooledHttpClient() as client:
        sent = [(name.encode(), value.encode()) for name, value in headers]
        async with await client.request(method, url + path, headers=sent, body=body, head_timeout=20) as response:
            return response.status, json.loads(await response.read(1 << 20) or b"{}"), rig.sent


@pytest.mark.parametrize(
    ("asked", "url"),
    [
        ("/v1/models", "/v1/models"),
        ("/v1/models?limit=1000&unknown=%00", "/v1/models"),
        ("/v1/models/m", "/v1/models/m"),
        ("/v1/models/chat", "/v1/models/chat"),
        ("/v1/models/org/chat", "/v1/models/org%2Fchat"),
        ("/v1/models/org%2Fchat", "/v1/models/org%2Fchat"),
        ("/v1/models/a%3Fb%23c%25%20%0d%0a", "/v1/models/a%3Fb%23c%25%20%0D%0A"),
        ("/v1/models/mod%C3%A8le", "/v1/models/mod%C3%A8le"),
        ("/v1/models/../v1/completions", "/v1/models/..%2Fv1%2Fcompletions"),
    ],
)
async def test_models_are_asked_for_under_an_encoded_id(asked: str, url: str) -> None:
    status, _, sent = await ask("GET", asked)
    known = url in {"/v1/models", "/v1/models/m"}
    assert (status, [each.url for each in sent]) == (200 if known else 404, [f"http://gateway{url}?detail=full"])


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/embeddings", "/v1/messages"])
@pytest.mark.parametrize("kind", [[], [("content-type", "application/json; charset=utf-8")]], ids=["no type", "JSON"])
async def test_an_endpoint_takes_json(path: str, kind: list[tuple[str, str]]) -> None:
    status, body, sent = await ask("POST", path + "?canary", *kind, body=BODY)
    assert (status, body) == (200, {"object": "x", "id": "c1"})
    assert [each.url for each in sent] == ["http://gateway" + path]


@pytest.mark.parametrize(("path", "body"), [(TRANSCRIPTIONS, FORM), (UNSTRUCTURED, FORM)])
async def test_an_endpoint_takes_a_form(path: str, body: bytes) -> None:
    status, _, sent = await ask("POST", path, FORM_TYPE, body=body)
    assert (status, [each.url for each in sent]) == (200, ["http://gateway" + path])


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "code"),
    [
        ("POST", CHAT, [("content-type", "text/plain")], BODY, 415, "unsupported_media_type"),
        ("POST", CHAT, [FORM_TYPE], FORM, 415, "unsupported_media_type"),
        ("POST", TRANSCRIPTIONS, [], FORM, 415, "unsupported_media_type"),
        ("POST", TRANSCRIPTIONS, [("content-type", "application/json")], BODY, 415, "unsupported_media_type"),
        ("POST", TRANSCRIPTIONS, [("content-type", "multipart/form-data")], FORM, 400, "invalid_form"),
        ("POST", CHAT, [("origin", "http://evil.example")], BODY, 403, "origin_not_allowed"),
        ("GET", "/v1/models", [("origin", "null")], b"", 403, "origin_not_allowed"),
        ("POST", CHAT, [], b"{", 400, "invalid_json"),
        ("POST", CHAT, [], b"{}", 400, "missing_model"),
        ("POST", CHAT, [], b'{"model": "m", "x": 1, "x": 2}', 400, "repeated_member"),
        ("GET", CHAT, [], b"", 405, "method_not_allowed"),
        ("OPTIONS", CHAT, [("origin", "https://app.example")], b"", 405, "method_not_allowed"),
        ("POST", "/v1/models", [], b"{}", 405, "method_not_allowed"),
        ("POST", "/v1/moderations", [], BODY, 404, "unknown_url"),
        ("POST", "/unstructured/", [FORM_TYPE], FORM, 404, "unknown_url"),
        ("POST", "/privatemode/v1/secret", [], b"{}", 404, "unknown_url"),
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


async def test_an_error_on_anthropics_endpoint_has_its_form() -> None:
    status, error, _ = await ask("POST", "/v1/messages", body=b"{}")
    assert (status, error["type"], error["error"]["type"]) == (400, "error", "invalid_request_error")


async def test_a_listed_origin_is_answered() -> None:
    status, _, sent = await ask("POST", CHAT, ("origin", "https://app.example"), body=BODY)
    assert (status, len(sent)) == (200, 1)


@pytest.mark.parametrize("host", [b"evil.example", b"", None])
async def test_a_name_that_only_resolves_to_this_machine_is_refused(host: bytes | None) -> None:
    field = b"" if host is None else b"host: " + host + b"\r\n"
    answer = await raw(b"GET /v1/models HTTP/1.1\r\n" + field + b"connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 421 ")
    assert b'"code":"host_not_allowed"' in answer


@pytest.mark.parametrize(
    ("path", "kind", "limit"),
    [
        (CHAT, b"application/json", (MAX_BODY - 1024 * 1024) // 2),
        (TRANSCRIPTIONS, b"multipart/form-data; boundary=x", MAX_UPLOAD),
        (UNSTRUCTURED, b"multipart/form-data; boundary=x", MAX_UNSTRUCTURED_BODY),
    ],
)
async def test_a_body_over_the_limit_is_refused_before_it_is_read(path: str, kind: bytes, limit: int) -> None:
    head = b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    answer = await raw(head % (path.encode(), kind, limit + 1))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"request_too_large"' in answer


def test_a_body_of_any_allowed_size_fits_the_wire_when_it_is_encrypted() -> None:
    for limit in _LIMITS.values():
        assert 2 * limit <= MAX_BODY


async def raw(request: bytes) -> bytes:
    async with proxy() as (url, rig):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
        writer.write(request)
        answer = await reader.read()
        writer.close()
        assert rig.http.sent == []
    return answer


@pytest.mark.parametrize(
    "tamper", [lambda _: b"canary", lambda body: body[:-5], lambda _: b"[" * 9999], ids=["nonsense", "cut", "deep"]
)
async def test_a_bad_answer_is_a_clean_error_and_no_defect(
    tamper: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    async with proxy() as (url, rig), PooledHttpClient() as client:

        def alter(_request: SentRequest, response: Any) -> Any:
            response.pieces = [tamper(b"".join(response.pieces))]
            return response

        rig.deployment.tamper = alter
        async with await client.request("POST", url + CHAT, body=BODY, head_timeout=20) as response:
            error = json.loads(await response.read(1 << 20))["error"]
    assert (response.status, error["code"]) == (502, "answer_not_authentic")
    assert "defect" not in caplog.text
    assert "canary" not in caplog.text + error["message"]


# Models


class Got(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def get(client: PooledHttpClient, url: str, *headers: tuple[bytes, bytes], method: str = "GET") -> Got:
    async with await client.request(method, url, headers=headers, head_timeout=20) as response:
        return Got(response.status, dict(response.headers), await response.read(1 << 20))


async def test_an_app_gets_verified_rows_and_each_of_them_alone_with_its_evidence() -> None:
    """models-api.md items 3, 12 and 13."""
    async with proxy() as (url, rig), PooledHttpClient() as client:
        evidence = tuple(Evidence(task, "engine") for task in CHAT_MODEL.tasks)
        rig.deployment.models = (replace(CHAT_MODEL, evidence=evidence), EMBED)
        listed = await get(client, f"{url}/v1/models?unknown=1&limit=1000")
        rows = listed.json()["data"]
        assert [row["id"] for row in rows] == ["org/chat", "chat", "chat-latest", "org/embed", "embed"]
        assert {row["verified"] for row in rows} == {True}
        assert {row.get("canonical") for row in rows[1:3]} == {"org/chat"}
        for row in rows[:3]:
            for asked in (row["id"], row["id"].replace("/", "%2F")):
                one = await get(client, f"{url}/v1/models/{asked}")
                assert one.json() == row
                assert one.headers[b"privity-health"] == b"replicas=1"
                assert row["evidence"] == {task: {"source": "engine"} for task in CHAT_MODEL.tasks}
        again = await get(client, f"{url}/v1/models", (b"if-none-match", listed.headers[b"etag"]))
        assert (again.status, again.body) == (304, b"")


async def test_an_app_is_told_how_many_rows_were_dropped() -> None:
    """models-api.md item 13."""
    async with proxy() as (url, rig), PooledHttpClient() as client:
        genuine = rig.deployment.listed()
        rig.deployment.listed = lambda: [*genuine, EMBED]  # type: ignore[method-assign]
        got = await get(client, f"{url}/v1/models")
        assert [row["id"] for row in got.json()["data"]] == ["m"]
        assert got.headers[b"privity-models-dropped"] == b"unsigned=1"
        for path in ("/v1/models/embed", "/v1/models/org%2Fembed", "/v1/models/none"):
            error = await get(client, url + path)
            assert (error.status, error.json()["error"]["code"]) == (404, "model_not_found")
        called = await client.request("POST", url + CHAT, body=b'{"model": "embed", "messages": []}', head_timeout=20)
        async with called:
            error = json.loads(await called.read(1 << 20))["error"]
        assert (called.status, error["code"], error["param"]) == (404, "model_not_found", "model")
        assert rig.deployment.asked == []


async def test_an_app_that_waits_is_answered_when_the_list_changes() -> None:
    """models-api.md item 10."""
    async with proxy() as (url, rig), PooledHttpClient() as client:
        etag = (await get(client, f"{url}/v1/models")).headers[b"etag"].decode().strip('"')
        nothing = await get(client, f"{url}/v1/models?wait={etag}&timeout=0")
        assert nothing.status == 304
        async with asyncio.TaskGroup() as group:
            waits = group.create_task(get(client, f"{url}/v1/models?wait={etag}&timeout=60"))
            while not rig.time.pauses:  # noqa: ASYNC110  # it has asked the gateway
                await asyncio.sleep(0)
            rig.deployment.models = (EMBED,)
        assert [row["id"] for row in waits.result().json()["data"]] == ["org/embed", "embed"]


async def test_a_list_that_is_refused_is_refused_to_those_who_wait_too() -> None:
    async with proxy() as (url, rig), PooledHttpClient() as client:
        key = (b"authorization", b"Bearer k")
        etag = (await get(client, f"{url}/v1/models", key)).headers[b"etag"].decode().strip('"')
        async with asyncio.TaskGroup() as group:
            waits = group.create_task(get(client, f"{url}/v1/models?wait={etag}&timeout=60", key))
            while not rig.time.pauses:  # noqa: ASYNC110  # it has asked the gateway
                await asyncio.sleep(0)
            rig.deployment.keys = {b"Bearer other"}
        assert waits.result().status == 401
        assert waits.result().json()["error"]["message"] == "invalid API key"


async def test_a_page_of_a_listed_origin_may_read_the_list_and_no_other() -> None:
    """models-api.md item 9."""
    async with proxy() as (url, _), PooledHttpClient() as client:
        asks = (b"access-control-request-method", b"GET")
        origin = (b"origin", b"https://app.example")
        preflight = await get(client, f"{url}/v1/models", origin, asks, method="OPTIONS")
        assert (preflight.status, preflight.headers[b"access-control-allow-origin"]) == (204, origin[1])
        assert (await get(client, f"{url}/v1/models", origin)).headers[b"access-control-allow-origin"] == origin[1]
        other = await get(client, f"{url}/v1/models", (b"origin", b"https://evil.example"), asks, method="OPTIONS")
        assert (other.status, b"access-control-allow-origin" in other.headers) == (403, False)
