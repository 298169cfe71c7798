import asyncio
import json
from collections.abc import Callable

import pytest

from privity.errors import ApiError, UpstreamError, UpstreamTimeoutError, UpstreamUnreachableError
from privity.http import header
from privity.roles.proxy.service import MAX_KEYS
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, Server, json_response
from privity.testing.proxy_rig import GATEWAY, Answered, Rig, SlowHttpClient, read
from privity.transport.forward import MAX_WHOLE_ANSWER
from privity.transport.web import Reply

MakeRig = Callable[..., Rig]
LIST_SECONDS = 5.0


class Lists:
    """A proxy in front of a server of lists."""

    def __init__(self, make_rig: MakeRig, server: Server = lambda _: json_response({"data": []})) -> None:
        self.http = FakeHttpClient(server)
        self.rig = make_rig(http=self.http, list_seconds=LIST_SECONDS)

    async def get(self, key: str | None = None) -> Answered:
        headers = [] if key is None else [(b"authorization", f"Bearer {key}".encode())]
        return await read(await self.rig.proxy.list_models(headers))

    @property
    def asked(self) -> int:
        return len(self.http.sent)


async def test_a_list_is_answered_from_memory_while_it_is_fresh(make_rig: MakeRig) -> None:
    lists = Lists(make_rig)
    first = await lists.get()
    lists.rig.time.steady += LIST_SECONDS - 0.01
    assert await lists.get() == first
    assert lists.asked == 1
    lists.rig.time.steady += 0.01
    await lists.get()
    assert lists.asked == 2
    assert lists.http.sent[0].url == f"{GATEWAY}/v1/models"


async def test_each_key_has_its_own_list(make_rig: MakeRig) -> None:
    lists = Lists(make_rig, lambda request: json_response((header(request.headers, b"authorization") or b"").decode()))
    for _ in range(2):
        assert [json.loads((await lists.get(key)).body) for key in ("a", "b", None)] == ["Bearer a", "Bearer b", ""]
    assert lists.asked == 3


async def test_of_many_that_ask_at_once_one_asks_the_gateway_and_one_may_leave(make_rig: MakeRig) -> None:
    http = SlowHttpClient(lambda _: json_response({"data": []}))
    proxy = make_rig(http=http).proxy
    async with asyncio.TaskGroup() as group:
        askers = [group.create_task(proxy.list_models([])) for _ in range(20)]
        await asyncio.sleep(0)
        askers[0].cancel()
        http.go_on.set()
    assert len(http.sent) == 1
    assert len({id(asker.result()) for asker in askers[1:]}) == 1


@pytest.mark.parametrize("status", [204, 304, 400, 401, 404, 500, 503])
async def test_only_a_success_is_kept(make_rig: MakeRig, status: int) -> None:
    lists = Lists(make_rig, lambda _: json_response({"data": []}, status=status))
    for expected in (1, 2):
        assert (await lists.get()).status == status
        assert lists.asked == expected


@pytest.mark.parametrize(
    ("failure", "status"), [(UpstreamUnreachableError("canary"), 503), (UpstreamTimeoutError("canary"), 504)]
)
async def test_a_gateway_that_gives_no_answer_is_asked_again(
    make_rig: MakeRig, failure: UpstreamError, status: int
) -> None:
    def server(_request: SentRequest) -> FakeResponse:
        raise failure

    lists = Lists(make_rig, server)
    for expected in (1, 2):
        with pytest.raises(ApiError) as caught:
            await lists.get()
        assert caught.value.status == status
        assert "canary" not in caught.value.message
        assert lists.asked == expected


async def test_a_list_that_is_too_long_to_keep_is_streamed(make_rig: MakeRig) -> None:
    body = b" " * (MAX_WHOLE_ANSWER + 1)
    lists = Lists(make_rig, lambda _: FakeResponse(200, [(b"content-length", b"%d" % len(body))], [body]))
    for expected in (1, 2):
        assert (await lists.get()).body == body
        assert lists.asked == expected


async def test_the_lists_of_a_bounded_number_of_keys_are_kept_and_the_oldest_goes_first(make_rig: MakeRig) -> None:
    lists = Lists(make_rig)
    for n in [*range(MAX_KEYS + 1), *range(1, MAX_KEYS + 1)]:
        await lists.get(str(n))
    assert lists.asked == MAX_KEYS + 1
    await lists.get("0")
    assert lists.asked == MAX_KEYS + 2


async def test_one_model_is_always_asked_for(make_rig: MakeRig) -> None:
    lists = Lists(make_rig, lambda _: json_response({"id": "org/chat"}))
    for expected in (1, 2):
        await lists.rig.proxy.retrieve_model("org%2Fchat", [])
        assert lists.asked == expected
    assert lists.http.sent[0].url == f"{GATEWAY}/v1/models/org%2Fchat"


@pytest.mark.parametrize("kind", [b"text/html", b"image/svg+xml", b"application/json; charset=utf-8", None])
async def test_a_list_is_never_a_page_in_a_browser(make_rig: MakeRig, kind: bytes | None) -> None:
    headers = [] if kind is None else [(b"content-type", kind)]
    page = FakeResponse(200, [*headers, (b"set-cookie", b"a=b"), (b"content-length", b"9")], [b"<script/>"])
    reply = await make_rig(http=FakeHttpClient(lambda _: page)).proxy.retrieve_model("m", [])
    assert isinstance(reply, Reply)
    expected = [(b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff")]
    assert sorted(reply.headers) == expected
