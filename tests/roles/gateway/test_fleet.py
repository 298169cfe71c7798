import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from privity.catalogue.model import Model
from privity.errors import (
    ModelNotFoundError,
    UnavailableError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from privity.roles.gateway.fleet import POLL_TIMEOUT, TIMEOUTS_UNTIL_DOWN, Fleet
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, json_response

CHAT = Model("org/chat", ("generate",), 1, "org", ("chat",), 2048)
EMBED = Model("org/embed", ("embed",), 2, "org", ("embed",))
A, B = "http://a", "http://b"


class Proxies:
    """Inference proxies, and what each of them says."""

    def __init__(self, **says: object) -> None:
        self.says = says
        self.http = FakeHttpClient(self._answer)
        self.fleet = Fleet((f"http://{name}" for name in says), self.http)

    def _answer(self, request: SentRequest) -> FakeResponse:
        said = self.says[request.url.removeprefix("http://").partition("/")[0]]
        if isinstance(said, UpstreamError):
            raise said
        if isinstance(said, FakeResponse):
            return said
        return models(*said) if isinstance(said, tuple) else json_response(said)

    async def poll(self) -> None:
        for replica in self.fleet.replicas:
            await self.fleet.poll(replica)

    @property
    def ids(self) -> list[str]:
        return list(self.fleet.catalogue.by_id)


def models(*listed: Model) -> FakeResponse:
    return json_response({"object": "list", "data": [model.row(each) for model in listed for each in model.ids]})


async def test_the_catalogue_holds_what_all_inference_proxies_list() -> None:
    proxies = Proxies(a=(CHAT,), b=(EMBED,))
    assert proxies.ids == []
    await proxies.poll()
    assert proxies.ids == ["org/chat", "chat", "org/embed", "embed"]
    assert proxies.fleet.find("chat") == proxies.fleet.find("org/chat") == CHAT
    assert [(sent.method, sent.url, sent.head_timeout) for sent in proxies.http.sent] == [
        ("GET", f"{A}/v1/models", POLL_TIMEOUT),
        ("GET", f"{B}/v1/models", POLL_TIMEOUT),
    ]
    assert all(answer.closed for answer in proxies.http.answers)


async def test_replicas_of_a_model_are_one_entry_which_stays_while_one_of_them_serves() -> None:
    proxies = Proxies(a=(CHAT,), b=(CHAT,))
    await proxies.poll()
    assert proxies.ids == ["org/chat", "chat"]
    proxies.says["a"] = UpstreamUnreachableError("gone")
    await proxies.poll()
    assert proxies.ids == ["org/chat", "chat"]
    assert proxies.fleet.pick(CHAT).url == B
    proxies.says["b"] = ()
    await proxies.poll()
    assert proxies.ids == []


@pytest.mark.parametrize(("loads", "picked"), [((0, 0), A), ((1, 0), B), ((0, 1), A), ((3, 2), B), ((2, 2), A)])
async def test_the_replica_with_the_least_to_do_is_picked(loads: tuple[int, int], picked: str) -> None:
    proxies = Proxies(a=(CHAT,), b=(CHAT,), c=(EMBED,))
    await proxies.poll()
    for replica, load in zip(proxies.fleet.replicas, loads, strict=False):
        replica.in_flight = load
    assert proxies.fleet.pick(CHAT).url == picked


async def test_a_model_that_nobody_serves_cannot_be_picked() -> None:
    proxies = Proxies(a=(EMBED,))
    await proxies.poll()
    with pytest.raises(UnavailableError, match="org/chat"):
        proxies.fleet.pick(CHAT)


NOT_A_LIST: Mapping[str, object] = {
    "unreachable": UpstreamUnreachableError("gone"),
    "not HTTP": UpstreamProtocolError("garbage"),
    "cut": FakeResponse(200, [], [b'{"data":[', UpstreamProtocolError("cut")]),
    "too long": FakeResponse(200, [], [b" " * (1 << 20)] * 9),
    "not JSON": FakeResponse(200, [], [b"<html>"]),
    "an error": json_response({"error": {"message": "no"}}, status=500),
    "no list": json_response({"data": 5}),
    "rows without IDs": json_response({"data": [{"object": "model"}]}),
}


@pytest.mark.parametrize("says", NOT_A_LIST.values(), ids=NOT_A_LIST)
async def test_the_models_of_a_replica_that_gives_no_list_leave_at_once(says: object) -> None:
    proxies = Proxies(a=(CHAT,), b=(EMBED,))
    await proxies.poll()
    proxies.says["a"] = says
    await proxies.poll()
    assert proxies.ids == ["org/embed", "embed"]
    assert all(answer.closed for answer in proxies.http.answers)
    proxies.says["a"] = (CHAT,)
    await proxies.poll()
    assert proxies.ids == ["org/chat", "chat", "org/embed", "embed"]


async def test_a_replica_that_is_found_lost_is_not_picked_before_it_answers_a_poll() -> None:
    proxies = Proxies(a=(CHAT,))
    await proxies.poll()
    proxies.fleet.lost(proxies.fleet.pick(CHAT))
    assert proxies.ids == []
    with pytest.raises(UnavailableError):
        proxies.fleet.pick(CHAT)
    await proxies.poll()
    assert proxies.fleet.pick(CHAT).url == A


async def test_models_stay_until_several_polls_in_a_row_have_timed_out() -> None:
    proxies = Proxies(a=(CHAT,))
    await proxies.poll()
    for _ in range(2):
        proxies.says["a"] = UpstreamTimeoutError("late")
        for _ in range(TIMEOUTS_UNTIL_DOWN - 1):
            await proxies.poll()
            assert proxies.ids == ["org/chat", "chat"]
        proxies.says["a"] = (CHAT,)  # an answer begins the count anew
        await proxies.poll()
    proxies.says["a"] = UpstreamTimeoutError("late")
    for _ in range(TIMEOUTS_UNTIL_DOWN):
        await proxies.poll()
    assert proxies.ids == []


@pytest.mark.parametrize("asked", ["org/chat", "chat"])
async def test_a_model_that_was_there_is_unavailable_and_not_unknown(asked: str) -> None:
    proxies = Proxies(a=(CHAT,), b=(EMBED,))
    await proxies.poll()
    proxies.says["a"] = ()
    await proxies.poll()
    with pytest.raises(UnavailableError, match=asked) as caught:
        proxies.fleet.find(asked)
    assert (caught.value.status, caught.value.param) == (503, "model")
    assert [name for name, _ in caught.value.headers] == [b"retry-after"]


async def test_an_unknown_model_is_an_error_that_names_the_nearest_ones() -> None:
    proxies = Proxies(a=(CHAT,), b=(EMBED,))
    await proxies.poll()
    with pytest.raises(ModelNotFoundError, match=r"`org/chatt` does not exist\. Nearest: `org/chat`") as caught:
        proxies.fleet.find("org/chatt")
    assert caught.value.status == 404


async def test_of_two_models_that_claim_one_id_the_first_has_it_and_both_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rival = Model("other/chat", ("generate",), 3, "other", ("chat",))
    proxies = Proxies(a=(CHAT,), b=(rival, EMBED))
    await proxies.poll()
    assert proxies.ids == ["org/chat", "chat", "org/embed", "embed"]
    assert proxies.fleet.find("chat") == CHAT
    (record,) = caplog.records
    logged: dict[str, Any] = vars(record)
    assert record.levelno == logging.ERROR
    assert (logged["id"], logged["kept"], logged["left_out"]) == ("chat", "org/chat", "other/chat")
    await proxies.poll()
    assert len(caplog.records) == 1, "an unchanged fleet logs nothing anew"


async def test_when_the_first_of_two_rivals_leaves_the_other_has_the_id() -> None:
    rival = Model("other/chat", ("generate",), 3, "other", ("chat",))
    proxies = Proxies(a=(CHAT,), b=(rival,))
    await proxies.poll()
    proxies.says["a"] = ()
    await proxies.poll()
    assert proxies.ids == ["other/chat", "chat"]


async def test_polls_that_overlap_do_not_disturb_each_other() -> None:
    proxies = Proxies(a=(CHAT,), b=(EMBED,))
    await asyncio.gather(*(proxies.fleet.poll(replica) for replica in proxies.fleet.replicas * 3))
    assert sorted(proxies.ids) == ["chat", "embed", "org/chat", "org/embed"]


async def test_a_model_may_be_one_of_a_replica_that_was_never_heard() -> None:
    proxies = Proxies(a=(CHAT,), b=UpstreamUnreachableError("refused"))
    await proxies.poll()
    with pytest.raises(UnavailableError, match="not all inference proxies could be asked yet"):
        proxies.fleet.find("org/embed")
    proxies.says["b"] = ()
    await proxies.poll()
    with pytest.raises(ModelNotFoundError):
        proxies.fleet.find("org/embed")


async def test_a_replica_that_can_not_be_used_is_logged_once_when_it_stays_so(caplog: pytest.LogCaptureFixture) -> None:
    proxies = Proxies(a=UpstreamUnreachableError("its certificate is not one of ours"))
    await proxies.poll()
    assert caplog.records == []
    for _ in range(3):
        await proxies.poll()
    (record,) = caplog.records
    assert (record.levelname, record.__dict__["problem"]) == ("WARNING", "its certificate is not one of ours")
