import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from privity.engines.connection import EngineConnection
from privity.engines.detect import DetectedEngine
from privity.engines.embedded.fetch import ModelFiles
from privity.errors import UpstreamProtocolError
from privity.protocol.event_stream import Event, EventStreamParser
from privity.roles.inference_proxy.app import build_app
from privity.roles.inference_proxy.service import InferenceProxy
from privity.testing.fake_http import FakeHttpClient, FakeResponse
from privity.testing.fake_llama import CANARY, FakeLlama, llama_error
from privity.transport.tasks import Background

FILES = ModelFiles(Path("/m.gguf"), None, ("org/Tiny", "tiny"), 1234, "org", None, None, None)
CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}


@dataclass
class Got:
    """What a client of the app got."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[Event]:
        return EventStreamParser().feed(self.body)


async def ask(llama: FakeLlama, method: str, path: str, body: Any = None, kind: bytes = b"application/json") -> Got:
    sent = b"" if body is None else json.dumps(body).encode()
    messages = [{"type": "http.request", "body": sent, "more_body": False}]
    got = Got()

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        got.status = message.get("status", got.status)
        got.headers |= dict(message.get("headers", ()))
        got.body += message.get("body", b"")

    http = FakeHttpClient(llama)
    proxy = InferenceProxy(DetectedEngine(EngineConnection(http, "http://engine", 7.0)), FILES, 99)
    await proxy.refresh()
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"new=1",
        "headers": [(b"content-type", kind), (b"content-length", str(len(sent)).encode())],
    }
    async with Background() as background:
        await build_app(proxy, background)(scope, receive, send)
    assert all(each.closed for each in http.answers)
    return got


async def test_the_list_and_each_of_its_rows_say_the_same() -> None:
    got = await ask(FakeLlama(), "GET", "/v1/models")
    assert (got.status, got.json()["object"]) == (200, "list")
    rows = got.json()["data"]
    assert [row["id"] for row in rows] == ["org/Tiny", "tiny"]
    for row in rows:
        assert (await ask(FakeLlama(), "GET", f"/v1/models/{row['id']}")).json() == row


async def test_an_unknown_model_is_not_found() -> None:
    got = await ask(FakeLlama(), "GET", "/v1/models/org/none")
    error = got.json()["error"]
    assert (got.status, error["code"], error["param"], error["type"]) == (
        404,
        "model_not_found",
        "model",
        "invalid_request_error",
    )


async def test_a_whole_answer_is_json() -> None:
    got = await ask(FakeLlama(writes=["Hi."]), "POST", CHAT, HELLO)
    assert (got.status, got.headers[b"content-type"]) == (200, b"application/json")
    assert got.json()["choices"][0]["message"]["content"] == "Hi."


async def test_a_streamed_answer_is_events_that_end_with_done() -> None:
    got = await ask(FakeLlama(writes=["Hi."]), "POST", CHAT, HELLO | {"stream": True})
    assert (got.status, got.headers[b"content-type"]) == (200, b"text/event-stream")
    *events, done = got.events()
    deltas = [json.loads(event.data)["choices"][0]["delta"] for event in events]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Hi."
    assert done == Event(b"message", b"[DONE]")


async def test_an_answer_that_breaks_off_ends_with_an_error_and_never_with_done() -> None:
    head = [(b"content-type", b"text/event-stream")]
    first = b'data: {"choices": []}\n\n'
    llama = FakeLlama(instead={CHAT: lambda _request: FakeResponse(200, head, [first, UpstreamProtocolError(CANARY)])})
    got = await ask(llama, "POST", CHAT, HELLO | {"stream": True})
    *_, last = got.events()
    assert last.type == b"error"
    assert json.loads(last.data)["error"]["code"] == "engine_error"
    assert b"[DONE]" not in got.body
    assert CANARY.encode() not in got.body


@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_before_the_answer_has_its_status(*, stream: bool) -> None:
    got = await ask(
        FakeLlama(instead={CHAT: lambda _request: llama_error(503)}), "POST", CHAT, HELLO | {"stream": stream}
    )
    assert got.status == 503
    assert b"retry-after" in got.headers
    assert CANARY.encode() not in got.body
    assert set(got.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", CHAT, 405), ("POST", "/v1/models", 405), ("GET", "/v1/none", 404), ("POST", "/v1/audio/speech", 404)],
)
async def test_other_routes_and_methods_are_refused(method: str, path: str, status: int) -> None:
    assert (await ask(FakeLlama(), method, path, {})).status == status


async def test_only_json_is_taken() -> None:
    assert (await ask(FakeLlama(), "POST", CHAT, HELLO, b"text/plain")).status == 415
