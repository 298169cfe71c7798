"""What a gateway refuses reaches an app in the form that the proxy's document has for it."""

import json
from typing import Any

import jsonschema_rs
import pytest

from privity.roles.proxy.app import build_app
from privity.roles.proxy.guard import Guard
from privity.testing.fake_deployment import FakeDeployment
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest
from privity.testing.in_memory_app import Got, ask_app
from privity.testing.proxy_rig import Rig
from privity.transport.cors import Cors
from privity.transport.openapi.proxy import proxy_document
from privity.transport.tasks import Background

DOCUMENT = proxy_document()
REFUSAL = {"error": {"message": "No.", "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}}
ANTHROPIC = (b"anthropic-version", b"2023-06-01")
EVENTS = (b"accept", b"text/event-stream")


async def refused(body: bytes, path: str, *headers: tuple[bytes, bytes]) -> Got:
    def server(_request: SentRequest) -> FakeResponse:
        return FakeResponse(401, [(b"content-type", b"application/json")], [body])

    async with Background() as background:
        rig = Rig(FakeDeployment(), background, http=FakeHttpClient(server))
        app = build_app(rig.proxy, rig.models, Guard("127.0.0.1", (), ()), background, Cors(()))
        method, sent = ("POST", b'{"model":"m"}') if path == "/api/show" else ("GET", b"")
        return await ask_app(app, method, path, [(b"host", b"localhost"), *headers], sent)


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/v1/models", [], REFUSAL),
        ("/v1/models/m", [], REFUSAL),
        ("/v1/models/events", [], REFUSAL),
        ("/api/v0/models", [ANTHROPIC], REFUSAL),
        ("/v1/models", [ANTHROPIC], {"type": "error", "error": {"type": "authentication_error", "message": "No."}}),
        ("/v1/models/m", [ANTHROPIC], {"type": "error", "error": {"type": "authentication_error", "message": "No."}}),
        ("/api/tags", [], {"error": "No."}),
        ("/api/show", [], {"error": "No."}),
    ],
)
async def test_a_refusal_has_the_form_of_the_api(path: str, headers: list[Any], expected: dict[str, Any]) -> None:
    got = await refused(json.dumps(REFUSAL).encode(), path, *headers)
    assert (got.status, got.header(b"content-type"), got.json()) == (401, b"application/json", expected)
    described = path.replace("/models/m", "/models/{id}")
    reference = next(iter(DOCUMENT["paths"][described].values()))["responses"]["401"]["$ref"]
    response = DOCUMENT["components"]["responses"][reference.rpartition("/")[2]]
    schema = response["content"]["application/json"]["schema"]
    jsonschema_rs.validate({**schema, "components": DOCUMENT["components"]}, got.json())


async def test_who_wants_events_gets_a_refusal_as_one() -> None:
    got = await refused(json.dumps(REFUSAL).encode(), "/v1/models/events", EVENTS)
    assert got.header(b"content-type") == b"text/event-stream"
    event, data = got.body.decode().strip().split("\n")
    assert (event, json.loads(data.removeprefix("data: "))) == ("event: error", REFUSAL)


@pytest.mark.parametrize(
    "body", [b"{}", b"<html>", b'{"error": "short"}', b'{"error": {"message": 1}}', b"[" * 100_000]
)
async def test_a_refusal_without_a_known_form_gets_one(body: bytes) -> None:
    got = await refused(body, "/api/tags")
    assert (got.status, got.json()) == (401, {"error": "The gateway answered with status 401."})
