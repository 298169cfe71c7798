import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from privity.errors import ApiError, InvalidRequestError, UpstreamTimeoutError, UpstreamUnreachableError
from privity.http import Headers
from privity.roles.proxy.service import MAX_KEYS, Proxy
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, Server, event_response, json_response
from privity.transport.forward import MAX_WHOLE_ANSWER
from privity.transport.web import Reply, StreamReply

GATEWAY = "http://gateway"
CHAT = "/v1/chat/completions"
LIST_SECONDS = 5.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Gateway:
    """A proxy, what its gateway hears, and the time."""

    def __init__(self, server: Server = lambda _: json_response({"object": "list", "data": []})) -> None:
        self.http = FakeHttpClient(server)
        self.clock = Clock()
        self.proxy = Proxy(self.http, GATEWAY, LIST_SECONDS, self.clock)

    @property
    def asked(self) -> int:
        return len(self.http.sent)


def key(name: str) -> Headers:
    return [(b"authorization", f"Bearer {name}".encode())]


# Requests


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/embeddings"])
async def test_a_request_goes_on_with_its_bytes_and_its_model_in_a_header(path: str) -> None:
    body = b'{ "x" : 0.70, "model" : "org\\/chat" , "stream": true}'
    gateway = Gateway(lambda _: event_response([{"n": 1}]))
    reply = await gateway.proxy.infer(path, [], body)
    assert isinstance(reply, StreamReply)
    assert b"".join([chunk async for chunk in reply.chunks]) == b'data: {"n": 1}\n\ndata: [DONE]\n\n'
    (sent,) = gateway.http.sent
    assert (sent.method, sent.url, sent.body) == ("POST", GATEWAY + path, body)
    assert sent.headers == [(b"content-type", b"application/json"), (b"privatemode-target-model", b"org/chat")]


@pytest.mark.parametrize(
    ("written", "header"),
    [
        ('"chat"', b"chat"),
        ('"org/chat:q4"', b"org/chat:q4"),
        ('"modèle-€-模型"', "modèle-€-模型".encode()),
        ('"\\u6a21\\u578b"', "模型".encode()),
        ('"\\ud83d\\ude00"', "😀".encode()),
        ('"' + "m" * 256 + '"', b"m" * 256),
    ],
)
async def test_the_header_names_the_model_that_the_body_names(written: str, header: bytes) -> None:
    gateway = Gateway()
    await gateway.proxy.infer(CHAT, [], f'{{"model": {written}}}'.encode())
    assert (b"privatemode-target-model", header) in gateway.http.sent[0].headers


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"{", "invalid_json", None),
        (b"[]", "invalid_json", None),
        (b'"model"', "invalid_json", None),
        (b'{"model": "chat"} x', "invalid_json", None),
        (b'{"model": "\xff"', "invalid_json", None),
        (b"\xef\xbb\xbf{}", "invalid_json", None),
        (b"[" * 100_000, "invalid_json", None),
        (b"{}", "missing_model", "model"),
        (b'{"Model": "chat"}', "missing_model", "model"),
        (b'{"model": null}', "invalid_model", "model"),
        (b'{"model": 5}', "invalid_model", "model"),
        (b'{"model": ["chat"]}', "invalid_model", "model"),
        (b'{"model": ""}', "invalid_model", "model"),
        (b'{"model": "a\\nb"}', "invalid_model", "model"),
        (b'{"model": "a\\u0000b"}', "invalid_model", "model"),
        (b'{"model": "\\r\\nauthorization: x"}', "invalid_model", "model"),
        (b'{"model": "\\ud800"}', "invalid_json", None),
        (b'{"model": "' + b"m" * 257 + b'"}', "invalid_model", "model"),
    ],
)
async def test_a_body_that_names_no_model_is_a_400_and_nothing_is_sent(
    body: bytes, code: str, param: str | None
) -> None:
    gateway = Gateway()
    with pytest.raises(InvalidRequestError) as caught:
        await gateway.proxy.infer(CHAT, [], body)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, code, param)
    assert gateway.http.sent == []


LEAVE = {b"accept", b"anthropic-beta", b"anthropic-version", b"authorization"}
STAY = {
    *(b"accept-encoding", b"accept-language", b"connection", b"content-length", b"content-type", b"cookie"),
    *(b"forwarded", b"host", b"openai-organization", b"origin", b"privatemode-target-model", b"proxy-authorization"),
    *(b"referer", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"user-agent", b"via", b"x-api-key"),
    *(b"x-forwarded-for", b"x-request-id", b"x-stainless-os"),
}
ALL_HEADERS: Headers = [(name, b"canary") for name in sorted(LEAVE | STAY)]


@pytest.mark.parametrize("action", ["infer", "list", "retrieve"])
async def test_only_listed_headers_leave(action: str) -> None:
    gateway = Gateway()
    match action:
        case "infer":
            await gateway.proxy.infer(CHAT, ALL_HEADERS, b'{"model": "chat"}')
        case "list":
            await gateway.proxy.list_models(ALL_HEADERS)
        case _:
            await gateway.proxy.retrieve_model("chat", ALL_HEADERS)
    (sent,) = gateway.http.sent
    assert {name for name, value in sent.headers if value == b"canary"} == LEAVE
    ours = [(name, value) for name, value in sent.headers if value != b"canary"]
    json_of_chat = [(b"content-type", b"application/json"), (b"privatemode-target-model", b"chat")]
    assert ours == (json_of_chat if action == "infer" else [])


# The list


async def test_a_list_is_answered_from_memory_while_it_is_fresh() -> None:
    gateway = Gateway()
    first = await gateway.proxy.list_models([])
    gateway.clock.now += LIST_SECONDS - 0.01
    assert await gateway.proxy.list_models([]) == first
    assert gateway.asked == 1
    gateway.clock.now += 0.01
    await gateway.proxy.list_models([])
    assert gateway.asked == 2
    assert gateway.http.sent[0].url == f"{GATEWAY}/v1/models"


async def test_each_key_has_its_own_list() -> None:
    gateway = Gateway(lambda request: json_response([value.decode() for _, value in request.headers]))
    for _ in range(2):
        for name in ("a", "b"):
            reply = await gateway.proxy.list_models(key(name))
            assert isinstance(reply, Reply)
            assert json.loads(reply.body) == [f"Bearer {name}"]
        nobody = await gateway.proxy.list_models([])
        assert isinstance(nobody, Reply)
        assert json.loads(nobody.body) == []
    assert gateway.asked == 3


class SlowHttpClient(FakeHttpClient):
    """Answers when it is told to."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.go_on = asyncio.Event()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes | AsyncIterator[bytes] = b"",
        head_timeout: float | None = None,
    ) -> FakeResponse:
        await self.go_on.wait()
        return await super().request(method, url, headers=headers, body=body, head_timeout=head_timeout)


async def test_of_many_that_ask_at_once_one_asks_the_gateway() -> None:
    http = SlowHttpClient(lambda _: json_response({"data": []}))
    proxy = Proxy(http, GATEWAY, LIST_SECONDS, Clock())
    async with asyncio.TaskGroup() as group:
        askers = [group.create_task(proxy.list_models(key("a"))) for _ in range(20)]
        await asyncio.sleep(0)
        http.go_on.set()
    assert len(http.sent) == 1
    assert len({id(asker.result()) for asker in askers}) == 1


async def test_an_asker_that_leaves_does_not_keep_the_others_waiting() -> None:
    http = SlowHttpClient(lambda _: json_response({"data": []}))
    proxy = Proxy(http, GATEWAY, LIST_SECONDS, Clock())
    async with asyncio.TaskGroup() as group:
        leaving = group.create_task(proxy.list_models([]))
        staying = group.create_task(proxy.list_models([]))
        await asyncio.sleep(0)
        leaving.cancel()
        http.go_on.set()
    assert staying.result().status == 200
    assert len(http.sent) == 1


@pytest.mark.parametrize("status", [204, 304, 400, 401, 404, 500, 503])
async def test_only_a_success_is_kept(status: int) -> None:
    gateway = Gateway(lambda _: json_response({"data": []}, status=status))
    for expected in (1, 2):
        assert (await gateway.proxy.list_models([])).status == status
        assert gateway.asked == expected


@pytest.mark.parametrize(
    ("failure", "status"), [(UpstreamUnreachableError("canary"), 503), (UpstreamTimeoutError("canary"), 504)]
)
async def test_a_gateway_that_gives_no_answer_is_asked_again(failure: Exception, status: int) -> None:
    down = True

    def server(_request: SentRequest) -> FakeResponse:
        if down:
            raise failure
        return json_response({"data": []})

    gateway = Gateway(server)
    for _ in range(2):
        with pytest.raises(ApiError) as caught:
            await gateway.proxy.list_models([])
        assert caught.value.status == status
        assert "gateway" in caught.value.message
    assert gateway.asked == 2
    down = False
    assert (await gateway.proxy.list_models([])).status == 200


async def test_a_list_that_is_too_long_to_keep_is_streamed() -> None:
    body = b" " * (MAX_WHOLE_ANSWER + 1)
    length = [(b"content-length", str(len(body)).encode())]
    gateway = Gateway(lambda _: FakeResponse(200, length, [body]))
    for expected in (1, 2):
        reply = await gateway.proxy.list_models([])
        assert isinstance(reply, StreamReply)
        assert b"".join([chunk async for chunk in reply.chunks]) == body
        assert gateway.asked == expected


async def test_the_lists_of_a_bounded_number_of_keys_are_kept_and_the_oldest_goes_first() -> None:
    gateway = Gateway()
    for n in range(MAX_KEYS + 1):
        await gateway.proxy.list_models(key(str(n)))
    assert gateway.asked == MAX_KEYS + 1
    for n in range(1, MAX_KEYS + 1):
        await gateway.proxy.list_models(key(str(n)))
    assert gateway.asked == MAX_KEYS + 1
    await gateway.proxy.list_models(key("0"))
    assert gateway.asked == MAX_KEYS + 2


async def test_a_list_that_is_asked_for_again_does_not_push_out_another_keys() -> None:
    gateway = Gateway()
    for n in range(MAX_KEYS):
        await gateway.proxy.list_models(key(str(n)))
    gateway.clock.now += LIST_SECONDS
    for _ in range(3):
        await gateway.proxy.list_models(key("last"))
        gateway.clock.now += LIST_SECONDS
    assert gateway.asked == MAX_KEYS + 3


async def test_one_model_is_always_asked_for() -> None:
    gateway = Gateway(lambda _: json_response({"id": "org/chat"}))
    for expected in (1, 2):
        await gateway.proxy.retrieve_model("org%2Fchat", [])
        assert gateway.asked == expected
    assert gateway.http.sent[0].url == f"{GATEWAY}/v1/models/org%2Fchat"
