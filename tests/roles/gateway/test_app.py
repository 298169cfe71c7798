"""A gateway's routes over a real listener, in front of inference proxies and secret services that are a function."""

import asyncio
import json
import logging
import os
import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from privity.catalogue.model import Model
from privity.errors import UpstreamProtocolError, UpstreamTimeoutError, UpstreamUnreachableError
from privity.http import Headers, header
from privity.protocol.agreement import MAX_REQUEST_BYTES, PATH
from privity.protocol.endpoints import ENDPOINTS, Form
from privity.roles.gateway.app import build_app
from privity.roles.gateway.documents import DocumentForwarder, DocumentReplicas
from privity.roles.gateway.fleet import Fleet
from privity.roles.gateway.forwarder import MAX_WHOLE_BODY, Forwarder
from privity.roles.gateway.health import FALL
from privity.roles.gateway.keys import Keys
from privity.roles.gateway.models import GatewayModels
from privity.roles.gateway.secret_services import AGREEMENT_TIMEOUT, SecretServices
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, event_response, json_response
from privity.testing.gateway_rig import full_answer
from privity.transport.forward import MAX_WHOLE_ANSWER
from privity.transport.http_client import PooledHttpClient
from privity.transport.server import listening
from privity.transport.tasks import Background
from privity.transport.web import MAX_BODY

CHAT = Model("org/chat", ("generate",), 1, "org", ("chat",), context_length=2048)
EMBED = Model("org/embed", ("embed",), 2, "org")
HEAR = Model("org/hear", ("transcribe",), 3, "org")
FOR_CHAT = (b"privatemode-target-model", b"chat")
UPSTREAM = "http://inference-proxy"
SECRET_SERVICES = ("http://first", "http://second", "http://third")
ROUTED = [endpoint.path for endpoint in ENDPOINTS if endpoint.form is not Form.WHOLE]
MODEL_FOR = {"/v1/embeddings": EMBED.id, "/v1/audio/transcriptions": HEAR.id, "/v1/audio/translations": HEAR.id}
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

    @property
    def is_marked_as_plain(self) -> bool:
        return [value for name, value in self.headers if name == b"privatemode-encrypted"] == [b"false"]


@dataclass
class Gateway:
    url: str
    fleet: Fleet
    upstream: FakeHttpClient
    secret_services: FakeHttpClient
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
async def gateway(
    infer: Infer = lambda _: json_response({"answer": 42}), agree: Infer = lambda _: json_response({"Signature": "x"})
) -> AsyncIterator[Gateway]:
    def answer(request: SentRequest) -> FakeResponse:
        if request.method == "GET":
            return full_answer((CHAT, EMBED, HEAR))
        return infer(request)

    upstream, secret_http = FakeHttpClient(answer), FakeHttpClient(agree)
    fleet = Fleet(upstream)
    fleet.configure([UPSTREAM], frozenset(), ())
    await fleet.poll(fleet.replicas[0])
    models = GatewayModels(fleet, Keys())
    forwarder = Forwarder(fleet, models, upstream)
    documents = DocumentForwarder(DocumentReplicas(upstream, fleet.clock), models, forwarder)
    secrets = SecretServices(secret_http, SECRET_SERVICES)
    async with (
        PooledHttpClient() as client,
        Background() as background,
        listening(build_app(models, forwarder, documents, secrets, background), "127.0.0.1", 0, "gateway") as url,
    ):
        try:
            yield Gateway(url, fleet, upstream, secret_http, client)
        finally:
            fleet.close()


def breaks_off(*headers: tuple[bytes, bytes]) -> FakeResponse:
    return FakeResponse(200, list(headers), [b'data: {"n": 0}\n\n', UpstreamProtocolError("canary")])


def raises(error: Exception) -> Infer:
    def fails(_request: SentRequest) -> FakeResponse:
        raise error

    return fails


# Models


async def test_models_are_listed_and_retrieved_under_every_id() -> None:
    async with gateway() as asked:
        listed = await asked.ask("GET", "/v1/models")
        assert listed.json["object"] == "list"
        assert [row["id"] for row in listed.json["data"]] == ["org/chat", "chat", "org/embed", "org/hear"]
        for row in listed.json["data"]:
            for path in (row["id"], row["id"].replace("/", "%2F")):
                assert (await asked.ask("GET", f"/v1/models/{path}")).json == row
        missing = await asked.ask("GET", "/v1/models/nothing")
        assert (missing.status, missing.error["code"], missing.error["param"]) == (404, "model_not_found", "model")
        assert len(asked.upstream.sent) == 1, "a list is answered from what is known"


# What passes to the inference proxy


@pytest.mark.parametrize("path", ROUTED)
async def test_a_request_goes_to_the_inference_proxy_that_serves_its_model(path: str) -> None:
    model = MODEL_FOR.get(path, CHAT.id)
    body = os.urandom(1000)
    async with gateway() as asked:
        named = (b"privatemode-target-model", model.encode())
        answer = await asked.ask("POST", f"{path}?ignored=1", named, body=body)
        assert (answer.status, answer.json) == (200, {"answer": 42})
        (request,) = asked.inferred
        assert (request.method, request.url, request.body) == ("POST", UPSTREAM + path, body)
        assert asked.in_flight == [0]


PASSED_ON = [
    "accept",
    "anthropic-beta",
    "anthropic-version",
    "content-type",
    "privatemode-client",
    "privatemode-nvidia-ocsp-policy",
    "privatemode-nvidia-ocsp-policy-mac",
    "privatemode-secret-id",
    "privatemode-user-request-id",
    "privatemode-version",
    "privity-end",
    "privity-means",
]
KEPT_BACK = [
    "accept-encoding",
    "authorization",
    "cookie",
    "forwarded",
    "origin",
    "privatemode-encrypted",
    "privatemode-shard-key",
    "privatemode-target-model",
    "privatemode-unheard-of",
    "privity-model",
    "proxy-authorization",
    "referer",
    "te",
    "user-agent",
    "x-api-key",
    "x-forwarded-for",
    "x-request-id",
    "x-unheard-of",
]


async def test_only_listed_headers_pass_to_the_inference_proxy() -> None:
    others = [(name.title().encode(), b"canary") for name in PASSED_ON + KEPT_BACK]
    async with gateway() as asked:
        assert (await asked.chat(*others)).status == 200  # of two target models the first counts
        (request,) = asked.inferred
        names = [name.decode() for name, _ in request.headers]
        assert sorted(names) == sorted([*PASSED_ON, "x-request-id"])
        assert dict(request.headers)[b"x-request-id"] != b"canary"
        assert all(value == b"canary" for name, value in request.headers if name != b"x-request-id")


@pytest.mark.parametrize("name", [b"Authorization", b"X-Api-Key", b"Cookie", b"X-Unheard-Of"])
@pytest.mark.parametrize("size", [2, MAX_WHOLE_BODY + 1], ids=["small", "large"])
async def test_no_key_leaves_the_gateway_even_if_it_comes_twice(name: bytes, size: int) -> None:
    async with gateway() as asked:
        await asked.chat((name, b"Bearer canary"), (name.upper(), b"canary"), body=b"a" * size)
        assert b"canary" not in b"".join(part for header in asked.inferred[0].headers for part in header)


async def test_a_body_of_any_size_arrives_byte_for_byte() -> None:
    async with gateway() as asked:
        for size in (0, 1, MAX_WHOLE_BODY, MAX_WHOLE_BODY + 1, 3 * MAX_WHOLE_BODY):
            body = os.urandom(size)
            assert (await asked.chat(body=body)).status == 200
            assert asked.inferred[-1].body == body


async def test_a_body_of_unknown_length_arrives() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    async with gateway() as asked:
        assert (await asked.ask("POST", "/v1/chat/completions", FOR_CHAT, body=pieces())).status == 200
        assert asked.inferred[0].body == b"one two"


# Request IDs


async def test_a_request_has_one_id_in_the_deployment_whatever_client_and_inference_proxy_say() -> None:
    forged = (b"x-request-id", b"forged")

    def infer(_request: SentRequest) -> FakeResponse:
        return FakeResponse(200, [forged, (b"content-length", b"2")], [b"{}"])

    async with gateway(infer) as asked:
        seen = []
        for _ in range(3):
            answer = await asked.chat(forged, forged)
            (sent,) = [value for name, value in asked.inferred[-1].headers if name == b"x-request-id"]
            assert [value for name, value in answer.headers if name == b"x-request-id"] == [sent]
            assert uuid.UUID(sent.decode()).version == 7
            seen.append(sent)
        assert len(set(seen)) == 3
        assert b"forged" not in seen


async def test_a_stream_has_its_request_id_too() -> None:
    async with gateway(lambda _: event_response([1])) as asked:
        answer = await asked.chat()
        assert header(answer.headers, b"x-request-id") == dict(asked.inferred[0].headers)[b"x-request-id"]


@pytest.mark.parametrize(
    ("theirs", "logged"),
    [
        (b"proxy_01890a5d-ac96-774b-bcce-b302099a8057_0", "proxy_01890a5d-ac96-774b-bcce-b302099a8057_0"),
        (b"a" * 5000, "a" * 64),
        (b'x[31m\t\xff\xc3\xa9" level=error', "x?31m??????level?error"),
        (b"%s {}", "?s???"),
        (None, ""),
    ],
)
async def test_an_id_from_outside_is_logged_as_at_most_64_harmless_characters(
    theirs: bytes | None, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "privity.roles.gateway")
    async with gateway() as asked:
        caplog.clear()
        headers = [] if theirs is None else [(b"privatemode-user-request-id", theirs)]
        assert (await asked.chat(*headers)).status == 200
        (record,) = [each for each in caplog.records if each.name == "privity.roles.gateway.forwarder"]
        assert record.getMessage() == "forwarding"
        extras: dict[str, Any] = vars(record)
        assert (extras["client_id"], extras["replica"]) == (logged, UPSTREAM)
        assert extras["id"].encode() == dict(asked.inferred[0].headers)[b"x-request-id"]


async def test_no_key_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with gateway() as asked:
        await asked.chat((b"authorization", b"Bearer canary"), (b"x-api-key", b"canary"), body=b"canary")
        await asked.ask("POST", PATH, (b"authorization", b"Bearer canary"), body=b"canary")
    assert caplog.records
    assert "canary" not in str([vars(record) for record in caplog.records])


# What is refused


def for_model(name: bytes) -> tuple[bytes, bytes]:
    return (b"privatemode-target-model", name)


@pytest.mark.parametrize(
    ("path", "headers", "status", "code", "says"),
    [
        ("/v1/chat/completions", [], 400, "missing_model", "Privatemode-Target-Model"),
        ("/v1/chat/completions", [for_model(b"cha")], 404, "model_not_found", "`chat`"),
        ("/v1/chat/completions", [for_model(b"\xff")], 404, "model_not_found", "\ufffd"),
        ("/v1/chat/completions", [for_model(b"org/embed")], 400, "task_not_supported", "embed"),
        ("/v1/embeddings", [FOR_CHAT], 400, "task_not_supported", "`generate`"),
        ("/v1/audio/transcriptions", [FOR_CHAT], 400, "task_not_supported", "`transcribe`"),
        ("/v1/moderations", [FOR_CHAT], 404, "unknown_url", "/v1/responses, "),
        ("/unstructured/general/v0/general", [FOR_CHAT], 404, "unknown_url", "--documents"),
        ("/unstructured/", [FOR_CHAT], 404, "unknown_url", "/unstructured/"),
    ],
)
async def test_what_cannot_be_routed_is_an_error_and_goes_nowhere(
    path: str, headers: Headers, status: int, code: str, says: str
) -> None:
    async with gateway() as asked:
        answer = await asked.ask("POST", path, *headers, body=b"{}")
        assert (answer.status, answer.error["code"]) == (status, code)
        assert says in answer.error["message"]
        assert answer.is_marked_as_plain
        assert asked.inferred == []


async def test_a_model_that_has_left_is_a_503_that_says_when_to_come_again() -> None:
    async with gateway() as asked:
        for _ in range(FALL):
            asked.fleet.lost(asked.fleet.replicas[0])
        answer = await asked.chat()
        assert (answer.status, answer.error["code"], answer.error["param"]) == (503, "model_unavailable", "model")
        assert int(header(answer.headers, b"retry-after") or b"") > 0


async def announce(url: str, path: str, length: int) -> bytes:
    """Send a head that announces a body, and return the answer to it."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\nprivatemode-target-model: chat\r\n"
        f"content-length: {length}\r\nexpect: 100-continue\r\n\r\n"
    )
    writer.write(head.encode())
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(("path", "limit"), [("/v1/chat/completions", MAX_BODY), (PATH, MAX_REQUEST_BYTES)])
async def test_a_body_over_the_limit_is_refused_before_it_is_read(path: str, limit: int) -> None:
    async with gateway() as asked:
        answer = await announce(asked.url, path, limit + 1)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b'"code":"request_too_large"' in answer
        assert b"\r\nprivatemode-encrypted: false\r\n" in answer
        assert asked.inferred == asked.secret_services.sent == []


NO_ANSWER = [
    (UpstreamUnreachableError("canary"), 503),
    (UpstreamTimeoutError("canary"), 504),
    (UpstreamProtocolError("canary"), 502),
]


@pytest.mark.parametrize(("failure", "status"), NO_ANSWER)
async def test_an_inference_proxy_that_gives_no_answer_is_an_error_and_counts_no_longer(
    failure: Exception, status: int
) -> None:
    async with gateway(raises(failure)) as asked:
        answer = await asked.chat()
        assert answer.status == status
        assert "canary" not in answer.error["message"]
        assert answer.is_marked_as_plain
        assert asked.in_flight == [0]
        for _ in range(FALL - 1):
            assert (await asked.chat()).status == status
        # One that can't be reached serves nothing, and the next client hears so at once.
        asked.fleet.publish()
        assert bool(asked.fleet.catalogue.by_id) is (status != 503)


async def test_a_defect_of_the_gateways_own_is_plain_too() -> None:
    async with gateway(raises(ValueError("canary"))) as asked:
        answer = await asked.chat()
        assert answer.status == 500
        assert answer.is_marked_as_plain
        assert b"canary" not in answer.body


OWN_ERRORS = [
    ("GET", "/", 404),
    ("GET", "/v1/models/nothing", 404),
    ("POST", "/v1/models", 405),
    ("GET", "/v1/chat/completions", 405),
    ("GET", PATH, 405),
    ("POST", "/privatemode/v1/attest", 501),
    *(("POST", path, 400) for path in ROUTED),
]


@pytest.mark.parametrize("accept", [b"application/json", b"text/event-stream"])
async def test_every_error_of_its_own_is_marked_as_plain(accept: bytes) -> None:
    async with gateway() as asked:
        for method, path, status in OWN_ERRORS:
            answer = await asked.ask(method, path, (b"accept", accept))
            assert (answer.status, header(answer.headers, b"content-type")) == (status, accept)
            assert answer.is_marked_as_plain
            assert header(answer.headers, b"x-content-type-options") == b"nosniff"


async def test_errors_for_anthropics_clients_have_anthropics_form() -> None:
    async with gateway() as asked:
        answer = await asked.ask("POST", "/v1/messages", for_model(b"unheard-of"), body=b"{}")
        assert (answer.status, answer.json["type"], answer.error["type"]) == (404, "error", "not_found_error")
        assert answer.error.keys() == {"type", "message"}
        event = await asked.ask("POST", "/v1/messages", (b"accept", b"text/event-stream"), body=b"{}")
        assert event.body.startswith(b'event: error\ndata: {"type":"error","error":')


async def test_what_it_answers_itself_is_not_marked() -> None:
    async with gateway() as asked:
        assert header((await asked.ask("GET", "/v1/models")).headers, b"privatemode-encrypted") is None


# What passes back


async def test_an_error_of_the_inference_proxy_is_passed_on() -> None:
    body = {"error": {"message": "m", "type": "t", "param": None, "code": "c"}}
    async with gateway(lambda _: json_response(body, status=400)) as asked:
        answer = await asked.chat()
        assert (answer.status, answer.json) == (400, body)
        assert not answer.is_marked_as_plain, "only the inference proxy knows whether it is"
        assert asked.in_flight == [0]


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_what_the_inference_proxy_marks_as_plain_stays_marked(status: int) -> None:
    def infer(_request: SentRequest) -> FakeResponse:
        return FakeResponse(status, [(b"privatemode-encrypted", b"false"), (b"content-length", b"2")], [b"{}"])

    async with gateway(infer) as asked:
        answer = await asked.chat()
        assert answer.status == status
        assert answer.is_marked_as_plain


@pytest.mark.parametrize("known", [True, False], ids=["known length", "unknown length"])
async def test_an_answer_of_any_size_comes_back_byte_for_byte(*, known: bool) -> None:
    body = b""

    def infer(_request: SentRequest) -> FakeResponse:
        headers = [(b"content-type", b"application/octet-stream")]
        headers += [(b"content-length", str(len(body)).encode())] if known else []
        return FakeResponse(200, headers, [body[: len(body) // 2], body[len(body) // 2 :]])

    async with gateway(infer) as asked:
        for size in (0, 1, MAX_WHOLE_ANSWER, MAX_WHOLE_ANSWER + 1, 3 * MAX_WHOLE_ANSWER):
            body = os.urandom(size)
            answer = await asked.chat()
            assert (answer.status, answer.body) == (200, body)
            assert header(answer.headers, b"content-type") == b"application/octet-stream"
            assert asked.in_flight == [0]


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
async def test_only_listed_headers_come_back(*, streamed: bool) -> None:
    listed = ["allow", "cache-control", "content-type", "privatemode-encrypted", "privity-end", "retry-after"]
    others = ["access-control-allow-origin", "location", "server", "set-cookie", "strict-transport-security", "x-a"]
    headers = [(name.encode(), b"canary") for name in listed + others]
    length = [] if streamed else [(b"content-length", b"2")]
    async with gateway(lambda _: FakeResponse(200, [*headers, *length], [b"{}"])) as asked:
        answer = await asked.chat()
        assert [name.decode() for name, value in answer.headers if value == b"canary"] == listed


async def test_a_stream_is_passed_on_and_counts_no_longer_at_its_end() -> None:
    async with gateway(lambda _: event_response([{"n": n} for n in range(3)])) as asked:
        answer = await asked.chat()
        assert header(answer.headers, b"content-type") == b"text/event-stream"
        assert answer.body == b'data: {"n": 0}\n\ndata: {"n": 1}\n\ndata: {"n": 2}\n\ndata: [DONE]\n\n'
        assert asked.in_flight == [0]
        assert asked.upstream.answers[-1].closed


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-type", b"text/event-stream")],
        [(b"content-type", b"application/json")],
        [(b"content-type", b"application/json"), (b"content-length", str(MAX_WHOLE_ANSWER + 1).encode())],
    ],
    ids=["events", "unknown length", "long"],
)
async def test_an_answer_that_breaks_is_cut_and_nothing_is_made_up_and_counts_no_longer(headers: Headers) -> None:
    broken = breaks_off(*headers)
    async with gateway(lambda _: broken) as asked, PooledHttpClient() as client:
        response = await client.request(
            "POST", asked.url + "/v1/chat/completions", headers=[FOR_CHAT], body=b"{}", head_timeout=20
        )
        async with response:
            assert response.status == 200
            chunks = response.chunks()
            assert await anext(chunks) == b'data: {"n": 0}\n\n'
            with pytest.raises(UpstreamProtocolError):
                await anext(chunks)
        assert asked.in_flight == [0]
    assert broken.closed


async def test_a_short_answer_that_breaks_is_an_error() -> None:
    async with gateway(lambda _: breaks_off((b"content-length", b"1000"))) as asked:
        answer = await asked.chat()
        assert (answer.status, answer.error["code"]) == (502, "engine_error")
        assert answer.is_marked_as_plain
        assert asked.in_flight == [0]


# Agreements on secrets


def reached(asked: Gateway) -> list[str]:
    return [sent.url for sent in asked.secret_services.sent]


def all_but(*unreachable: str) -> Infer:
    def agree(request: SentRequest) -> FakeResponse:
        if request.url.removesuffix(PATH) in unreachable:
            raise UpstreamUnreachableError("canary")
        return json_response({"answered": request.url})

    return agree


async def test_an_agreement_is_opaque_and_brings_its_content_type_and_nothing_else() -> None:
    answer = FakeResponse(200, [(b"content-type", b"application/json"), (b"set-cookie", b"canary")], [b"\xfe\x00{"])
    sent_along = [
        (b"authorization", b"Bearer canary"),
        (b"content-type", b"application/json; x=y"),
        (b"cookie", b"canary"),
        (b"privatemode-version", b"v1.40.0"),
        (b"x-api-key", b"canary"),
    ]
    body = os.urandom(2000)
    async with gateway(agree=lambda _: answer) as asked:
        got = await asked.ask("POST", PATH, *sent_along, body=body)
        assert (got.status, got.body) == (200, b"\xfe\x00{")
        assert header(got.headers, b"content-type") == b"application/json"
        assert header(got.headers, b"set-cookie") is None
        kind = (b"content-type", b"application/json; x=y")
        assert asked.secret_services.sent == [
            SentRequest("POST", f"http://first{PATH}", [kind], body, AGREEMENT_TIMEOUT)
        ]
        assert asked.inferred == []


async def test_without_a_content_type_none_is_made_up() -> None:
    async with gateway() as asked:
        assert (await asked.ask("POST", PATH, body=b"{}")).status == 200
        assert asked.secret_services.sent[0].headers == []


@pytest.mark.parametrize("length", [0, 1, MAX_REQUEST_BYTES])
async def test_an_agreement_up_to_the_limit_passes(length: int) -> None:
    async with gateway() as asked:
        assert (await asked.ask("POST", PATH, body=b"a" * length)).status == 200
        assert asked.secret_services.sent[0].body == b"a" * length


async def test_an_agreement_of_unknown_length_over_the_limit_is_refused() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a" * MAX_REQUEST_BYTES
        yield b"a"

    async with gateway() as asked:
        answer = await asked.ask("POST", PATH, body=pieces())
        assert (answer.status, answer.error["code"]) == (413, "request_too_large")
        assert answer.is_marked_as_plain
        assert asked.secret_services.sent == []


@pytest.mark.parametrize("away", [0, 1, 2])
async def test_the_first_secret_service_that_can_be_reached_is_asked(away: int) -> None:
    async with gateway(agree=all_but(*SECRET_SERVICES[:away])) as asked:
        answer = await asked.ask("POST", PATH, body=b"{}")
        assert (answer.status, answer.json) == (200, {"answered": SECRET_SERVICES[away] + PATH})
        assert reached(asked) == [url + PATH for url in SECRET_SERVICES[: away + 1]]
        assert {sent.body for sent in asked.secret_services.sent} == {b"{}"}


async def test_where_no_secret_service_can_be_reached_a_503_says_when_to_come_again() -> None:
    async with gateway(agree=all_but(*SECRET_SERVICES)) as asked:
        answer = await asked.ask("POST", PATH, body=b"{}")
        assert answer.status == 503
        assert "secret service" in answer.error["message"]
        assert "canary" not in answer.error["message"]
        assert int(header(answer.headers, b"retry-after") or b"") > 0
        assert answer.is_marked_as_plain
        assert reached(asked) == [url + PATH for url in SECRET_SERVICES]
        assert asked.fleet.catalogue.by_id, "the models have nothing to do with it"


@pytest.mark.parametrize(("failure", "status"), NO_ANSWER[1:])
async def test_a_secret_service_that_was_reached_is_not_replaced_by_another(failure: Exception, status: int) -> None:
    async with gateway(agree=raises(failure)) as asked:
        answer = await asked.ask("POST", PATH, body=b"{}")
        assert answer.status == status
        assert "secret service" in answer.error["message"]
        assert reached(asked) == [f"http://first{PATH}"]


@pytest.mark.parametrize("status", [400, 415, 500, 503])
async def test_an_error_of_the_secret_service_is_passed_on(status: int) -> None:
    async with gateway(agree=lambda _: json_response({"error": {"code": "theirs"}}, status)) as asked:
        answer = await asked.ask("POST", PATH, body=b"{}")
        assert (answer.status, answer.error) == (status, {"code": "theirs"})
        assert len(asked.secret_services.sent) == 1


async def test_attestation_is_a_501_that_says_what_clients_rest_on_instead() -> None:
    async with gateway() as asked:
        answer = await asked.ask("POST", "/privatemode/v1/attest", body=b'{"nonce":"x"}')
        assert (answer.status, header(answer.headers, b"content-type")) == (501, b"application/json")
        assert answer.error.keys() == {"message", "type", "param", "code"}
        assert (answer.error["type"], answer.error["code"]) == ("server_error", "not_supported")
        assert re.search("not attested.*mesh CA", answer.error["message"])
        assert asked.inferred == asked.secret_services.sent == []
