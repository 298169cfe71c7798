from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from privity.engines.connection import DESCRIBE_TIMEOUT, MAX_ANSWER, EngineConnection
from privity.errors import (
    ApiError,
    EngineFailedError,
    EngineTimeoutError,
    UnavailableError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from privity.protocol.multipart import Part, parse_form
from privity.testing.fake_http import FakeHttpClient, FakeResponse, Server, event_response, json_response
from privity.testing.fake_llama import CANARY, llama_error

BODY = {"model": "m", "messages": []}
STREAM = [(b"content-type", b"text/event-stream; charset=utf-8")]


def connect(server: Server, **arguments: Any) -> tuple[EngineConnection, FakeHttpClient]:
    http = FakeHttpClient(server)
    return EngineConnection(http, "http://engine", 7.0, **arguments), http


def answering(response: FakeResponse) -> tuple[EngineConnection, FakeHttpClient]:
    return connect(lambda _request: FakeResponse(response.status, response.headers, response.pieces))


def failing(error: UpstreamError) -> tuple[EngineConnection, FakeHttpClient]:
    def server(_request: object) -> FakeResponse:
        raise error

    return connect(server)


async def refusal(response: FakeResponse, path: str = "/v1/chat/completions") -> ApiError:
    """Return the error that both ways to send a request raise."""
    for send in ("call", "events"):
        connection, http = answering(response)
        with pytest.raises(ApiError) as caught:
            await getattr(connection, send)(path, BODY)
        assert http.answers[0].closed
    return caught.value


async def test_a_request_goes_out_as_json_with_the_timeout() -> None:
    connection, http = answering(json_response({"id": "x"}))
    assert await connection.call("/v1/chat/completions", BODY) == {"id": "x"}
    (sent,) = http.sent
    assert (sent.method, sent.url, sent.head_timeout) == ("POST", "http://engine/v1/chat/completions", 7.0)
    assert sent.json() == BODY
    assert sent.headers == [(b"content-type", b"application/json")]
    assert http.answers[0].closed


async def test_a_question_has_no_body_and_little_time() -> None:
    connection, http = answering(json_response({}))
    await connection.ask("GET", "/props")
    assert (http.sent[0].body, http.sent[0].head_timeout) == (b"", DESCRIBE_TIMEOUT)
    assert http.answers[0].closed


@pytest.mark.parametrize(
    ("response", "status", "kind", "code"),
    [
        (llama_error(400), 400, "invalid_request_error", "invalid_request"),
        (llama_error(422), 400, "invalid_request_error", "invalid_request"),
        (llama_error(401), 502, "server_error", "engine_error"),
        (llama_error(403), 502, "server_error", "engine_error"),
        (llama_error(404), 502, "server_error", "engine_error"),
        (llama_error(408), 504, "server_error", "engine_timeout"),
        (llama_error(413), 413, "invalid_request_error", "request_too_large"),
        (llama_error(429), 503, "server_error", "model_unavailable"),
        (llama_error(500), 502, "server_error", "engine_error"),
        (llama_error(501), 502, "server_error", "engine_error"),
        (llama_error(503), 503, "server_error", "model_unavailable"),
        (llama_error(504), 504, "server_error", "engine_timeout"),
        (FakeResponse(400, [], [CANARY.encode()]), 400, "invalid_request_error", "invalid_request"),
        (json_response({"error": CANARY}, 400), 400, "invalid_request_error", "invalid_request"),
        (json_response([CANARY], 500), 502, "server_error", "engine_error"),
        (FakeResponse(400, [], [b"[" * 100_000]), 400, "invalid_request_error", "invalid_request"),
    ],
)
async def test_refusals_become_ours_and_keep_the_engines_words_inside(
    response: FakeResponse, status: int, kind: str, code: str
) -> None:
    error = await refusal(response)
    assert (error.status, error.type, error.code) == (status, kind, code)
    assert CANARY not in msgspec.json.encode(error.body()).decode() + str(error.headers)


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/chat/completions", "messages"),
        ("/completion", "messages"),
        ("/v1/completions", "prompt"),
        ("/v1/embeddings", "input"),
    ],
)
async def test_a_prompt_that_is_too_long_is_told_with_numbers(path: str, param: str) -> None:
    response = llama_error(400, "exceed_context_size_error", n_prompt_tokens=3071, n_ctx=1024)
    error = await refusal(response, path)
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", param)
    assert "3071" in error.message
    assert "1024" in error.message
    assert CANARY not in error.message


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UpstreamUnreachableError(CANARY), UnavailableError),
        (UpstreamTimeoutError(CANARY), EngineTimeoutError),
        (UpstreamProtocolError(CANARY), EngineFailedError),
    ],
)
async def test_an_engine_that_cannot_be_talked_to(error: UpstreamError, expected: type[ApiError]) -> None:
    for send in ("call", "events"):
        connection, _ = failing(error)
        with pytest.raises(expected) as caught:
            await getattr(connection, send)("/v1/completions", BODY)
        assert CANARY not in caught.value.message


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"[]", b'"x"', b'{"a": ', b"[" * 100_000, b'{"error": {"message": "%s"}}' % CANARY.encode()]
)
async def test_an_answer_that_is_no_answer_is_an_error(body: bytes) -> None:
    connection, http = answering(FakeResponse(200, [], [body]))
    with pytest.raises(EngineFailedError) as caught:
        await connection.call("/v1/completions", BODY)
    assert CANARY not in caught.value.message
    assert http.answers[0].closed


async def test_an_answer_that_is_cut_is_an_error() -> None:
    connection, http = answering(FakeResponse(200, [], [b'{"id":', UpstreamProtocolError("cut")]))
    with pytest.raises(EngineFailedError):
        await connection.call("/v1/completions", BODY)
    assert http.answers[0].closed


async def test_a_refusal_that_is_cut_is_an_error() -> None:
    assert (await refusal(FakeResponse(500, [], [UpstreamProtocolError("cut")]))).status == 502


async def test_events_come_one_by_one_until_done() -> None:
    events = [{"id": 1}, {"id": 2}]
    connection, http = answering(event_response(events))
    assert [event async for event in await connection.events("/v1/completions", BODY)] == events
    assert http.answers[0].closed


async def test_what_follows_done_is_not_read() -> None:
    response = event_response([{"id": 1}])
    response.pieces.append(UpstreamProtocolError("cut"))
    connection, http = answering(response)
    assert [event async for event in await connection.events("/v1/completions", BODY)] == [{"id": 1}]
    assert http.answers[0].closed


async def test_comments_are_no_events() -> None:
    pieces: list[bytes | UpstreamError] = [
        b": ping\n\n",
        b'data: {"id": 1}\n\ndata: [DO',
        b"NE]\n\n",
    ]
    connection, _ = answering(FakeResponse(200, STREAM, pieces))
    assert [event async for event in await connection.events("/v1/completions", BODY)] == [{"id": 1}]


@pytest.mark.parametrize(
    "end",
    [
        [],
        [UpstreamProtocolError("cut")],
        [b'data: {"id": '],
        [b'data: {"id": 2}'],
        [b'data: {"error": {"message": "%s"}}\n\n' % CANARY.encode()],
        [b"data: [1]\n\n"],
        [b"data: hello\n\n"],
        [b"data: " + b"[" * 100_000 + b"\n\n"],
    ],
    ids=["ends", "cut", "cut in an event", "cut before its end", "error", "a list", "no JSON", "endless"],
)
async def test_a_stream_that_goes_wrong_is_an_error_after_what_came_before(end: list[bytes | UpstreamError]) -> None:
    connection, http = answering(FakeResponse(200, STREAM, [b'data: {"id": 1}\n\n', *end]))
    got = []
    with pytest.raises(EngineFailedError) as caught:  # noqa: PT012  # what came before the error is of interest
        async for event in await connection.events("/v1/completions", BODY):
            got.append(event)  # noqa: PERF401
    assert got == [{"id": 1}]
    assert CANARY not in caught.value.message
    assert http.answers[0].closed


async def test_an_engine_that_does_not_stream_is_an_error() -> None:
    connection, http = answering(json_response({"id": 1}))
    with pytest.raises(EngineFailedError):
        await connection.events("/v1/completions", BODY)
    assert http.answers[0].closed


async def test_events_that_are_left_early_close_the_answer() -> None:
    connection, http = answering(event_response([{"id": 1}, {"id": 2}]))
    async with aclosing(await connection.events("/v1/completions", BODY)) as events:
        async for _ in events:
            break
        assert not http.answers[0].closed
    assert http.answers[0].closed


async def test_questions_about_the_engine_give_its_answer_as_it_is() -> None:
    connection, http = answering(llama_error(503))
    status, body = await connection.ask("POST", "/v1/embeddings", {"input": "a"})
    assert status == 503
    assert CANARY.encode() in body
    assert http.sent[0].json() == {"input": "a"}


class Named(msgspec.Struct):
    name: str


@pytest.mark.parametrize(
    "response",
    [
        json_response({"name": "x"}, 404),
        json_response({"name": 1}),
        json_response([]),
        FakeResponse(200, [], [b"<html>"]),
        FakeResponse(200, [], [b"[" * 100_000]),
        FakeResponse(200, [], [UpstreamProtocolError("cut")]),
        FakeResponse(200, [], [b"x" * (MAX_ANSWER // 2)] * 3),
    ],
    ids=["status", "type", "list", "HTML", "endless", "cut", "too long"],
)
async def test_a_question_whose_answer_is_not_understood_is_an_upstream_error(response: FakeResponse) -> None:
    connection, http = answering(response)
    with pytest.raises(UpstreamProtocolError):
        await connection.ask_for(Named, "GET", "/x")
    assert http.answers[0].closed


@pytest.mark.parametrize("error", [UpstreamTimeoutError("t"), UpstreamUnreachableError("u")])
async def test_a_question_without_an_answer_is_an_upstream_error(error: UpstreamError) -> None:
    connection, _ = failing(error)
    with pytest.raises(type(error)):
        await connection.ask_for(Named, "GET", "/x")


async def test_a_question_is_answered_in_the_wanted_form() -> None:
    connection, _ = answering(json_response({"name": "x", "more": 1}))
    assert (await connection.ask_for(Named, "GET", "/x")).name == "x"


# Forms, and Anthropic's streams

FORM = [Part("model", b"m"), Part("file", b"RIFF\0--", is_file=True)]


async def test_a_form_goes_out_under_a_boundary_of_its_own() -> None:
    connection, http = answering(json_response({"text": "hello"}))
    for _ in range(2):
        assert await connection.call("/v1/audio/transcriptions", FORM) == {"text": "hello"}
    first, second = http.sent
    assert first.headers != second.headers
    for sent in http.sent:
        ((name, kind),) = sent.headers
        assert (name, parse_form(sent.body, kind)) == (b"content-type", FORM)


async def test_a_form_that_the_engine_refuses_is_the_clients_error() -> None:
    connection, _ = answering(llama_error(400))
    with pytest.raises(ApiError) as caught:
        await connection.call("/v1/audio/transcriptions", FORM)
    assert caught.value.status == 400


def anthropic(*types: str) -> list[bytes | UpstreamError]:
    return [b'event: %b\ndata: {"type": "%b"}\n\n' % (each.encode(), each.encode()) for each in types]


@pytest.mark.parametrize("after", [[], [b"data: [DONE]\n\n"], [UpstreamProtocolError("cut")]])
async def test_a_stream_of_anthropics_ends_with_its_last_event(after: list[bytes | UpstreamError]) -> None:
    connection, http = answering(FakeResponse(200, STREAM, [*anthropic("message_start", "message_stop"), *after]))
    events = [event async for event in await connection.events("/v1/messages", BODY)]
    assert events == [{"type": "message_start"}, {"type": "message_stop"}]
    assert http.answers[0].closed


@pytest.mark.parametrize("last", ["response.completed", "response.incomplete"])
@pytest.mark.parametrize("after", [[], [b"data: [DONE]\n\n"], [UpstreamProtocolError("cut")]])
async def test_a_response_ends_with_its_last_event(last: str, after: list[bytes | UpstreamError]) -> None:
    connection, http = answering(FakeResponse(200, STREAM, [*anthropic("response.created", last), *after]))
    events = [event async for event in await connection.events("/v1/responses", BODY)]
    assert events == [{"type": "response.created"}, {"type": last}]
    assert http.answers[0].closed


@pytest.mark.parametrize("last", ["response.failed", "error", "response.in_progress"])
async def test_a_response_that_fails_or_is_cut_is_an_error(last: str) -> None:
    connection, http = answering(FakeResponse(200, STREAM, anthropic("response.created", last)))
    with pytest.raises(EngineFailedError):
        _ = [event async for event in await connection.events("/v1/responses", BODY)]
    assert http.answers[0].closed


@pytest.mark.parametrize("end", [[], [b"data: [DONE]\n\n"], [UpstreamProtocolError("cut")]])
async def test_a_stream_of_anthropics_without_it_is_an_error(end: list[bytes | UpstreamError]) -> None:
    connection, http = answering(FakeResponse(200, STREAM, [*anthropic("message_start"), *end]))
    with pytest.raises(EngineFailedError):
        _ = [event async for event in await connection.events("/v1/messages", BODY)]
    assert http.answers[0].closed
