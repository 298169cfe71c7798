"""Look-ups of secrets against secret services in memory."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from privity.errors import (
    UnavailableError,
    UnknownSecretError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamUnreachableError,
)
from privity.protocol.secret import LIFETIME_SECONDS, Secret
from privity.roles.inference_proxy import secrets as module
from privity.roles.inference_proxy.secrets import Secrets
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, json_response
from privity.transport.tasks import Background

ONE, TWO, THREE = "https://one:8084", "https://two:8084", "https://three:8084"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Mesh(FakeHttpClient):
    """Secret services: each has secrets, fails in its own way, or lets everybody wait."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.held: dict[str, dict[str, object]] = {ONE: {}, TWO: {}}
        self.instead: dict[str, FakeResponse | UpstreamError] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    def put(self, secret: Secret, expires_in: object = 3600.0, at: str = ONE) -> None:
        key = base64.b64encode(secret.key).decode()
        self.held[at][secret.id] = {"key": key, "expires_in": expires_in}

    @property
    def asked(self) -> list[str]:
        return [each.url.removesuffix("/secrets") for each in self.sent]

    async def request(self, method: str, url: str, **options: Any) -> FakeResponse:
        response = await super().request(method, url, **options)
        await self.gate.wait()
        return response

    def _answer(self, request: SentRequest) -> FakeResponse:
        assert (request.method, request.url[-8:]) == ("POST", "/secrets")
        service = request.url.removesuffix("/secrets")
        instead = self.instead.get(service)
        if isinstance(instead, UpstreamError):
            raise instead
        found = self.held[service].get(request.json()["id"])
        return instead or (json_response(found) if found is not None else json_response({}, 404))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def mesh() -> Mesh:
    return Mesh()


@pytest.fixture
async def secrets(mesh: Mesh, clock: Clock) -> AsyncIterator[Secrets]:
    async with Background() as background:
        yield Secrets(mesh, (ONE, TWO), background, clock)


def secret(number: int = 0) -> Secret:
    return Secret(base64.b64encode(number.to_bytes(32)).decode(), bytes([65 + number % 26]) * 32)


async def test_a_secret_is_looked_up_once(mesh: Mesh, secrets: Secrets) -> None:
    mesh.put(secret())
    for _ in range(3):
        assert await secrets.find(secret().id) == secret()
    assert mesh.asked == [ONE]
    assert all(each.closed for each in mesh.answers)


async def test_each_id_has_its_own_secret(mesh: Mesh, secrets: Secrets) -> None:
    for number in range(5):
        mesh.put(secret(number))
    for number in (*range(5), *range(5)):
        assert await secrets.find(secret(number).id) == secret(number)
    assert len(mesh.sent) == 5


@pytest.mark.parametrize("expires_in", [10, 10.0])
async def test_a_secret_is_forgotten_when_it_ends(
    mesh: Mesh, secrets: Secrets, clock: Clock, expires_in: float
) -> None:
    mesh.put(secret(), expires_in)
    await secrets.find(secret().id)
    clock.now += 9.9
    await secrets.find(secret().id)
    assert len(mesh.sent) == 1
    mesh.held[ONE].clear()
    clock.now += 0.1
    with pytest.raises(UnknownSecretError):
        await secrets.find(secret().id)


async def test_nobody_keeps_a_secret_for_longer_than_its_lifetime(mesh: Mesh, secrets: Secrets, clock: Clock) -> None:
    mesh.put(secret(), 1e12)
    await secrets.find(secret().id)
    clock.now += LIFETIME_SECONDS
    await secrets.find(secret().id)
    assert len(mesh.sent) == 2


async def test_the_time_of_the_look_up_is_not_added_to_a_lifetime(mesh: Mesh, secrets: Secrets, clock: Clock) -> None:
    mesh.put(secret(), 10)
    mesh.gate.clear()
    looking = asyncio.get_running_loop().create_task(secrets.find(secret().id))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    clock.now += 4
    mesh.gate.set()
    assert await looking == secret()
    clock.now += 6
    await secrets.find(secret().id)
    assert len(mesh.sent) == 2


async def test_an_unknown_secret_is_asked_for_again_each_time(mesh: Mesh, secrets: Secrets) -> None:
    with pytest.raises(UnknownSecretError, match=f'^no secret for ID "{secret().id}"$'):
        await secrets.find(secret().id)
    mesh.put(secret())
    assert await secrets.find(secret().id) == secret()


async def test_the_cache_is_bounded(mesh: Mesh, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(module, "MAX_CACHED", 3)
    async with Background() as background:
        secrets = Secrets(mesh, (ONE,), background, clock)
        for number in range(4):
            mesh.put(secret(number))
            await secrets.find(secret(number).id)
            clock.now += 1
        for number in (3, 2, 1):
            await secrets.find(secret(number).id)
        assert len(mesh.sent) == 4
        await secrets.find(secret(0).id)
        assert len(mesh.sent) == 5


# One look-up at a time


async def start(secrets: Secrets, count: int) -> list[asyncio.Task[Secret]]:
    tasks = [asyncio.get_running_loop().create_task(secrets.find(secret().id)) for _ in range(count)]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_all_who_wait_for_a_secret_wait_for_one_look_up(mesh: Mesh, secrets: Secrets) -> None:
    mesh.put(secret())
    mesh.gate.clear()
    waiting = await start(secrets, 5)
    mesh.gate.set()
    assert await asyncio.gather(*waiting) == [secret()] * 5
    assert len(mesh.sent) == 1


@pytest.mark.parametrize("who", [0, 1, 4])
async def test_one_who_leaves_takes_the_look_up_from_nobody(mesh: Mesh, secrets: Secrets, who: int) -> None:
    mesh.put(secret())
    mesh.gate.clear()
    waiting = await start(secrets, 5)
    leaving = waiting.pop(who)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    mesh.gate.set()
    assert await asyncio.gather(*waiting) == [secret()] * 4
    assert len(mesh.sent) == 1


async def test_a_look_up_that_everybody_left_still_fills_the_cache(mesh: Mesh, secrets: Secrets) -> None:
    mesh.put(secret())
    mesh.gate.clear()
    (only,) = await start(secrets, 1)
    only.cancel()
    mesh.gate.set()
    assert await secrets.find(secret().id) == secret()
    assert len(mesh.sent) == 1


async def test_all_who_wait_hear_of_a_failure_and_the_next_one_asks_anew(
    mesh: Mesh, secrets: Secrets, caplog: pytest.LogCaptureFixture
) -> None:
    mesh.gate.clear()
    waiting = await start(secrets, 3)
    mesh.gate.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in found] == [UnknownSecretError] * 3
    assert len(mesh.sent) == 2  # both services, once
    mesh.put(secret())
    assert await secrets.find(secret().id) == secret()
    assert caplog.records == []


# Services that fail

BROKEN: dict[str, FakeResponse | UpstreamError] = {
    "unreachable": UpstreamUnreachableError("no connection"),
    "an error": json_response({"error": {}}, 503),
    "a redirect": json_response({}, 307),
    "not JSON": FakeResponse(200, [], [b"secret-canary"]),
    "not UTF-8": FakeResponse(200, [], [b'{"key": "\xff"}']),
    "nesting": FakeResponse(200, [], [b'{"a":' + b"[" * 3000]),
    "no key": json_response({"expires_in": 1}),
    "no time": json_response({"key": "QUFB"}),
    "a short key": json_response({"key": base64.b64encode(b"a" * 31).decode(), "expires_in": 1}),
    "not base64": json_response({"key": "secret-canary", "expires_in": 1}),
    "too long": FakeResponse(200, [], [b" " * 5000]),
    "cut": FakeResponse(200, [], [b"{", UpstreamProtocolError("cut")]),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
async def test_the_next_service_is_asked_where_one_is_broken(
    mesh: Mesh, secrets: Secrets, broken: FakeResponse | UpstreamError, caplog: pytest.LogCaptureFixture
) -> None:
    mesh.instead[ONE] = broken
    mesh.put(secret(), at=TWO)
    assert await secrets.find(secret().id) == secret()
    assert mesh.asked == [ONE, TWO]
    assert [each.levelname for each in caplog.records] == ["WARNING"]
    assert "canary" not in caplog.text


async def test_the_next_service_is_asked_where_one_does_not_know(mesh: Mesh, secrets: Secrets) -> None:
    mesh.put(secret(), at=TWO)
    assert await secrets.find(secret().id) == secret()
    assert mesh.asked == [ONE, TWO]


@pytest.mark.parametrize("broken", [ONE, TWO])
async def test_what_the_reachable_ones_do_not_know_is_unknown(mesh: Mesh, secrets: Secrets, broken: str) -> None:
    mesh.instead[broken] = UpstreamUnreachableError("no connection")
    with pytest.raises(UnknownSecretError):
        await secrets.find(secret().id)


async def test_where_none_can_be_reached_it_is_503_until_one_can(mesh: Mesh, secrets: Secrets) -> None:
    mesh.instead = {ONE: UpstreamUnreachableError("no connection"), TWO: UpstreamUnreachableError("no connection")}
    mesh.put(secret())
    with pytest.raises(UnavailableError) as caught:
        await secrets.find(secret().id)
    assert caught.value.status == 503
    mesh.instead.clear()
    assert await secrets.find(secret().id) == secret()


async def test_a_service_that_never_answers_is_given_up(
    mesh: Mesh, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_UP_SECONDS", 0.01)
    mesh.gate.clear()
    with pytest.raises(UnavailableError):
        await secrets.find(secret().id)
    assert mesh.asked == [ONE, TWO]


async def test_a_secret_that_has_just_ended_is_still_good_for_who_asked(mesh: Mesh, secrets: Secrets) -> None:
    mesh.put(secret(), 0)
    assert await secrets.find(secret().id) == secret()
    await secrets.find(secret().id)
    assert len(mesh.sent) == 2


# What is no ID


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("", ""),
        ("A" * 44, "A" * 44),
        ("A" * 43, "A" * 43),
        ("A" * 43 + "=\n", "A" * 43 + "=?"),
        ("-" * 43 + "=", "-" * 43 + "="),
        ('a"b\r\n<é>\x00', "a?b??????"),
        ("x" * 1000, "x" * 64),
        ("\u0661" * 43 + "=", "?" * 43 + "="),
    ],
)
async def test_what_is_no_id_is_unknown_without_a_look_up(mesh: Mesh, secrets: Secrets, given: str, shown: str) -> None:
    with pytest.raises(UnknownSecretError) as caught:
        await secrets.find(given)
    assert caught.value.message == f'no secret for ID "{shown}"'
    assert mesh.sent == []


# What is never shown


async def test_keys_are_in_no_log_and_no_text(mesh: Mesh, secrets: Secrets, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    mesh.put(secret())
    found = await secrets.find(secret().id)
    for text in (repr(secrets), repr(found), caplog.text, repr(vars(secrets))):
        assert "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" not in text.replace(secret().id, "")
