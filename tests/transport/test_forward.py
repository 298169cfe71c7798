import asyncio
from collections.abc import AsyncIterator

import pytest

from privity.errors import (
    ApiError,
    EngineFailedError,
    EngineTimeoutError,
    PayloadTooLargeError,
    UnavailableError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from privity.http import Headers
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, event_response, json_response
from privity.transport.forward import MAX_WHOLE_ANSWER, forward
from privity.transport.web import Reply, StreamReply

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])

JSON: Headers = [(b"content-type", b"application/json")]
EVENTS: Headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
CUT = UpstreamProtocolError("canary-9c40")


def sized(body: bytes, length: int | None = None, status: int = 200) -> FakeResponse:
    size = len(body) if length is None else length
    return FakeResponse(status, [*JSON, (b"content-length", str(size).encode())], [body])


async def forwarded(response: FakeResponse) -> Reply | StreamReply:
    client = FakeHttpClient(lambda _: response)
    return await forward(client, "GET", "http://peer/x", headers=(), body=b"", peer="peer")


async def streamed(response: FakeResponse) -> StreamReply:
    reply = await forwarded(response)
    assert isinstance(reply, StreamReply)
    return reply


async def test_the_request_goes_on_as_it_is() -> None:
    client = FakeHttpClient(lambda _: json_response({}))
    headers = [(b"accept", b"a"), (b"accept", b"b")]

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    await forward(client, "POST", "http://peer/x?y=z", headers=headers, body=pieces(), peer="peer")
    assert client.sent == [SentRequest("POST", "http://peer/x?y=z", headers, b"one two", None)]


@pytest.mark.parametrize("status", [200, 201, 400, 404, 429, 500, 503])
async def test_a_small_answer_of_known_length_comes_whole_with_its_status(status: int) -> None:
    response = sized(b'{"a":1}', status=status)
    assert await forwarded(response) == Reply(status, JSON, b'{"a":1}')
    assert response.closed


@pytest.mark.parametrize("length", [0, MAX_WHOLE_ANSWER])
async def test_up_to_the_limit_an_answer_comes_whole(length: int) -> None:
    response = sized(b"a" * length)
    assert await forwarded(response) == Reply(200, JSON, b"a" * length)
    assert response.closed


@pytest.mark.parametrize(
    ("status", "headers"),
    [(200, JSON), (200, [*JSON, (b"content-length", str(MAX_WHOLE_ANSWER + 1).encode())]), (202, EVENTS)],
    ids=["no length", "long", "events"],
)
async def test_another_answer_comes_in_the_pieces_in_which_it_came(status: int, headers: Headers) -> None:
    response = FakeResponse(status, headers, [b"data: 1\n\n", b"data: 2\n\n"])
    reply = await streamed(response)
    assert (reply.status, reply.headers) == (response.status, response.headers[:1])
    assert not response.closed
    assert [chunk async for chunk in reply.chunks] == [b"data: 1\n\n", b"data: 2\n\n"]
    assert response.closed


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        *(
            (name, True)
            for name in (
                "allow",
                "cache-control",
                "content-type",
                "privatemode-encrypted",
                "privity-end",
                "retry-after",
                "x-content-type-options",
                "x-request-id",
            )
        ),
        *(
            (name, False)
            for name in (
                "access-control-allow-origin",
                "connection",
                "content-encoding",
                "content-length",
                "date",
                "location",
                "privatemode-secret-id",
                "privity-unheard-of",
                "server",
                "set-cookie",
                "strict-transport-security",
                "transfer-encoding",
                "x-powered-by",
            )
        ),
    ],
)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "streamed"])
async def test_only_listed_headers_pass(name: str, passes: bool, whole: bool) -> None:  # noqa: FBT001  # parameters
    headers: Headers = [(name.encode(), b"7")] if name == "content-length" else [(name.encode(), b"value")]
    if whole and name != "content-length":
        headers = [*headers, (b"content-length", b"7")]
    reply = await forwarded(FakeResponse(200, headers, [b"1234567"]))
    assert [each for each, _ in reply.headers] == ([name.encode()] if passes else [])
    if isinstance(reply, StreamReply):
        await reply.chunks.aclose()


@pytest.mark.parametrize(
    ("failure", "expected", "status"),
    [
        (UpstreamUnreachableError("canary"), UnavailableError, 503),
        (UpstreamTimeoutError("canary"), EngineTimeoutError, 504),
        (UpstreamProtocolError("canary"), EngineFailedError, 502),
    ],
)
async def test_a_peer_that_gives_no_answer_is_an_error_that_names_it(
    failure: UpstreamError, expected: type[ApiError], status: int
) -> None:
    def server(_request: SentRequest) -> FakeResponse:
        raise failure

    with pytest.raises(expected) as caught:
        await forward(FakeHttpClient(server), "GET", "http://peer/", headers=(), body=b"", peer="next role")
    assert caught.value.status == status
    assert "next role" in caught.value.message
    assert "canary" not in caught.value.message
    assert [name for name, _ in caught.value.headers] == ([b"retry-after"] if status == 503 else [])


@pytest.mark.parametrize("failure", [CUT, UpstreamTimeoutError("late")])
async def test_a_whole_answer_that_is_cut_is_an_error(failure: UpstreamError) -> None:
    response = FakeResponse(200, [*JSON, (b"content-length", b"10")], [b'{"a":', failure])
    with pytest.raises(ApiError) as caught:
        await forwarded(response)
    assert caught.value.status in (502, 504)
    assert response.closed


@pytest.mark.parametrize("headers", [JSON, EVENTS], ids=["json", "events"])
@pytest.mark.parametrize("before", [[], [b'data: {"n":1}\n\n'], [b'data: {"n":1}\n\n', b'data: {"n"']])
async def test_a_streamed_answer_that_is_cut_ends_with_the_error_that_cuts_the_connection(
    before: list[bytes], headers: Headers
) -> None:
    response = FakeResponse(200, headers, [*before, CUT])
    reply = await streamed(response)
    for piece in before:
        assert await anext(reply.chunks) == piece
    with pytest.raises(UpstreamProtocolError):
        await anext(reply.chunks)  # and no event of our own, which nobody up the line could tell from the engine's
    assert response.closed


@pytest.mark.parametrize("taken", [0, 1, 2])
async def test_a_stream_that_is_abandoned_closes_the_answer(taken: int) -> None:
    response = event_response([{"n": n} for n in range(5)])
    reply = await streamed(response)
    for _ in range(taken):
        await anext(reply.chunks)
    assert not response.closed
    await reply.chunks.aclose()
    assert response.closed


async def test_a_cancelled_reader_closes_the_answer() -> None:
    response = event_response([{"n": 1}])
    reply = await streamed(response)
    reading = asyncio.Event()

    async def read() -> None:
        try:
            async for _ in reply.chunks:
                reading.set()
                await asyncio.Event().wait()
        finally:
            await reply.chunks.aclose()

    task = asyncio.get_running_loop().create_task(read())
    await reading.wait()
    task.cancel()
    await asyncio.wait([task])
    assert response.closed


async def test_an_error_of_the_bodys_source_leaves_unchanged() -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"a"
        raise PayloadTooLargeError("too large")

    client = FakeHttpClient(lambda _: json_response({}))
    with pytest.raises(PayloadTooLargeError):
        await forward(client, "POST", "http://peer/", headers=(), body=source(), peer="peer")
    assert client.sent == []
