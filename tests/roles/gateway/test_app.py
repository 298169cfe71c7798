"""A gateway's routes over a real listener, in front of inference proxies that are a function."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from privity.catalogue.model import Model
from privity.errors import UpstreamProtocolError, UpstreamTimeoutError, UpstreamUnreachableError
from privity.http import Headers, header
from privity.roles.gateway.app import MAX_WHOLE_BODY, build_app
from privity.roles.gateway.fleet import Fleet
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, event_response, json_response
from privity.transport.http_client import PooledHttpClient
from privity.transport.server import listening
from privity.transport.tasks import Background
from privity.transport.web import MAX_BODY

CHAT = Model("org/chat", ("generate",), 1, "org", ("chat",), 2048)
EMBED = Model("org/embed", ("embed",), 2, "org")
FOR_CHAT = (b"privatemode-target-model", b"chat")
UPSTREAM = "http://inference-proxy"
Infer = Callable[[SentRequest], FakeResponse]


@dataclass
class Answer:
    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json["error"]
        return found


@dataclass
class Gateway:
    url: str
    fleet: Fleet
    upstream: FakeHttpClient
    _client: PooledHttpClient = field(repr=False)

    async def ask(
        self, method: str, path: str, *headers: tuple[bytes, bytes], body: bytes | AsyncIterator[bytes] = b""
    ) -> Answer:
        response = await self._client.request(method, self.url + path, headers=headers, body=body, head_timeout=20)
        async with response:
            return Answer(response.status, response.headers, await response.read(1 << 24))

    async def chat(self, *headers: tuple[bytes, bytes], body: bytes = b"{}") -> Answer:
        return await self.ask("POST", "/v1/chat/completions", FOR_CHAT, *headers, body=body)

    @property
    def inferred(self) -> list[SentRequest]:
        return [sent for sent in self.upstream.sent if sent.method == "POST"]

    @property
    def in_flight(self) -> list[int]:
        return [replica.in_flight for replica in self.fleet.replicas]


@asynccontextmanager
async def gateway(infer: Infer = lambda _: json_response({"answer": 42})) -> AsyncIterator[Gateway]:
    def answer(request: SentRequest) -> FakeResponse:
        if request.method == "GET":
            return json_response({"data": [model.row(each) for model in (CHAT, EMBED) for each in model.ids]})
        return infer(request)

    upstream = FakeHttpClient(answer)
    fleet = Fleet([UPSTREAM], upstream)
    await fleet.poll(fleet.replicas[0])
    async with (
        PooledHttpClient() as client,
        Background() as background,
        listening(build_app(fleet, upstream, background), "127.0.0.1", 0, "gateway") as url,
    ):
        yield Gateway(url, fleet, upstream, client)


async def test_models_are_listed_and_retrieved_under_every_id() -> None:
    async with gateway() as asked:
        listed = await asked.ask("GET", "/v1/models")
        assert listed.json["object"] == "list"
        assert [row["id"] for row in listed.json["data"]] == ["org/chat", "chat", "org/embed"]
        for row in listed.json["data"]:
            for path in (row["id"], row["id"].replace("/", "%2F")):
                assert (await asked.ask("GET", f"/v1/models/{path}")).json == row
        missing = await asked.ask("GET", "/v1/models/nothing")
        assert (missing.status, missing.error["code"], missing.error["param"]) == (404, "model_not_found", "model")
        assert len(asked.upstream.sent) == 1, "a list is answered from what is known"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize("model", ["chat", "org/chat"])
async def test_a_request_goes_on_with_its_body_and_two_headers_only(path: str, model: str) -> None:
    body = b'{"anything": "opaque \xff"}'
    sent_along = [
        (b"accept", b"application/json"),
        (b"authorization", b"Bearer canary"),
        (b"content-type", b"application/json; x=y"),
        (b"cookie", b"canary"),
        (b"privatemode-target-model", model.encode()),
        (b"user-agent", b"canary"),
        (b"x-api-key", b"canary"),
    ]
    async with gateway() as asked:
        answer = await asked.ask("POST", f"{path}?ignored=1", *sent_along, body=body)
        assert (answer.status, answer.json) == (200, {"answer": 42})
        (request,) = asked.inferred
        assert (request.method, request.url, request.body) == ("POST", UPSTREAM + path, body)
        assert request.headers == [(b"accept", b"application/json"), (b"content-type", b"application/json; x=y")]
        assert asked.in_flight == [0]


@pytest.mark.parametrize("size", [0, 1, MAX_WHOLE_BODY, MAX_WHOLE_BODY + 1, 3 * MAX_WHOLE_BODY])
async def test_a_body_of_any_size_arrives(size: int) -> None:
    async with gateway() as asked:
        assert (await asked.chat(body=b"a" * size)).status == 200
        assert asked.inferred[0].body == b"a" * size


async def test_a_body_of_unknown_length_arrives() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    async with gateway() as asked:
        assert (await asked.ask("POST", "/v1/chat/completions", FOR_CHAT, body=pieces())).status == 200
        assert asked.inferred[0].body == b"one two"


@pytest.mark.parametrize(
    ("path", "headers", "status", "code", "says"),
    [
        ("/v1/chat/completions", [], 400, "missing_model", "Privatemode-Target-Model"),
        ("/v1/chat/completions", [(b"privatemode-target-model", b"cha")], 404, "model_not_found", "`chat`"),
        ("/v1/chat/completions", [(b"privatemode-target-model", b"\xff")], 404, "model_not_found", "\ufffd"),
        ("/v1/chat/completions", [(b"privatemode-target-model", b"org/embed")], 400, "task_not_supported", "embed"),
        ("/v1/embeddings", [FOR_CHAT], 400, "task_not_supported", "`generate`"),
        ("/v1/responses", [FOR_CHAT], 404, "unknown_url", "/v1/responses"),
    ],
)
async def test_what_cannot_be_routed_is_an_error_and_goes_nowhere(
    path: str, headers: Headers, status: int, code: str, says: str
) -> None:
    async with gateway() as asked:
        answer = await asked.ask("POST", path, *headers, body=b"{}")
        assert (answer.status, answer.error["code"]) == (status, code)
        assert says in answer.error["message"]
        assert asked.inferred == []


async def test_a_model_that_has_left_is_a_503_that_says_when_to_come_again() -> None:
    async with gateway() as asked:
        asked.fleet.lost(asked.fleet.replicas[0])
        answer = await asked.chat()
        assert (answer.status, answer.error["code"], answer.error["param"]) == (503, "model_unavailable", "model")
        assert int(header(answer.headers, b"retry-after") or b"") > 0


async def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    async with gateway() as asked:
        host, port = asked.url.removeprefix("http://").split(":")
        raw = (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nprivatemode-target-model: chat\r\ncontent-length: %d\r\n"
            b"expect: 100-continue\r\n\r\n" % (MAX_BODY + 1)
        )
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(raw)
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b'"code":"request_too_large"' in answer
        assert asked.inferred == []


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (UpstreamUnreachableError("canary"), 503),
        (UpstreamTimeoutError("canary"), 504),
        (UpstreamProtocolError("canary"), 502),
    ],
)
async def test_an_inference_proxy_that_gives_no_answer_is_an_error_and_counts_no_longer(
    failure: Exception, status: int
) -> None:
    def fails(_request: SentRequest) -> FakeResponse:
        raise failure

    async with gateway(fails) as asked:
        answer = await asked.chat()
        assert answer.status == status
        assert "canary" not in answer.error["message"]
        assert asked.in_flight == [0]
        # One that can't be reached serves nothing, and the next client hears so at once.
        assert bool(asked.fleet.catalogue.by_id) is (status != 503)


async def test_an_error_of_the_inference_proxy_is_passed_on() -> None:
    body = {"error": {"message": "m", "type": "t", "param": None, "code": "c"}}
    async with gateway(lambda _: json_response(body, status=400)) as asked:
        answer = await asked.chat()
        assert (answer.status, answer.json) == (400, body)
        assert asked.in_flight == [0]


async def test_a_stream_is_passed_on_and_counts_no_longer_at_its_end() -> None:
    async with gateway(lambda _: event_response([{"n": n} for n in range(3)])) as asked:
        answer = await asked.chat()
        assert header(answer.headers, b"content-type") == b"text/event-stream"
        assert answer.body == b'data: {"n": 0}\n\ndata: {"n": 1}\n\ndata: {"n": 2}\n\ndata: [DONE]\n\n'
        assert asked.in_flight == [0]
        assert asked.upstream.answers[-1].closed


async def test_a_stream_that_breaks_ends_with_an_error_event_and_counts_no_longer() -> None:
    broken = FakeResponse(
        200, [(b"content-type", b"text/event-stream")], [b'data: {"n": 0}\n\n', UpstreamProtocolError("canary")]
    )
    async with gateway(lambda _: broken) as asked:
        answer = await asked.chat()
        assert b"event: error\ndata: " in answer.body
        assert b"canary" not in answer.body
        assert asked.in_flight == [0]
    assert broken.closed
