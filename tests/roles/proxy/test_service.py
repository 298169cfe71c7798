import contextlib
import json
import logging
import os
from collections.abc import Callable

import pytest

from privity.errors import (
    ApiError,
    EngineFailedError,
    RouteNotFoundError,
    UnavailableError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from privity.http import header
from privity.protocol.event_stream import EventStreamParser
from privity.protocol.exchange import addressed_to
from privity.protocol.fields import scan
from privity.protocol.multipart import Part, content_type, encode_form
from privity.roles.proxy.request import LARGE_FORM
from privity.roles.proxy.service import RESET_PAUSE
from privity.testing.fake_deployment import FakeDeployment, plain_error
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, event_response, json_response
from privity.testing.proxy_rig import CHAT, GATEWAY, Rig
from privity.transport.web import StreamReply

MakeRig = Callable[..., Rig]
CHUNK = {"id": "c1", "choices": [{"index": 0, "delta": {"content": "canary-answer"}}]}
UNKNOWN = b"no secret for ID"


def nonce(request: SentRequest) -> bytes:
    return addressed_to(scan(request.body).get("messages") or b"")[1]


def failing(deployment: FakeDeployment, *failures: UpstreamError | FakeResponse) -> FakeHttpClient:
    """Return a client whose first encrypted requests fail in these ways."""
    remaining = list(failures)

    def server(request: SentRequest) -> FakeResponse:
        if not remaining or request.url.endswith("/secret"):
            return deployment.server(request)
        failure = remaining.pop(0)
        if isinstance(failure, UpstreamError):
            raise failure
        return failure

    return FakeHttpClient(server)


def unknown_secret() -> FakeResponse:
    return plain_error(500, 'deciphering input: no secret for ID "x"')


# One request


async def test_what_the_app_asks_reaches_the_deployment_and_only_encrypted(make_rig: MakeRig) -> None:
    rig = make_rig()
    answered = await rig.chat(messages=[{"role": "user", "content": "canary-prompt"}], unknown={"canary": 0.70})
    assert json.loads(answered.body) == rig.deployment.answer
    asked = rig.deployment.asked[0].json()
    assert asked.pop("cache_salt")
    assert asked == {
        "model": "m",
        "messages": [{"role": "user", "content": "canary-prompt"}],
        "unknown": {"canary": 0.7},
    }
    (sent,) = rig.sent
    assert (sent.method, sent.url, sent.repeat) == ("POST", GATEWAY + CHAT, False)
    assert b"canary" not in sent.body
    assert b"canary" not in b"".join(name + value for name, value in sent.headers)


async def test_every_request_has_a_nonce_a_salt_and_an_id_of_its_own(make_rig: MakeRig) -> None:
    rig = make_rig()
    for _ in range(3):
        await rig.chat()
    assert len({nonce(each) for each in rig.sent}) == 3
    assert len({each.json()["cache_salt"] for each in rig.deployment.asked}) == 3
    ids = [header(each.headers, b"privatemode-user-request-id") or b"" for each in rig.sent]
    assert len(set(ids)) == 3
    assert all(each.startswith(b"proxy_") and each.endswith(b"_0") for each in ids)


async def test_an_endpoint_that_is_not_encrypted_is_not_sent_to(make_rig: MakeRig) -> None:
    rig = make_rig()
    with pytest.raises(RouteNotFoundError):
        await rig.ask("/v1/moderations", b'{"model": "m"}')
    assert rig.http.sent == []


async def test_the_shared_salt_is_every_requests(make_rig: MakeRig) -> None:
    rig = make_rig(shared_salt="s" * 32)
    await rig.chat()
    await rig.chat(cache_salt="o" * 32)
    assert [each.json()["cache_salt"] for each in rig.deployment.asked] == ["s" * 32, "o" * 32]
    assert all(header(each.headers, b"privatemode-shard-key") for each in rig.sent)


# Repetition


async def test_an_unknown_secret_is_repeated_once_with_a_new_one(make_rig: MakeRig) -> None:
    rig = make_rig()
    await rig.chat()
    rig.deployment.secrets.clear()
    assert (await rig.chat()).status == 200
    _, first, second = rig.sent
    assert rig.deployment.agreements == 2
    assert header(first.headers, b"privatemode-secret-id") != header(second.headers, b"privatemode-secret-id")
    assert_repeated(first, second)


def assert_repeated(first: SentRequest, second: SentRequest) -> None:
    assert nonce(first) != nonce(second)
    assert first.body != second.body
    ids = [(header(each.headers, b"privatemode-user-request-id") or b"").rsplit(b"_", 1) for each in (first, second)]
    assert ids[0][0] == ids[1][0]
    assert (ids[0][1], ids[1][1]) == (b"0", b"1")
    assert not first.repeat
    assert not second.repeat


async def test_a_secret_that_is_unknown_again_is_the_apps_error(make_rig: MakeRig) -> None:
    deployment = FakeDeployment()
    rig = make_rig(deployment, http=failing(deployment, unknown_secret(), unknown_secret(), unknown_secret()))
    answered = await rig.chat()
    assert answered.status == 500
    assert UNKNOWN in answered.body
    assert len(rig.sent) == 2
    assert deployment.agreements == 2


@pytest.mark.parametrize(
    "response",
    [
        plain_error(503, 'no secret for ID "x"'),
        plain_error(500, "no secrets"),
        json_response({"error": {"message": 'no secret for ID "x"'}}, 500),
    ],
    ids=["another status", "another text", "not plain"],
)
async def test_nothing_else_is_taken_for_an_unknown_secret(make_rig: MakeRig, response: FakeResponse) -> None:
    deployment = FakeDeployment()
    rig = make_rig(deployment, http=failing(deployment, response))
    with contextlib.suppress(EngineFailedError):
        assert (await rig.chat()).status >= 500
    assert len(rig.sent) == 1


async def test_a_connection_reset_is_repeated_once_after_50_ms(make_rig: MakeRig) -> None:
    deployment = FakeDeployment()
    rig = make_rig(deployment, http=failing(deployment, UpstreamUnreachableError("reset")))
    assert (await rig.chat()).status == 200
    assert rig.time.pauses == [RESET_PAUSE] == [0.05]
    assert_repeated(*rig.sent)
    assert deployment.agreements == 1


async def test_a_second_reset_is_the_apps_error(make_rig: MakeRig) -> None:
    deployment = FakeDeployment()
    rig = make_rig(deployment, http=failing(deployment, *[UpstreamUnreachableError("canary")] * 3))
    with pytest.raises(UnavailableError) as caught:
        await rig.chat()
    assert "canary" not in caught.value.message
    assert len(rig.sent) == 2


async def test_a_reset_and_an_unknown_secret_are_each_repeated(make_rig: MakeRig) -> None:
    deployment = FakeDeployment()
    rig = make_rig(deployment, http=failing(deployment, UpstreamUnreachableError("reset"), unknown_secret()))
    assert (await rig.chat()).status == 200
    assert [(header(each.headers, b"privatemode-user-request-id") or b"")[-2:] for each in rig.sent] == [
        b"_0",
        b"_1",
        b"_2",
    ]


@pytest.mark.parametrize(
    "failure", [UpstreamTimeoutError("canary"), UpstreamProtocolError("canary")], ids=["a timeout", "a broken answer"]
)
async def test_what_the_deployment_may_have_begun_is_not_repeated(make_rig: MakeRig, failure: UpstreamError) -> None:
    deployment = FakeDeployment()
    rig = make_rig(deployment, http=failing(deployment, failure))
    with pytest.raises(ApiError) as caught:
        await rig.chat()
    assert caught.value.status in {502, 504}
    assert "canary" not in caught.value.message
    assert len(rig.sent) == 1


async def test_nothing_is_repeated_after_the_first_byte_went_to_the_app(make_rig: MakeRig) -> None:
    deployment = FakeDeployment([CHUNK, CHUNK])

    def cut(_request: SentRequest, response: FakeResponse) -> FakeResponse:
        response.pieces[1:] = [UpstreamUnreachableError("reset")]
        return response

    deployment.tamper = cut
    rig = make_rig(deployment)
    answered = await rig.chat(stream=True)
    events = EventStreamParser().feed(answered.body)
    assert [event.type for event in events] == [b"message", b"error"]
    assert json.loads(events[0].data or b"") == CHUNK
    assert len(rig.sent) == 1


async def test_an_answer_that_breaks_off_before_its_end_is_not_repeated(make_rig: MakeRig) -> None:
    deployment = FakeDeployment()
    deployment.tamper = lambda _, response: FakeResponse(
        200, response.headers, [response.pieces[0], UpstreamProtocolError("cut")]
    )
    rig = make_rig(deployment)
    with pytest.raises(EngineFailedError):
        await rig.chat()
    assert len(rig.sent) == 1


# Endings


async def test_each_answer_is_closed_whatever_it_is(make_rig: MakeRig) -> None:
    deployment = FakeDeployment()
    responses = [
        unknown_secret(),
        plain_error(400, "no"),
        json_response({}),
        FakeResponse(204, [], []),
        event_response([]),
    ]
    rig = make_rig(deployment, http=failing(deployment, *responses))
    for _ in range(4):
        with contextlib.suppress(ApiError):
            await rig.chat()
    assert [each.closed for each in responses] == [True] * 5


async def test_an_app_that_leaves_a_stream_ends_it_at_the_gateway(make_rig: MakeRig) -> None:
    for begins in (True, False):
        rig = make_rig(FakeDeployment([CHUNK] * 5))
        reply = await rig.proxy.infer(CHAT, [], b'{"model": "m", "messages": [], "stream": true}')
        assert isinstance(reply, StreamReply)
        if begins:
            await anext(reply.chunks)
        await reply.chunks.aclose()
        assert rig.http.answers[-1].closed


async def test_secrets_keys_and_content_are_in_no_log_repr_or_error(
    make_rig: MakeRig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    deployment = FakeDeployment()
    rig = make_rig(deployment, api_key="canary-key", shared_salt="canary-salt" * 3)
    shown: list[str] = []
    for tamper in (deployment.tamper, tampered):
        deployment.tamper = tamper
        deployment.secrets.clear()  # so that it agrees and repeats
        try:
            await rig.chat(messages=[{"role": "user", "content": "canary-prompt"}])
        except ApiError as error:
            shown.append(repr(error) + error.message)
    agreement = await rig.agreements.current(None)
    shown += [repr(agreement), repr(rig.agreements), repr(rig.proxy), repr(agreement.secret)]
    shown += [str(vars(record)) for record in caplog.records]
    assert any("refused" in each for each in shown)
    keys = [repr(secret.key)[2:-1] for secret in deployment.secrets.values()]
    keys += [secret.key.hex() for secret in deployment.secrets.values()]
    assert not [each for each in shown for leak in ("canary", "Hello", *keys) if leak in each]


def tampered(_request: SentRequest, response: FakeResponse) -> FakeResponse:
    return FakeResponse(200, response.headers, [b"{}"])


async def test_a_large_form_is_sent_in_pieces_and_arrives_whole(make_rig: MakeRig) -> None:
    rig = make_rig(FakeDeployment({"text": "hello"}))
    content = os.urandom(LARGE_FORM)
    parts = [Part("language", b"en"), Part("model", b"m"), Part("file", content, is_file=True)]
    body = encode_form(parts, b"boundary")
    answered = await rig.ask("/v1/audio/transcriptions", body, (b"content-type", content_type(b"boundary")))
    assert answered.status == 200
    assert rig.deployment.asked[0].parts == parts
    assert len(rig.sent[0].body) > 2 * LARGE_FORM
