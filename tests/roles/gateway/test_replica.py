"""models-api.md item 4: one inference proxy, as the gateway sees it."""

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest

from privity.catalogue.model import Model
from privity.errors import UpstreamTimeoutError, UpstreamUnreachableError
from privity.http import header
from privity.roles.gateway import replica as replica_module
from privity.roles.gateway.health import FALL
from privity.roles.gateway.replica import POLL_TIMEOUT, Replica
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest
from privity.testing.gateway_rig import FakeReplicas, Says, full_answer

URL = "http://a"
CHAT = Model("org/chat", ("generate",), 1, "org", ("chat",))


def one(says: Says) -> tuple[Replica, FakeReplicas]:
    return Replica(URL, lambda: 5.0), FakeReplicas({URL: says})


async def test_it_is_asked_for_whole_records_and_says_what_it_serves() -> None:
    replica, peer = one([CHAT])
    assert (replica.serves, replica.was_heard) == ((), False)
    await replica.poll(peer.http)
    assert (replica.serves, replica.was_heard, replica.health.last_heard) == ((CHAT,), True, 5.0)
    (sent,) = peer.http.sent
    assert (sent.url, sent.head_timeout) == (f"{URL}/v1/models?detail=full", POLL_TIMEOUT)
    assert replica.find("org/chat") == CHAT
    assert replica.find("chat") is None


async def test_a_list_that_is_known_is_not_sent_again() -> None:
    replica, peer = one([CHAT])
    for _ in range(3):
        await replica.poll(peer.http)
        assert replica.serves == (CHAT,)
    assert [answer.status for answer in peer.http.answers] == [200, 304, 304]
    assert header(peer.http.sent[-1].headers, b"if-none-match") == header(peer.http.answers[0].headers, b"etag")
    peer.says[URL] = []
    await replica.poll(peer.http)
    assert (replica.serves, replica.known) == ((), (CHAT,))
    assert [list(replica.knew(name)) for name in ("org/chat", "chat", "other")] == [[CHAT], [CHAT], []]


async def test_models_that_can_do_nothing_or_take_no_new_requests_are_not_served() -> None:
    other = replace(CHAT, id="other", aliases=())
    replica, peer = one([replace(CHAT, status="draining"), replace(other, tasks=())])
    await replica.poll(peer.http)
    assert (replica.serves, replica.known, replica.was_heard) == ((), (), True)


async def test_what_drains_serves_nothing_and_is_still_known() -> None:
    replica, peer = one([CHAT])
    await replica.poll(peer.http)
    replica.drains = True
    assert (replica.serves, replica.find("org/chat"), replica.known) == ((), None, (CHAT,))
    replica.drains = False
    assert replica.serves == (CHAT,)


async def test_a_list_that_begins_and_does_not_end_is_a_look_that_timed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stalled(FakeResponse):
        async def read(self, limit: int) -> bytes:
            await asyncio.Event().wait()
            return bytes(limit)

    def answer(_request: SentRequest) -> FakeResponse:
        return Stalled(200, [], [])

    monkeypatch.setattr(replica_module, "POLL_TIMEOUT", 0)
    replica, http = Replica(URL, lambda: 0), FakeHttpClient(answer)
    await replica.poll(FakeHttpClient(lambda _: full_answer([CHAT])))
    monkeypatch.setattr(replica_module, "POLL_TIMEOUT", 0.001)
    await replica.poll(http)
    assert http.answers[0].closed
    assert replica.health.status(0) == "unknown"


@pytest.mark.parametrize(
    ("says", "problem"),
    [
        (UpstreamUnreachableError("refused"), "refused"),
        (UpstreamTimeoutError("late"), "it doesn't say in time what it serves"),
        (FakeResponse(500, [], []), "its model list has the status 500"),
        (FakeResponse(200, [], [b"{}"]), "not an answer about models"),
    ],
    ids=str,
)
async def test_a_problem_that_stays_is_logged_once(says: Says, problem: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    replica, peer = one(says)
    await replica.poll(peer.http)
    assert caplog.records == []
    for _ in range(FALL + 2):
        await replica.poll(peer.http)
    (record,) = caplog.records
    logged: dict[str, Any] = vars(record)
    assert (logged["replica"], logged["problem"]) == (URL, problem)
    assert not replica.health.is_up
