"""Answers that are no textbook attacks: those are in test_tampering.py."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from privity.errors import ApiError, EngineFailedError, TamperedAnswerError, UpstreamProtocolError
from privity.http import Headers, header
from privity.protocol.event_stream import EventStreamParser
from privity.protocol.multipart import Part, encode_form
from privity.roles.proxy.answer import MAX_ERROR
from privity.testing.fake_deployment import CHAT_ANSWER, FakeDeployment, plain_error
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest
from privity.testing.proxy_rig import Answered, Rig

MakeRig = Callable[..., Rig]
CHUNKS = [{"id": "c1", "choices": [{"index": 0, "delta": {"content": text}}], "usage": {}} for text in ("a", "b")]
MESSAGES = "/v1/messages"
MESSAGE_EVENTS: list[dict[str, Any]] = [
    {"type": "content_block_delta", "index": 0, "delta": {"text": "a"}},
    {"type": "ping"},
    {"type": "message_stop"},
]
EVENTS = (b"content-type", b"text/event-stream")
PLAIN = (b"privatemode-encrypted", b"false")


def tampering(change: Callable[[FakeResponse], FakeResponse], answer: Any = None, **options: Any) -> FakeDeployment:
    deployment = FakeDeployment(answer, **options)
    deployment.tamper = lambda _, response: change(response)
    return deployment


def bytes_of(response: FakeResponse) -> bytes:
    return b"".join(piece for piece in response.pieces if isinstance(piece, bytes))


async def streamed(rig: Rig) -> Answered:
    return await rig.chat(stream=True, stream_options={"include_usage": True})


async def message(rig: Rig) -> Answered:
    return await rig.ask(MESSAGES, b'{"model": "m", "messages": [], "stream": true}')


def error_of(answered: Answered) -> Any:
    events = EventStreamParser().feed(answered.body)
    assert events[-1].type == b"error"
    return json.loads(events[-1].data or b"")["error"]


# Errors


@pytest.mark.parametrize(
    ("kind", "passed"),
    [
        (b"application/json", b"application/json"),
        (b"application/json; charset=utf-8", b"application/json"),
        (b"text/event-stream", b"text/event-stream"),
        (b"text/html", b"text/plain; charset=utf-8"),
        (b"image/svg+xml", b"text/plain; charset=utf-8"),
        (None, b"text/plain; charset=utf-8"),
    ],
)
async def test_a_plain_error_is_passed_on_and_never_as_a_page(
    make_rig: MakeRig, kind: bytes | None, passed: bytes
) -> None:
    headers = [] if kind is None else [(b"content-type", kind)]
    strange = [(b"set-cookie", b"a=b"), (b"location", b"http://evil.example"), (b"access-control-allow-origin", b"*")]
    kept = [(b"retry-after", b"3"), (b"x-request-id", b"id")]
    deployment = tampering(lambda _: FakeResponse(429, [*headers, PLAIN, *strange, *kept], [b"<p>", b"no"]))
    answered = await make_rig(deployment).chat()
    assert (answered.status, answered.body) == (429, b"<p>no")
    own = [(b"content-type", passed), (b"x-content-type-options", b"nosniff"), PLAIN]
    assert sorted(answered.headers) == sorted([*own, *kept])


@pytest.mark.parametrize("status", [200, 201, 204, 206, 301, 304, 307])
@pytest.mark.parametrize("headers", [[PLAIN], []], ids=["plain", "not plain"])
async def test_nothing_but_200_and_errors_is_an_answer(make_rig: MakeRig, status: int, headers: Headers) -> None:
    deployment = tampering(lambda _: FakeResponse(status, headers, [b'{"choices": []}']))
    with pytest.raises(TamperedAnswerError):
        await make_rig(deployment).chat()


@pytest.mark.parametrize("authenticates_end", [True, False])
@pytest.mark.parametrize("body", [b"", b"<html>canary</html>", b'{"error": "canary"}', b"event: error\ndata: {}\n\n"])
@pytest.mark.parametrize("headers", [[], [EVENTS]], ids=["JSON", "events"])
async def test_an_error_that_is_neither_plain_nor_encrypted_says_that(
    make_rig: MakeRig, body: bytes, headers: Headers, *, authenticates_end: bool
) -> None:
    deployment = tampering(lambda _: FakeResponse(504, headers, [body]), authenticates_end=authenticates_end)
    with pytest.raises(EngineFailedError) as caught:
        await make_rig(deployment).chat()
    assert "504" in caught.value.message
    assert "canary" not in caught.value.message


@pytest.mark.parametrize(("status", "told"), [(401, 401), (413, 413), (429, 503), (503, 503), (400, 502), (500, 502)])
async def test_the_status_of_such_an_error_is_kept_where_it_means_something(
    make_rig: MakeRig, status: int, told: int
) -> None:
    with pytest.raises(ApiError) as caught:
        await make_rig(tampering(lambda _: FakeResponse(status, [], [b"<html>busy</html>"]))).chat()
    assert caught.value.status == told


@pytest.mark.parametrize("authenticates_end", [True, False])
async def test_an_encrypted_error_is_opened(make_rig: MakeRig, *, authenticates_end: bool) -> None:
    deployment = FakeDeployment({"error": {"message": "no", "code": "c"}}, authenticates_end=authenticates_end)
    deployment.status = 400
    answered = await make_rig(deployment).chat()
    assert (answered.status, json.loads(answered.body)) == (400, deployment.answer)
    assert PLAIN not in answered.headers


async def test_an_endless_plain_error_is_cut(make_rig: MakeRig) -> None:
    deployment = tampering(lambda _: FakeResponse(500, [PLAIN], [b" " * (MAX_ERROR + 1)]))
    with pytest.raises(EngineFailedError):
        await make_rig(deployment).chat()


@pytest.mark.parametrize("authenticates_end", [True, False])
async def test_an_error_that_claims_success_is_refused(make_rig: MakeRig, *, authenticates_end: bool) -> None:
    def claim(response: FakeResponse) -> FakeResponse:
        spelt = bytes_of(response).replace(b'"error"', b'"err\\u006fr"')
        return FakeResponse(200, response.headers, [spelt])

    deployment = tampering(claim, {"error": {"message": "no"}}, authenticates_end=authenticates_end)
    deployment.status = 400
    with pytest.raises(TamperedAnswerError):
        await make_rig(deployment).chat()


async def test_a_deployments_error_in_a_stream_is_its_last_event(make_rig: MakeRig) -> None:
    deployment = FakeDeployment([CHUNKS[0], {"error": {"message": "the engine died"}}, CHUNKS[1]])
    answered = await streamed(make_rig(deployment))
    assert error_event(answered) == {"message": "the engine died"}


def error_event(answered: Answered) -> Any:
    return json.loads(EventStreamParser().feed(answered.body)[-1].data or b"")["error"]


@pytest.mark.parametrize("value", [b"null", b"false", b"0", b'""', b"[]", b"{}", b"{ }"])
async def test_an_error_that_no_client_notices_ends_no_stream(make_rig: MakeRig, value: bytes) -> None:
    deployment = FakeDeployment([CHUNKS[0], {"error": json.loads(value)}, CHUNKS[1]])
    answered = await streamed(make_rig(deployment))
    assert answered.body.endswith(b"data: [DONE]\n\n")
    deployment.tamper = lambda _, response: FakeResponse(200, response.headers, response.pieces[:2])
    assert error_of(await streamed(make_rig(deployment)))["code"] == "engine_error"


# Streams


@pytest.mark.parametrize("authenticates_end", [True, False])
@pytest.mark.parametrize("size", [1, 2, 3, 50, 1000])
async def test_a_stream_may_come_in_any_pieces(make_rig: MakeRig, size: int, *, authenticates_end: bool) -> None:
    def cut(response: FakeResponse) -> FakeResponse:
        whole = bytes_of(response).replace(b"\n", b"\r\n")
        pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
        return FakeResponse(200, response.headers, [*pieces])

    answered = await streamed(make_rig(tampering(cut, CHUNKS, authenticates_end=authenticates_end)))
    events = [event.data for event in EventStreamParser().feed(answered.body)]
    assert [json.loads(data or b"") for data in events[:-1]] == CHUNKS
    assert events[-1] == b"[DONE]"
    assert header(answered.headers, b"content-type") == b"text/event-stream"


async def test_a_last_event_without_its_blank_line_is_the_last_event(make_rig: MakeRig) -> None:
    deployment = tampering(lambda each: FakeResponse(200, each.headers, [bytes_of(each).rstrip()]), CHUNKS)
    assert (await streamed(make_rig(deployment))).body.endswith(b"data: [DONE]\n\n")


async def test_usage_that_the_app_did_not_ask_for_stays_away(make_rig: MakeRig) -> None:
    usage = {"id": "c1", "choices": [], "usage": {"total_tokens": 5}}
    rig = make_rig(FakeDeployment([*CHUNKS, usage]))
    assert b'"choices": []' not in (await rig.chat(stream=True)).body
    assert b'"choices": []' in (await streamed(rig)).body


@pytest.mark.parametrize("authenticates_end", [True, False])
@pytest.mark.parametrize(
    "line",
    [
        ' data: {"choices":[{"delta":{"content":"made up"}}]}',
        "data : made up",
        ": x\u2028data: made up {}",
        ": x\x0bdata: {made up}",
        ": x\x85data: made up\x85",
        ': data: {"made":"up"}',
        ": " + "made up" * 20,
        "id: made up",
        "retry: 1",
        "made up",
        "event: message\u2028data: made up",
    ],
)
async def test_no_line_goes_on_that_a_careless_parser_could_take_for_data(
    make_rig: MakeRig, line: str, *, authenticates_end: bool
) -> None:
    def add(response: FakeResponse) -> FakeResponse:
        alone = line.encode() + b"\n\n"
        within = line.encode() + b"\n"
        return FakeResponse(200, response.headers, [alone, within, *response.pieces])

    rig = make_rig(tampering(add, CHUNKS, authenticates_end=authenticates_end))
    answered = await streamed(rig)
    before_error = answered.body.partition(b"event: error")[0]
    assert b"made" not in before_error
    assert b"retry" not in before_error


async def test_a_comment_that_keeps_the_connection_alive_goes_on(make_rig: MakeRig) -> None:
    comments = [b": keep-alive\n\n", b":\n\n", b": ping - 2026-11-22 12:00:00+00:00\n\n"]
    deployment = tampering(lambda each: FakeResponse(200, each.headers, [*comments, *each.pieces]), CHUNKS)
    assert (await streamed(make_rig(deployment))).body.startswith(b"".join(comments))


@pytest.mark.parametrize("authenticates_end", [True, False])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"type":"content_block_delta"', b'"type":"error"'),  # the stream would end, and the client see no error
        (b'"type":"content_block_delta"', b'"type":"message_stop"'),
        (b"event: content_block_delta", b"event: ping"),  # the client would skip it
        (b"event: content_block_delta", b"event: error\nevent: content_block_start"),
        (b"event: content_block_delta\n", b""),
        (b"event: content_block_delta", b"event: message_stop"),
        (b'"type":"ping"', b'"type":"message_delta"'),
        (
            b'event: content_block_delta\ndata: {"type":"content_block_delta"',
            b'event: data: {1}\ndata: {"type":"data: {1}"',
        ),
    ],
)
async def test_an_anthropic_events_type_is_that_of_its_data(
    make_rig: MakeRig, old: bytes, new: bytes, *, authenticates_end: bool
) -> None:
    def alter(response: FakeResponse) -> FakeResponse:
        whole = bytes_of(response).replace(b'"type": ', b'"type":')
        assert old in whole
        return FakeResponse(200, response.headers, [whole.replace(old, new)])

    answered = await message(make_rig(tampering(alter, MESSAGE_EVENTS, authenticates_end=authenticates_end)))
    assert error_of(answered)["type"] == "api_error"


async def test_an_anthropic_stream_comes_as_it_is(make_rig: MakeRig) -> None:
    answered = await message(make_rig(FakeDeployment(MESSAGE_EVENTS)))
    events = EventStreamParser().feed(answered.body)
    assert [json.loads(event.data or b"") for event in events] == MESSAGE_EVENTS
    assert [event.type.decode() for event in events] == [each["type"] for each in MESSAGE_EVENTS]


RESPONSE_EVENTS: list[dict[str, Any]] = [
    {"type": "response.created", "response": {"id": "r", "error": None}, "sequence_number": 0},
    {"type": "response.function_call_arguments.delta", "delta": "{", "sequence_number": 1},
    {"type": "response.completed", "response": {"usage": {}}, "usage": {}, "sequence_number": 2},
]


async def respond(rig: Rig) -> Answered:
    return await rig.ask("/v1/responses", b'{"model": "m", "input": "x", "stream": true}')


@pytest.mark.parametrize("authenticates_end", [True, False])
async def test_a_responses_events_come_under_their_names_until_done(
    make_rig: MakeRig, *, authenticates_end: bool
) -> None:
    answered = await respond(make_rig(FakeDeployment(RESPONSE_EVENTS, authenticates_end=authenticates_end)))
    *events, done = EventStreamParser().feed(answered.body)
    assert [json.loads(event.data or b"") for event in events] == RESPONSE_EVENTS
    assert [event.type.decode() for event in events] == [each["type"] for each in RESPONSE_EVENTS]
    assert (done.type, done.data) == (b"message", b"[DONE]")


@pytest.mark.parametrize("authenticates_end", [True, False])
async def test_a_responses_events_under_another_name_are_refused(make_rig: MakeRig, *, authenticates_end: bool) -> None:
    def alter(response: FakeResponse) -> FakeResponse:
        whole = bytes_of(response).replace(b"event: response.completed", b"event: response.failed")
        return FakeResponse(200, response.headers, [whole])

    deployment = tampering(alter, RESPONSE_EVENTS, authenticates_end=authenticates_end)
    assert error_of(await respond(make_rig(deployment)))["code"] == "answer_not_authentic"


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
async def test_a_response_that_is_cut_ends_in_an_error(make_rig: MakeRig, kept: int) -> None:
    deployment = tampering(lambda each: FakeResponse(200, each.headers, each.pieces[:kept]), RESPONSE_EVENTS)
    assert error_of(await respond(make_rig(deployment)))["type"] == "server_error"


class Watched(FakeResponse):
    """Knows whether it was read to its end."""

    was_read = False

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in super().chunks():
            yield chunk
        self.was_read = True


async def test_a_stream_is_read_to_its_end_so_that_its_connection_is_used_again(make_rig: MakeRig) -> None:
    watched = []

    def watch(response: FakeResponse) -> FakeResponse:
        watched.append(Watched(response.status, response.headers, response.pieces))
        return watched[0]

    await streamed(make_rig(tampering(watch, CHUNKS)))
    assert watched[0].was_read
    assert watched[0].closed


@pytest.mark.parametrize("more", [b"data: {}\n\n", UpstreamProtocolError("cut")])
async def test_what_comes_after_the_last_event_is_nobodys(
    make_rig: MakeRig, more: bytes | UpstreamProtocolError
) -> None:
    deployment = tampering(lambda each: FakeResponse(200, each.headers, [*each.pieces, more]), CHUNKS)
    assert (await streamed(make_rig(deployment))).body.endswith(b"data: [DONE]\n\n")


# Exhaustion

SMALL_VALUES = b"{" + b",".join(b'"%x":1' % n for n in range(100_000)) + b"}"


@pytest.mark.parametrize(
    "body",
    [SMALL_VALUES, b'{"usage":' + b"[]" * 100_000, b'{"usage":' + b'{"":' * 100_000, b'{"usage":[' + b"1," * 100_000],
)
async def test_a_body_of_nothing_but_small_plain_values_is_refused_unread(make_rig: MakeRig, body: bytes) -> None:
    with pytest.raises(TamperedAnswerError, match="more of it is plain"):
        await make_rig(tampering(lambda each: FakeResponse(200, each.headers, [body]))).chat()
    deployment = tampering(lambda each: FakeResponse(200, each.headers, [b"data: " + body + b"\n\n"]), CHUNKS)
    assert "more of it is plain" in error_of(await streamed(make_rig(deployment)))["message"]


async def test_an_answer_of_many_small_encrypted_values_is_no_attack(make_rig: MakeRig) -> None:
    answer = CHAT_ANSWER | {f"m{n}": n for n in range(5000)}
    assert json.loads((await make_rig(FakeDeployment(answer)).chat()).body) == answer


@pytest.mark.parametrize("line", [b"data: ", b":", b"event: "])
async def test_an_endless_line_is_an_error(make_rig: MakeRig, line: bytes) -> None:
    pieces: list[bytes | Any] = [line, *[b"a" * (1 << 20)] * 20]
    deployment = tampering(lambda each: FakeResponse(200, each.headers, [each.pieces[0], *pieces]), CHUNKS)
    answered = await streamed(make_rig(deployment))
    assert error_of(answered)["code"] == "engine_error"
    assert len(answered.body) < 2000


async def code_of(rig: Rig, *, streams: bool) -> Any:
    """Return the code of the error that the app gets, in one way or the other."""
    try:
        return error_of(await (streamed(rig) if streams else rig.chat()))["code"]
    except ApiError as error:
        return error.code


async def test_strange_answers_are_clean_errors(make_rig: MakeRig) -> None:
    strange = [
        b"",
        b"\x00",
        b"\xff",
        b"[" * 5000,
        b'{"a":' * 500,
        b'"' * 999,
        b'{"\\ud800":1}',
        b'{"":"::::"}',
        b"{}{}",
    ]
    for body in strange:
        for headers in ([], [EVENTS]):
            for framed in (body, b"data: " + body + b"\n\n", b"event: error\ndata:" + body + b"\n\ndata: [DONE]\n\n"):
                http_answer = FakeResponse(200, headers, [framed])
                rig = make_rig(tampering(lambda _, each=http_answer: each))  # type: ignore[misc]  # each is a default
                assert await code_of(rig, streams=bool(headers)) in {"answer_not_authentic", "engine_error"}


async def test_a_gateway_that_always_says_that_the_secret_is_unknown_is_asked_twice(make_rig: MakeRig) -> None:
    deployment = FakeDeployment()

    def server(request: SentRequest) -> FakeResponse:
        return deployment.server(request) if request.url.endswith("/secret") else plain_error(500, "no secret for ID")

    rig = make_rig(deployment, http=FakeHttpClient(server))
    assert (await rig.chat()).status == 500
    assert (len(rig.sent), deployment.agreements) == (2, 2)


# Formats that are made of JSON


def captions_form(kind: bytes) -> bytes:
    parts = [Part("model", b"m"), Part("response_format", kind), Part("file", b"RIFF", is_file=True)]
    return encode_form(parts, b"x")


FORM = (b"content-type", b"multipart/form-data; boundary=x")
TRANSCRIPTIONS = "/v1/audio/transcriptions"


@pytest.mark.parametrize("authenticates_end", [True, False])
@pytest.mark.parametrize(
    ("kind", "content_type", "body"),
    [
        (b"text", b"text/plain; charset=utf-8", b"hi\n"),
        (b"srt", b"text/plain; charset=utf-8", b"1\n00:00:00,000 --> 00:00:01,000\nhi\n"),
        (b"vtt", b"text/vtt", b"WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nhi\n"),
    ],
)
async def test_text_and_captions_are_made_of_what_was_decrypted(
    make_rig: MakeRig, kind: bytes, content_type: bytes, body: bytes, *, authenticates_end: bool
) -> None:
    heard = {"text": "hi", "duration": 1.0, "segments": [{"start": 0, "end": 1, "text": "hi"}]}
    rig = make_rig(FakeDeployment(heard, authenticates_end=authenticates_end))
    answered = await rig.ask(TRANSCRIPTIONS, captions_form(kind), FORM)
    assert (answered.status, answered.body) == (200, body)
    assert header(answered.headers, b"content-type") == content_type


async def test_an_error_instead_of_them_stays_json(make_rig: MakeRig) -> None:
    deployment = FakeDeployment({"error": {"message": "no", "code": "c"}})
    deployment.status = 400
    answered = await make_rig(deployment).ask(TRANSCRIPTIONS, captions_form(b"srt"), FORM)
    assert (answered.status, json.loads(answered.body)) == (400, deployment.answer)
    assert header(answered.headers, b"content-type") == b"application/json"


async def test_an_answer_that_has_no_captions_is_the_engines_fault(make_rig: MakeRig) -> None:
    with pytest.raises(EngineFailedError):
        await make_rig(FakeDeployment({"text": "hi"})).ask(TRANSCRIPTIONS, captions_form(b"srt"), FORM)
