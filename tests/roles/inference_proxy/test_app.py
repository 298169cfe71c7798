"""The application over a llama.cpp server in memory, and over an engine that echoes: what is encrypted, what is not."""

import json
import logging
import os
import re
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from privity.catalogue.projections import full_list
from privity.catalogue.rows import read_models
from privity.catalogue.statement import read
from privity.catalogue.vouched import vouched
from privity.engines.connection import EngineConnection
from privity.engines.detect import DetectedEngine
from privity.engines.embedded.fetch import ModelFiles
from privity.engines.engine import Answer, Body, Engine, EngineModel, Json
from privity.errors import EngineFailedError, UpstreamProtocolError
from privity.http import Headers
from privity.protocol.ending import COMMENT, HEADER
from privity.protocol.endpoints import ENDPOINTS
from privity.protocol.exchange import Sealer
from privity.protocol.multipart import Part
from privity.protocol.ocsp_policy import GpuStatus, Status
from privity.protocol.routed_model import HEADER as ROUTED_MODEL
from privity.protocol.routed_model import MEANS, RoutedModel
from privity.protocol.secret import Secret
from privity.protocol.signed import Verifier
from privity.roles.inference_proxy.app import LARGE_BODY, build_app
from privity.roles.inference_proxy.encryption import AnswerSeal
from privity.streams import Stream
from privity.testing.fake_http import FakeHttpClient, FakeResponse
from privity.testing.fake_llama import CANARY, FakeLlama, llama_error
from privity.testing.in_memory_app import Got, ask_app
from privity.testing.inference_rig import CA, NOW, inference_proxy
from privity.testing.sealed import SALT, SECRET, FixedSecrets, SealedExchange, SealingClient
from privity.transport.tasks import Background
from privity.transport.web import PLAIN
from privity.transport.web_app import WebApp

FILES = ModelFiles(Path("/m.gguf"), None, ("org/Tiny", "tiny"), 1234, "org", None, None, None)
CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
MESSAGES, TRANSCRIPTIONS, DOCUMENTS = "/v1/messages", "/v1/audio/transcriptions", "/unstructured/general"
RESPONSES = "/v1/responses"
TURNS = [{"role": "user", "content": "hello"}]
HELLO: Json = {"model": "tiny", "messages": TURNS, "cache_salt": SALT}
CLAUDE: Json = HELLO | {"max_tokens": 5}
REPLY: Json = {"model": "tiny", "input": "hello", "cache_salt": SALT}
SPOKEN = [Part("model", b"tiny"), Part("file", b"RIFF", is_file=True)]
WANTS_EVENTS = (b"accept", b"text/event-stream")


class Told:
    """An engine that answers what it is told, or raises it, and keeps what it was asked."""

    def __init__(self, answer: Json | list[Json | Exception] | Exception) -> None:
        self._answer = answer
        self.asked: list[Body] = []

    async def describe(self) -> tuple[EngineModel, ...]:
        return (EngineModel("inner", ("generate", "embed", "transcribe")),)

    async def answer(self, endpoint: str, body: Body) -> Answer:
        assert endpoint.startswith("/v1/")
        self.asked.append(body)
        if isinstance(self._answer, Exception):
            raise self._answer
        if isinstance(self._answer, dict):
            return json.loads(json.dumps(self._answer))  # type: ignore[no-any-return]
        return Stream(self._events(self._answer))

    async def _events(self, events: list[Json | Exception]) -> AsyncGenerator[Json]:
        for event in events:
            if isinstance(event, Exception):
                raise event
            yield dict(event)


async def app_over(engine: Engine, background: Background, *secrets: Secret, **options: Any) -> WebApp:
    proxy = await inference_proxy(engine, FILES)
    return build_app(proxy, FixedSecrets(*(secrets or (SECRET,))), background, **options)


async def plain(engine: Engine, method: str, path: str, headers: Headers = (), body: bytes = b"") -> Got:
    async with Background() as background:
        return await ask_app(await app_over(engine, background), method, path, headers, body)


async def send(engine: Engine, sealed: SealedExchange, *further: tuple[bytes, bytes]) -> Got:
    return await plain(engine, "POST", sealed.path, [*sealed.headers, *further], sealed.body)


def llama(server: FakeLlama) -> Engine:
    return DetectedEngine(EngineConnection(FakeHttpClient(server), "http://engine", 7.0))


# What is plain


async def test_the_list_and_each_of_its_rows_say_the_same() -> None:
    got = await plain(llama(FakeLlama()), "GET", "/v1/models")
    assert (got.status, got.json()["object"]) == (200, "list")
    rows = got.json()["data"]
    assert [row["id"] for row in rows] == ["org/Tiny", "tiny"]
    for row in rows:
        assert row["evidence"].keys() == set(row["tasks"])  # models-api.md item 12
        assert (await plain(llama(FakeLlama()), "GET", f"/v1/models/{row['id']}")).json() == row


async def test_an_unknown_model_is_not_found() -> None:
    got = await plain(llama(FakeLlama()), "GET", "/v1/models/org/none")
    error = got.json()["error"]
    assert (got.status, error["code"], error["param"]) == (404, "model_not_found", "model")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", CHAT, 405),
        ("POST", "/v1/models", 405),
        ("GET", "/v1/none", 501),
        ("POST", "/v1/audio/speech", 501),
        ("POST", "/v1/batches", 501),
        ("DELETE", "/metrics", 501),
        ("GET", "/", 404),
    ],
)
async def test_other_routes_and_methods_are_refused_in_clear(method: str, path: str, status: int) -> None:
    got = await plain(llama(FakeLlama()), method, path, body=b"{}")
    assert (got.status, got.header(PLAIN[0])) == (status, PLAIN[1])


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES])
async def test_only_json_is_taken(path: str) -> None:
    got = await plain(llama(FakeLlama()), "POST", path, [(b"content-type", b"text/plain")], b"{}")
    assert (got.status, got.header(PLAIN[0])) == (415, PLAIN[1])


async def test_a_plain_request_is_refused_in_clear() -> None:
    engine = Told({})
    for further in ([], [WANTS_EVENTS]):
        got = await plain(engine, "POST", CHAT, further, json.dumps(HELLO).encode())
        assert (got.status, got.header(PLAIN[0])) == (400, PLAIN[1])
        assert b'"code":"not_encrypted"' in got.body
        assert b"hello" not in got.body
    assert engine.asked == []


async def test_an_unknown_secret_is_told_in_clear_in_the_words_that_deployed_clients_look_for() -> None:
    unknown = Secret("A" * 43 + "=", bytes(32))
    got = await send(Told({}), SealingClient(unknown).seal(CHAT, HELLO))
    assert (got.status, got.header(PLAIN[0])) == (500, PLAIN[1])
    assert got.json()["error"]["message"] == f'no secret for ID "{unknown.id}"'


async def test_a_request_that_was_altered_reaches_no_engine() -> None:
    engine = Told({})
    sealed = SealingClient().seal(CHAT, HELLO)
    got = await plain(engine, "POST", CHAT, sealed.headers, sealed.body.replace(b"tiny", b"tall"))
    assert (got.status, got.header(PLAIN[0]), engine.asked) == (400, PLAIN[1], [])


# Encrypted answers

ANSWER: Json = {"id": "c", "model": "x", "choices": [{"message": {"content": "Hi.", "reasoning": "so"}}], "usage": {}}
SPOKE: Json = {"text": "hello", "duration": 1.5, "usage": {"seconds": 2}}
VECTORS: Json = {"object": "list", "model": "x", "data": [{"embedding": [0.5]}], "usage": {}}
CASES: list[tuple[str, Any, Json, set[str]]] = [
    (CHAT, HELLO, ANSWER, {"id", "usage"}),
    (COMPLETIONS, {"model": "tiny", "prompt": "a", "cache_salt": SALT}, ANSWER, {"id", "usage"}),
    (EMBEDDINGS, {"model": "tiny", "input": "a"}, VECTORS, {"usage"}),
    (MESSAGES, CLAUDE, {"id": "m", "type": "message", "model": "x", "usage": {}}, {"id", "type", "usage"}),
    (TRANSCRIPTIONS, SPOKEN, SPOKE, {"duration", "usage"}),
    (RESPONSES, REPLY, {"id": "r", "object": "response", "model": "x", "usage": {}}, {"id", "usage"}),
]


@pytest.mark.parametrize("with_end", [True, False])
@pytest.mark.parametrize(("path", "content", "answer", "stays"), CASES, ids=[case[0] for case in CASES])
async def test_a_whole_answer_is_encrypted_but_for_what_is_plain(
    path: str, content: Any, answer: Json, stays: set[str], *, with_end: bool
) -> None:
    sealed = SealingClient(with_end=with_end).seal(path, content)
    engine = Told(answer)
    got = await send(engine, sealed)
    assert (got.status, got.header(b"content-type"), got.header(PLAIN[0])) == (200, b"application/json", None)
    assert (got.header(HEADER) is not None) == with_end
    seen = got.json()
    assert {name for name in seen if seen[name] == answer[name]} == stays - {"id"}
    assert ("id" in stays) == bool(re.fullmatch(r"(chatcmpl-|cmpl-|msg_|resp_)[0-9a-f]{32}", str(seen.get("id"))))
    opened = sealed.open_json(got.status, got.headers, got.body)
    assert set(opened) == set(answer)
    assert opened.get("model") == ("tiny" if "model" in answer else None)
    assert len(engine.asked) == 1


@pytest.mark.parametrize(("length", "threads"), [(1000, False), (LARGE_BODY, True)])
async def test_a_large_request_is_worked_on_in_a_thread_without_the_event_loops_random_bytes(
    length: int, *, threads: bool
) -> None:
    def random(count: int) -> bytes:
        assert threading.current_thread() is threading.main_thread()
        return os.urandom(count)

    sealed = SealingClient().seal(EMBEDDINGS, {"model": "tiny", "input": "a" * length})
    async with Background() as background:
        app = await app_over(Told(VECTORS), background, random=random)
        got = await ask_app(app, "POST", EMBEDDINGS, sealed.headers, sealed.body)
        tampered = await ask_app(app, "POST", EMBEDDINGS, sealed.headers, sealed.body.replace(b"tiny", b"tall"))
    assert sealed.open_json(got.status, got.headers, got.body)["model"] == "tiny"
    assert (tampered.status, tampered.json()["error"]["code"]) == (400, "not_encrypted")
    assert any(each.name.startswith("asyncio") for each in threading.enumerate()) == threads


async def test_reasoning_is_there_under_both_names() -> None:
    sealed = SealingClient().seal(CHAT, HELLO)
    got = await send(Told(ANSWER), sealed)
    message = sealed.open_json(got.status, got.headers, got.body)["choices"][0]["message"]
    assert message == {"content": "Hi.", "reasoning": "so", "reasoning_content": "so"}


CHUNKS: list[Json | Exception] = [
    {"id": "c", "object": "chunk", "choices": [{"delta": {"reasoning": "hm"}}], "usage": {"total_tokens": 1}},
    {"id": "c", "object": "chunk", "choices": [], "usage": {"total_tokens": 2}},
]
CLAUDE_EVENTS: list[Json | Exception] = [
    {"type": "message_start", "message": {"model": "inner", "usage": {"input_tokens": 1}}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi."}},
    {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]


@pytest.mark.parametrize("with_end", [True, False])
async def test_a_stream_is_encrypted_event_by_event_and_ends_with_its_end_and_done(*, with_end: bool) -> None:
    sealed = SealingClient(with_end=with_end).seal(CHAT, HELLO | {"stream": True})
    got = await send(Told(CHUNKS), sealed)
    assert (got.status, got.header(b"content-type"), got.header(HEADER)) == (200, b"text/event-stream", None)
    assert b"hm" not in got.body
    assert b'"usage":{"total_tokens":2}' in got.body
    assert len(got.pieces) == 3
    assert got.pieces[2].startswith(COMMENT) == with_end
    assert got.body.count(COMMENT) == with_end
    *events, done = sealed.open_events(got.status, got.headers, got.body)
    assert [event.json()["usage"]["total_tokens"] for event in events] == [1, 2]
    assert events[0].json()["choices"][0]["delta"] == {"reasoning": "hm", "reasoning_content": "hm"}
    assert {event.json()["model"] for event in events} == {"tiny"}
    assert (done.type, done.data) == (b"message", b"[DONE]")


@pytest.mark.parametrize("with_end", [True, False])
async def test_anthropics_stream_has_types_and_its_end_just_before_the_last_event(*, with_end: bool) -> None:
    sealed = SealingClient(with_end=with_end).seal(MESSAGES, CLAUDE | {"stream": True})
    got = await send(Told(CLAUDE_EVENTS), sealed)
    assert got.pieces[-1].startswith(COMMENT) == with_end
    assert got.body.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
    assert b"[DONE]" not in got.body
    events = sealed.open_events(got.status, got.headers, got.body)
    expected = [event["type"] for event in CLAUDE_EVENTS if isinstance(event, dict)]
    assert [event.type.decode() for event in events] == expected
    assert [event.json()["type"] for event in events] == expected
    assert events[0].json()["message"]["model"] == "tiny"
    assert "model" not in events[2].json()


RESPONSE_EVENTS: list[Json | Exception] = [
    {"type": "response.created", "response": {"id": "r", "model": "inner", "usage": None}},
    {"type": "response.output_text.delta", "delta": "Hi."},
    {"type": "response.completed", "response": {"id": "r", "model": "inner", "usage": {"total_tokens": 2}}},
]


@pytest.mark.parametrize("with_end", [True, False])
async def test_a_responses_stream_has_types_and_its_end_just_before_done(*, with_end: bool) -> None:
    sealed = SealingClient(with_end=with_end).seal(RESPONSES, REPLY | {"stream": True})
    got = await send(Told(RESPONSE_EVENTS), sealed)
    assert got.pieces[-1].startswith(COMMENT) == with_end
    assert b"Hi." not in got.body
    assert b'"usage":{"total_tokens":2}' in got.body
    *events, done = sealed.open_events(got.status, got.headers, got.body)
    expected = [event["type"] for event in RESPONSE_EVENTS if isinstance(event, dict)]
    assert [event.type.decode() for event in events] == [event.json()["type"] for event in events] == expected
    assert [events[index].json()["response"]["model"] for index in (0, 2)] == ["tiny"] * 2
    assert [events[index].json()["response"]["id"] for index in (0, 2)] == ["r"] * 2
    assert (done.type, done.data) == (b"message", b"[DONE]")


async def test_an_error_in_the_middle_of_a_response_is_its_last_event() -> None:
    sealed = SealingClient().seal(RESPONSES, REPLY | {"stream": True})
    got = await send(Told([RESPONSE_EVENTS[0], EngineFailedError("No.")]), sealed)
    events = sealed.open_events(got.status, got.headers, got.body)
    assert [event.type for event in events] == [b"response.created", b"error"]
    assert events[-1].json()["error"]["code"] == "engine_error"


@pytest.mark.parametrize("kind", [None, 7, "two\nlines", ""])
async def test_an_anthropic_event_of_no_kind_is_the_engines_failure(kind: object) -> None:
    sealed = SealingClient().seal(MESSAGES, CLAUDE | {"stream": True})
    got = await send(Told([{"type": kind, "text": CANARY}]), sealed)
    (event,) = sealed.open_events(got.status, got.headers, got.body)
    assert (event.type, event.json()["error"]["type"]) == (b"error", "api_error")


# Errors after decryption


@pytest.mark.parametrize("with_end", [True, False])
@pytest.mark.parametrize(
    ("path", "content", "status", "param"),
    [
        (CHAT, HELLO | {"temperature": 9}, 400, "temperature"),
        (CHAT, HELLO | {"cache_salt": SALT[:31]}, 400, "cache_salt"),
        (CHAT, {"model": "tiny", "messages": TURNS}, 400, "cache_salt"),
        (COMPLETIONS, {"model": "tiny", "prompt": "a"}, 400, "cache_salt"),
        (CHAT, HELLO | {"model": "other"}, 404, "model"),
        (CHAT, b'{"model":"tiny","messages":[\xed\xa0\x80]}'.replace(b"\xed\xa0\x80", b'"\\ud800"'), 400, None),
        (TRANSCRIPTIONS, [*SPOKEN, Part("response_format", b"text")], 400, "response_format"),
        (DOCUMENTS, b"a document", 501, None),
    ],
)
async def test_an_error_after_decryption_is_encrypted_with_its_status(
    path: str, content: Any, status: int, param: str | None, *, with_end: bool
) -> None:
    for further in ((), (WANTS_EVENTS,)):
        sealed = SealingClient(with_end=with_end).seal(path, content)
        got = await send(Told({}), sealed, *further)
        assert (got.status, got.header(PLAIN[0]), got.header(b"x-content-type-options")) == (status, None, b"nosniff")
        assert (got.header(HEADER) is not None) == with_end
        assert b"message" not in got.body
        if further:
            assert got.header(b"content-type") == b"text/event-stream"
            (event,) = sealed.open_events(got.status, got.headers, got.body)
            assert event.type == b"error"
            error = event.json()["error"]
        else:
            assert isinstance(got.json()["error"], str)
            error = sealed.open_json(got.status, got.headers, got.body)["error"]
        assert error["param"] == param


async def test_anthropics_errors_have_its_form_and_a_plain_type() -> None:
    sealed = SealingClient().seal(MESSAGES, CLAUDE | {"max_tokens": 0})
    got = await send(Told({}), sealed)
    assert (got.status, got.json()["type"]) == (400, "error")
    assert sealed.open_json(got.status, got.headers, got.body)["error"]["type"] == "invalid_request_error"


async def test_what_the_engine_does_not_support_is_501_and_encrypted() -> None:
    sealed = SealingClient().seal(MESSAGES, CLAUDE)
    got = await send(llama(FakeLlama()), sealed)
    assert (got.status, got.header(PLAIN[0])) == (501, None)
    assert "/v1/messages" in sealed.open_json(got.status, got.headers, got.body)["error"]["message"]


@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_before_the_answer_has_its_status_and_keeps_the_engines_words_inside(*, stream: bool) -> None:
    server = FakeLlama(instead={CHAT: lambda _request: llama_error(503)})
    sealed = SealingClient().seal(CHAT, HELLO | {"stream": stream})
    got = await send(llama(server), sealed)
    assert got.status == 503
    assert got.header(b"retry-after") is not None
    opened = sealed.open_json(got.status, got.headers, got.body)
    assert CANARY not in str(opened)
    assert set(opened["error"]) == {"message", "type", "param", "code"}


async def test_an_answer_that_breaks_off_ends_with_an_encrypted_error_and_never_with_done() -> None:
    head = [(b"content-type", b"text/event-stream")]
    first = b'data: {"choices": []}\n\n'
    server = FakeLlama(instead={CHAT: lambda _request: FakeResponse(200, head, [first, UpstreamProtocolError(CANARY)])})
    sealed = SealingClient().seal(CHAT, HELLO | {"stream": True})
    got = await send(llama(server), sealed)
    *_, last = sealed.open_events(got.status, got.headers, got.body)
    assert (last.type, last.json()["error"]["code"]) == (b"error", "engine_error")
    assert b"[DONE]" not in got.body
    assert COMMENT not in got.body
    assert CANARY not in str(last)


async def test_a_broken_anthropic_stream_ends_with_an_error_in_its_form() -> None:
    sealed = SealingClient().seal(MESSAGES, CLAUDE | {"stream": True})
    got = await send(Told([CLAUDE_EVENTS[0], EngineFailedError("It broke.")]), sealed)
    *_, last = sealed.open_events(got.status, got.headers, got.body)
    assert (last.type, last.json()) == (
        b"error",
        {"type": "error", "error": {"type": "api_error", "message": "It broke."}},
    )


@pytest.mark.parametrize("stream", [True, False])
async def test_a_defect_shows_nothing_of_what_it_was_about(caplog: pytest.LogCaptureFixture, *, stream: bool) -> None:
    caplog.set_level(logging.DEBUG)
    broken = Told([ValueError(CANARY)]) if stream else Told(ValueError(CANARY))
    sealed = SealingClient().seal(CHAT, HELLO | {"stream": stream, "user": CANARY})
    got = await send(broken, sealed)
    assert CANARY.encode() not in got.body
    assert CANARY not in caplog.text
    assert not any(CANARY in str(vars(record)) for record in caplog.records)
    assert any("defect" in record.message for record in caplog.records)
    assert b"[DONE]" not in got.body


# GPUs

GOOD, UNKNOWN = Status("GOOD"), Status("UNKNOWN")


@pytest.mark.parametrize(("gpu", "status"), [(GOOD, 200), (UNKNOWN, 400)])
async def test_gpus_that_the_policy_refuses_answer_nothing(gpu: Status, status: int) -> None:
    statuses = (GpuStatus(gpu=gpu, vbios=GOOD, driver=GOOD),)
    sealed = SealingClient().seal(CHAT, HELLO)
    engine = Told(ANSWER)
    async with Background() as background:
        app = await app_over(engine, background, statuses=statuses)
        got = await ask_app(app, "POST", CHAT, sealed.headers, sealed.body)
        assert got.status == status
        assert len(engine.asked) == (status == 200)
        assert got.header(PLAIN[0]) == (None if status == 200 else PLAIN[1])
        assert (await ask_app(app, "GET", "/v1/models")).status == 200
        document = SealingClient().seal(DOCUMENTS, b"x")
        assert (await ask_app(app, "POST", DOCUMENTS, document.headers, document.body)).status == 501


# Leaving


@pytest.mark.parametrize("stream", [True, False])
async def test_the_engines_answer_is_closed_in_the_end(*, stream: bool) -> None:
    http = FakeHttpClient(FakeLlama(writes=["Hi."]))
    engine = DetectedEngine(EngineConnection(http, "http://engine", 7.0))
    sealed = SealingClient().seal(CHAT, HELLO | {"stream": stream})
    assert (await send(engine, sealed)).status == 200
    assert all(answer.closed for answer in http.answers)


async def test_a_client_that_leaves_early_closes_it_too() -> None:
    source = Stream(Told([])._events(CHUNKS))  # noqa: SLF001
    seal = AnswerSeal(ENDPOINTS[0], Sealer(SECRET, bytes(12)), "id", with_end=True)
    async with aclosing(seal.events(200, Stream(source))) as pieces:
        await anext(pieces)
    assert [event async for event in source] == []


async def test_an_answers_id_tells_nothing_of_the_request() -> None:
    """vLLM, for one, makes it of the request's `request_id`, under which a gateway could put any sealed value."""
    engine = Told(ANSWER | {"id": "chatcmpl-MY PROMPT"})
    sealed = SealingClient().seal(CHAT, HELLO | {"request_id": "MY PROMPT"})
    got = await send(engine, sealed)
    assert b"MY PROMPT" not in got.body


async def test_all_events_of_a_stream_have_one_id() -> None:
    sealed = SealingClient().seal(CHAT, HELLO | {"stream": True})
    got = await send(Told(CHUNKS), sealed)
    *events, _ = sealed.open_events(got.status, got.headers, got.body)
    assert len({event.json()["id"] for event in events}) == 1
    assert events[0].json()["id"] != "c"


# Names that a gateway gave: models-api.md items 3 and 13

ROUTED = (ROUTED_MODEL, RoutedModel("org/Tiny", "gpt-9").encode())
FLOATS = (ROUTED_MODEL, RoutedModel("org/Tiny", "org/Tiny").encode())
CLIENTS = {
    "a deployed client": SealingClient(with_end=False),
    "one that verifies": SealingClient(),
    "one that means it": SealingClient(means=b"org/Tiny"),
    "one that means another": SealingClient(means=b"org/Other"),
}


@pytest.mark.parametrize(
    ("client", "asked", "header", "status", "model"),
    [
        ("a deployed client", "gpt-9", ROUTED, 200, "gpt-9"),
        ("a deployed client", "gpt-9", FLOATS, 200, "org/Tiny"),
        ("a deployed client", "gpt-9", None, 404, None),
        ("one that verifies", "gpt-9", ROUTED, 404, None),
        ("one that verifies", "tiny", ROUTED, 200, "tiny"),
        ("one that verifies", "org/Tiny", ROUTED, 200, "org/Tiny"),
        ("one that means it", "gpt-9", ROUTED, 200, "gpt-9"),
        ("one that means it", "gpt-9", FLOATS, 200, "org/Tiny"),
        ("one that means it", "gpt-9", None, 200, "org/Tiny"),
        ("one that means it", "gpt-9", (ROUTED_MODEL, b";"), 200, "org/Tiny"),
        ("one that means it", "tiny", ROUTED, 200, "tiny"),
        ("one that means another", "gpt-9", ROUTED, 404, None),
        ("one that means another", "tiny", None, 503, None),
        ("one that means another", "org/Tiny", ROUTED, 503, None),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_name_reaches_the_model_that_the_client_means_or_that_the_gateway_says_to_one_that_does_not_verify(
    client: str, asked: str, header: tuple[bytes, bytes] | None, status: int, model: str | None, *, stream: bool
) -> None:
    sealed = CLIENTS[client].seal(CHAT, HELLO | {"model": asked, "stream": stream})
    engine = Told(CHUNKS if stream else ANSWER)
    got = await send(engine, sealed, *([] if header is None else [header]))
    assert got.status == status
    assert len(engine.asked) == (status == 200)
    if stream and status == 200:
        *events, _ = sealed.open_events(got.status, got.headers, got.body)
        assert {event.json()["model"] for event in events} == {model}
    else:
        assert sealed.open_json(got.status, got.headers, got.body).get("model") == model


async def test_a_gateway_that_says_what_the_client_means_breaks_the_request() -> None:
    engine = Told(ANSWER)
    silent, means = (CLIENTS[each].seal(CHAT, HELLO | {"model": "gpt-9"}) for each in list(CLIENTS)[1:3])
    dropped = [each for each in means.headers if each[0] != MEANS]
    for sealed, headers in ((silent, [*silent.headers, (MEANS, b"org/Tiny")]), (means, dropped)):
        got = await plain(engine, "POST", CHAT, [*headers, ROUTED], sealed.body)
        assert (got.status, got.header(PLAIN[0])) == (400, PLAIN[1])
        assert got.json()["error"]["code"] == "not_encrypted"
    assert engine.asked == []


async def test_a_name_of_the_gateways_says_nothing_of_a_models_tasks() -> None:
    sealed = CLIENTS["a deployed client"].seal(CHAT, HELLO | {"model": "gpt-9", "tools": [{"type": "function"}]})
    got = await send(llama(FakeLlama(embeds=True)), sealed, ROUTED)
    assert got.status == 400


async def test_whole_records_come_with_statements_that_the_mesh_signed() -> None:
    """models-api.md item 13."""
    proxy = await inference_proxy(Told({}), FILES)
    (model,) = read_models(full_list(proxy.catalogue.view()).body())
    assert model.statement is not None
    verifier = Verifier(CA.certificate)
    verifier.verify(model.statement.payload, model.statement.signature, model.statement.certificate, NOW)
    assert vouched(model, read(model.statement.payload, NOW)).ids == ("org/Tiny", "tiny")
