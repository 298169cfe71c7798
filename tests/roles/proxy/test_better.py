"""What the deployed proxy gets wrong (wire-protocol.md, "better"), item by item. Hosts and origins: test_guard.py."""

import json
from collections.abc import Callable

import pytest

from privity.errors import InvalidRequestError, RouteNotFoundError, TamperedAnswerError
from privity.http import header
from privity.protocol.event_stream import EventStreamParser
from privity.protocol.fields import scan
from privity.testing.fake_deployment import CHAT_ANSWER, FakeDeployment
from privity.testing.fake_http import FakeResponse, SentRequest
from privity.testing.proxy_rig import CHAT, Rig

MakeRig = Callable[..., Rig]
MODES = pytest.mark.parametrize("authenticates_end", [True, False], ids=["authenticated end", "as deployed"])
CHUNKS = [{"id": "c1", "choices": [{"index": 0, "delta": {"content": text}}]} for text in ("Hel", "lo")]
MESSAGE_EVENTS = [{"type": "content_block_delta", "index": 0, "delta": {"text": "Hi"}}, {"type": "message_stop"}]


@pytest.mark.parametrize("body", [b'{"model":"m","a":1,"a":"canary"}', b'{"model":"m","a":1,"\\u0061":"canary"}'])
@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/embeddings", "/v1/messages"])
async def test_no_member_may_escape_encryption_repeated_names_are_a_400_before_anything_is_sent(
    make_rig: MakeRig, path: str, body: bytes
) -> None:
    rig = make_rig()
    with pytest.raises(InvalidRequestError) as caught:
        await rig.ask(path, body)
    assert (caught.value.status, caught.value.code) == (400, "repeated_member")
    assert rig.http.sent == []


@pytest.mark.parametrize("name", ["", "|", "a|b", "a.b", "\\", '"', "é", "@x", "0", "Model", "usage", "id", "model "])
async def test_no_member_may_escape_encryption_whatever_its_name(make_rig: MakeRig, name: str) -> None:
    rig = make_rig()
    await rig.chat(**{name: "canary"})
    assert b"canary" not in rig.sent[0].body
    assert rig.deployment.asked[0].json()[name] == "canary"
    assert scan(rig.sent[0].body).get("model") == b'"m"'


@MODES
async def test_event_streams_are_parsed_by_the_whatwg_rules(make_rig: MakeRig, *, authenticates_end: bool) -> None:
    def rewrite(_request: SentRequest, response: FakeResponse) -> FakeResponse:
        whole = b"".join(piece for piece in response.pieces if isinstance(piece, bytes))
        lines = whole.replace(b"data: {", b"data: {\ndata:").replace(b"data: ", b"data:").replace(b"\n", b"\r\n")
        commented = b"\xef\xbb\xbf: comment\r\n\r\n" + lines
        return FakeResponse(200, response.headers, [commented[n : n + 5] for n in range(0, len(commented), 5)])

    deployment = FakeDeployment(CHUNKS, authenticates_end=authenticates_end)
    deployment.tamper = rewrite
    answered = await make_rig(deployment).chat(stream=True)
    data = [event.data for event in EventStreamParser().feed(answered.body) if event.data is not None]
    assert [json.loads(each) for each in data[:-1]] == CHUNKS
    assert data[-1] == b"[DONE]"


async def test_event_streams_a_line_has_no_64_kib_limit(make_rig: MakeRig) -> None:
    chunk = {"id": "c1", "choices": [{"delta": {"content": "x" * 300_000}}]}
    answered = await make_rig(FakeDeployment([chunk])).chat(stream=True)
    assert json.loads(EventStreamParser().feed(answered.body)[0].data or b"") == chunk


@MODES
@pytest.mark.parametrize("stream", [True, False])
async def test_a_plain_success_is_an_attack(make_rig: MakeRig, *, stream: bool, authenticates_end: bool) -> None:
    deployment = FakeDeployment(authenticates_end=authenticates_end)
    made_up = json.dumps(CHAT_ANSWER).encode()
    kinds = {True: b"text/event-stream", False: b"application/json"}
    body = b"data: " + made_up + b"\n\ndata: [DONE]\n\n" if stream else made_up
    headers = [(b"content-type", kinds[stream]), (b"privatemode-encrypted", b"false")]
    for status in (200, 201, 299):
        deployment.tamper = lambda _request, _response, status=status: FakeResponse(status, headers, [body])  # type: ignore[misc]  # status is a default
        with pytest.raises(TamperedAnswerError) as caught:
            await make_rig(deployment).chat(stream=stream)
        assert (caught.value.status, caught.value.code) == (502, "answer_not_authentic")


@MODES
@pytest.mark.parametrize("drop", [1, 2, 3])
async def test_a_truncated_stream_is_an_error_without_done(
    make_rig: MakeRig, drop: int, *, authenticates_end: bool
) -> None:
    deployment = FakeDeployment(CHUNKS, authenticates_end=authenticates_end)
    deployment.tamper = lambda _, response: FakeResponse(200, response.headers, response.pieces[:-drop])
    answered = await make_rig(deployment).chat(stream=True)
    last = EventStreamParser().feed(answered.body)[-1]
    assert last.type == b"error"
    assert json.loads(last.data or b"")["error"]["code"] == "engine_error"


@MODES
@pytest.mark.parametrize("drop", [1, 2])
async def test_a_truncated_stream_is_an_error_without_anthropics_message_stop(
    make_rig: MakeRig, drop: int, *, authenticates_end: bool
) -> None:
    deployment = FakeDeployment(MESSAGE_EVENTS, authenticates_end=authenticates_end)
    deployment.tamper = lambda _, response: FakeResponse(200, response.headers, response.pieces[:-drop])
    answered = await make_rig(deployment).ask("/v1/messages", b'{"model": "m", "messages": [], "stream": true}')
    last = EventStreamParser().feed(answered.body)[-1]
    assert last.type == b"error"
    assert json.loads(last.data or b"")["type"] == "error"


async def test_only_headers_on_an_allow_list_leave_the_users_machine(make_rig: MakeRig) -> None:
    rig = make_rig()
    names = [b"cookie", b"user-agent", b"x-forwarded-for", b"host", b"referer", b"x-stainless-os", b"accept"]
    await rig.ask(CHAT, b'{"model":"m","messages":[]}', *[(name, b"canary") for name in names])
    assert [name for name, value in rig.sent[0].headers if value == b"canary"] == [b"accept"]


async def test_an_x_api_key_is_used_as_the_key_where_none_is_configured_and_never_passed_on(make_rig: MakeRig) -> None:
    for configured, expected in ((None, b"Bearer canary"), ("our-key", b"Bearer our-key")):
        rig = make_rig(api_key=configured)
        await rig.ask(CHAT, b'{"model":"m","messages":[]}', (b"x-api-key", b"canary"))
        for sent in rig.http.sent:
            assert header(sent.headers, b"authorization") == expected
            assert header(sent.headers, b"x-api-key") is None


async def test_endpoints_that_are_not_supported_are_a_404_in_openais_form(make_rig: MakeRig) -> None:
    rig = make_rig()
    with pytest.raises(RouteNotFoundError) as caught:
        await rig.ask("/v1/audio/speech", b'{"model":"m"}')
    assert caught.value.status == 404
    assert rig.http.sent == []
