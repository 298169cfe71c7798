import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from privity.errors import (
    ApiError,
    OutgoingProxyError,
    UnauthorizedError,
    UnavailableError,
    UntrustedPeerError,
    UpstreamUnreachableError,
)
from privity.http import header
from privity.protocol.mesh import INFERENCE_PROXY, SECRET_SERVICE, Identity, MeshCa
from privity.roles.proxy.agreements import (
    ATTEMPTS,
    LAST_USE_SECONDS,
    LOOK_SECONDS,
    REFUSED_SECONDS,
    RENEWAL_SECONDS,
    RETRY_SECONDS,
)
from privity.roles.proxy.api_key import LOOK_SECONDS as LOOK_AT_KEY
from privity.testing.fake_deployment import NOW, FakeDeployment, plain_error
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest
from privity.testing.proxy_rig import CHAT, Rig, SlowHttpClient
from privity.transport.tasks import Background

MakeRig = Callable[..., Rig]
BODY = b'{"model": "m", "messages": []}'
OUR_KEY = b"Bearer our-key"
HIS_KEY = b"Bearer his-key"
NEW_KEY = b"Bearer new-key"


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110  # what is waited for has no event
        await asyncio.sleep(0)


def exchanges(rig: Rig) -> list[SentRequest]:
    return [each for each in rig.http.sent if each.url.endswith("/privatemode/v1/secret")]


async def ask(rig: Rig, key: bytes | None = None) -> int:
    return (await rig.ask(CHAT, BODY, *([] if key is None else [(b"authorization", key)]))).status


# Keys


async def test_without_a_key_it_agrees_where_none_is_needed(make_rig: MakeRig) -> None:
    rig = make_rig()
    await ask(rig)
    assert [header(each.headers, b"authorization") for each in rig.http.sent] == [None, None]


async def test_the_configured_key_goes_with_everything(make_rig: MakeRig) -> None:
    rig = make_rig(api_key="our-key")
    rig.deployment.keys = {OUR_KEY}
    await ask(rig, HIS_KEY)
    assert [header(each.headers, b"authorization") for each in rig.http.sent] == [OUR_KEY, OUR_KEY]


async def test_the_first_key_that_works_is_adopted(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.deployment.keys = {OUR_KEY}
    for key in (None, HIS_KEY, None):
        with pytest.raises(UnauthorizedError):
            await ask(rig, key)
    assert await ask(rig, OUR_KEY) == 200
    assert await ask(rig) == 200
    assert header(rig.sent[-1].headers, b"authorization") == OUR_KEY
    assert len(rig.sent) == 2


async def test_an_x_api_key_is_adopted_as_a_key(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.deployment.keys = {OUR_KEY}
    answered = await rig.ask(CHAT, BODY, (b"x-api-key", b"our-key"))
    assert answered.status == 200
    assert [header(each.headers, b"x-api-key") for each in rig.http.sent] == [None, None]


async def test_an_app_that_has_a_key_of_its_own_pays_for_itself(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.deployment.keys = {OUR_KEY, HIS_KEY}
    await ask(rig, OUR_KEY)
    await ask(rig, HIS_KEY)
    await ask(rig)
    assert [header(each.headers, b"authorization") for each in rig.sent] == [OUR_KEY, HIS_KEY, OUR_KEY]


async def test_once_it_is_known_that_a_key_is_needed_nobody_asks_without_one(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.deployment.keys = set()
    for _ in range(3):
        with pytest.raises(UnauthorizedError) as caught:
            await ask(rig)
        assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    assert len(exchanges(rig)) == 1


async def test_a_key_that_is_refused_is_not_tried_again_by_itself(make_rig: MakeRig) -> None:
    rig = make_rig(api_key="our-key")
    rig.deployment.keys = set()
    with pytest.raises(UnauthorizedError):
        await ask(rig)
    assert (len(exchanges(rig)), rig.time.pauses, rig.sent) == (1, [], [])


async def test_an_adopted_key_is_dropped_when_the_gateway_refuses_it_later(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.deployment.keys = {OUR_KEY}
    await ask(rig, OUR_KEY)
    rig.deployment.keys = {HIS_KEY}
    assert await ask(rig) == 401
    assert await ask(rig) == 401
    assert [header(each.headers, b"authorization") for each in rig.sent] == [OUR_KEY, OUR_KEY, None]
    assert await ask(rig, HIS_KEY) == 200


async def test_anothers_refused_key_does_not_drop_the_adopted_one(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.deployment.keys = {OUR_KEY}
    await ask(rig, OUR_KEY)
    assert await ask(rig, HIS_KEY) == 401
    assert await ask(rig) == 200


async def test_a_waiters_bad_key_is_not_anothers_fault(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.deployment.keys = {OUR_KEY}
    results = await asyncio.gather(ask(rig, HIS_KEY), ask(rig, OUR_KEY), return_exceptions=True)
    assert isinstance(results[0], UnauthorizedError)
    assert results[1] == 200


# Keys in files


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    put(path, "our-key\n")
    return path


def put(path: Path, key: str) -> None:
    path.write_text(key)


async def test_a_key_that_was_replaced_goes_with_the_requests_of_the_next_second(
    make_rig: MakeRig, key_file: Path
) -> None:
    rig = make_rig(api_key=key_file)
    for key, seconds in (("our-key", 0.0), ("new-key", LOOK_AT_KEY - 0.1), ("new-key", 0.1)):
        put(key_file, key)
        rig.time.move(seconds)
        await ask(rig, HIS_KEY)
    assert [header(each.headers, b"authorization") for each in rig.sent] == [OUR_KEY, OUR_KEY, NEW_KEY]


async def test_a_refused_key_that_was_replaced_is_asked_with_anew_at_once(make_rig: MakeRig, key_file: Path) -> None:
    rig = make_rig(api_key=key_file)
    await ask(rig)
    put(key_file, "new-key")
    rig.deployment.keys = {NEW_KEY}
    assert await ask(rig) == 200
    assert [header(each.headers, b"authorization") for each in rig.sent] == [OUR_KEY, OUR_KEY, NEW_KEY]
    assert len({each.body for each in rig.sent}) == 3  # each with a nonce of its own
    assert rig.time.pauses == []


async def test_a_key_that_was_replaced_before_the_first_agreement_is_agreed_with_at_once(
    make_rig: MakeRig, key_file: Path
) -> None:
    rig = make_rig(api_key=key_file)
    put(key_file, "new-key")
    rig.deployment.keys = {NEW_KEY}
    assert await ask(rig) == 200
    assert [header(each.headers, b"authorization") for each in exchanges(rig)] == [OUR_KEY, NEW_KEY]
    assert rig.time.pauses == []


async def test_a_refused_key_that_is_still_in_its_file_is_refused_once(make_rig: MakeRig, key_file: Path) -> None:
    rig = make_rig(api_key=key_file)
    await ask(rig)
    rig.deployment.keys = set()
    assert await ask(rig) == 401
    assert len(rig.sent) == 2


async def test_a_file_that_changes_each_time_it_is_read_ends_in_a_refusal(make_rig: MakeRig, key_file: Path) -> None:
    deployment = FakeDeployment()
    refuses: list[SentRequest] = []

    def server(request: SentRequest) -> FakeResponse:
        if not refuses:
            return deployment.server(request)
        refuses.append(request)
        put(key_file, f"key-{len(refuses)}")
        return plain_error(401, "invalid API key")

    rig = make_rig(deployment, http=FakeHttpClient(server), api_key=key_file)
    await ask(rig)
    refuses.append(rig.sent[0])
    assert await ask(rig) == 401
    assert len(rig.sent) == 3
    rig.agreements.forget(next(iter(rig.deployment.secrets)))
    with pytest.raises(UnauthorizedError):
        await ask(rig)
    assert (len(exchanges(rig)), rig.time.pauses) == (1 + ATTEMPTS, [])


# Failures


async def test_a_failure_is_tried_four_times_a_second_apart(make_rig: MakeRig) -> None:
    def server(_request: SentRequest) -> FakeResponse:
        raise UpstreamUnreachableError("canary")

    rig = make_rig(http=FakeHttpClient(server))
    with pytest.raises(UnavailableError) as caught:
        await ask(rig)
    assert (len(rig.http.sent), rig.time.pauses) == (ATTEMPTS, [RETRY_SECONDS] * (ATTEMPTS - 1))
    assert "canary" not in caught.value.message
    assert len({each.body for each in rig.http.sent}) == ATTEMPTS  # a fresh public key each time
    assert not any(each.repeat for each in rig.http.sent)


@pytest.mark.parametrize(
    "error", [OutgoingProxyError("the outgoing proxy http://p refuses."), UntrustedPeerError("its certificate is old.")]
)
async def test_what_a_person_must_put_right_is_said(make_rig: MakeRig, error: UpstreamUnreachableError) -> None:
    def server(_request: SentRequest) -> FakeResponse:
        raise error

    with pytest.raises(UnavailableError, match=f"The gateway can't be reached: {error}"):
        await ask(make_rig(http=FakeHttpClient(server)))


@pytest.mark.parametrize("failures", [1, ATTEMPTS - 1])
async def test_a_later_attempt_succeeds(make_rig: MakeRig, failures: int) -> None:
    deployment = FakeDeployment()
    responses = iter([plain_error(503, "not now")] * failures)
    rig = make_rig(deployment, http=FakeHttpClient(lambda request: next(responses, None) or deployment.server(request)))
    assert await ask(rig) == 200
    assert rig.time.pauses == [RETRY_SECONDS] * failures


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""), (200, b"{}"), (200, b"null"), (200, b"[" * 100_000), (200, b"\xff"), (204, b""), (307, b""),
        (200, b'{"EncapsulatedKey":"","Signature":"","MeshCert":""}'),
        (200, b'{"EncapsulatedKey":"%","Signature":"AA==","MeshCert":"AA=="}'),
        (200, b" " * 70_000), (403, b"canary"), (500, b"canary"),
    ],
)  # fmt: skip
async def test_whatever_else_comes_back_is_a_clean_error(make_rig: MakeRig, status: int, body: bytes) -> None:
    rig = make_rig(http=FakeHttpClient(lambda _: FakeResponse(status, [], [body])))
    with pytest.raises(UnavailableError) as caught:
        await ask(rig)
    assert "canary" not in caught.value.message
    assert rig.sent == []


@pytest.mark.parametrize(
    "identity",
    [
        lambda _: MeshCa.create(NOW).issue(SECRET_SERVICE, NOW),  # of the same name
        lambda deployment: deployment.ca.issue(INFERENCE_PROXY, NOW),
        lambda deployment: deployment.ca.issue("gateway", NOW),
        lambda deployment: deployment.ca.issue(SECRET_SERVICE, NOW - timedelta(days=366)),
        lambda deployment: deployment.ca.issue(SECRET_SERVICE, NOW + timedelta(days=1)),
        lambda deployment: Identity(deployment.identity.certificate, FakeDeployment().identity.key),
        lambda deployment: Identity(deployment.ca.certificate, deployment.ca._key),  # noqa: SLF001
    ],
    ids=[
        "another CA",
        "another role",
        "the gateway",
        "expired",
        "not valid yet",
        "a forged signature",
        "the CA itself",
    ],
)
async def test_a_deployment_that_is_not_the_trusted_one_gets_nothing(
    make_rig: MakeRig, identity: Callable[[FakeDeployment], Identity]
) -> None:
    rig = make_rig()
    rig.deployment.identity = identity(rig.deployment)
    with pytest.raises(UnavailableError) as caught:
        await ask(rig)
    assert (caught.value.status, caught.value.code) == (503, "deployment_not_verified")
    assert rig.sent == []


async def test_the_response_of_an_earlier_exchange_is_refused(make_rig: MakeRig) -> None:
    deployment = FakeDeployment()
    responses: list[FakeResponse] = []

    def server(request: SentRequest) -> FakeResponse:
        if responses and request.url.endswith("/secret"):
            return responses[0]
        responses.append(deployment.server(request))
        return responses[-1]

    rig = make_rig(deployment, http=FakeHttpClient(server))
    await ask(rig)
    rig.agreements.forget(next(iter(deployment.secrets)))
    with pytest.raises(ApiError) as caught:
        await ask(rig)
    assert caught.value.code == "deployment_not_verified"
    assert len(rig.sent) == 1


# Many at once


def slow(make_rig: MakeRig) -> tuple[Rig, asyncio.Event]:
    deployment = FakeDeployment()
    http = SlowHttpClient(deployment.server)
    return make_rig(deployment, http=http), http.go_on


async def test_hundreds_that_wait_share_one_exchange(make_rig: MakeRig) -> None:
    rig, go_on = slow(make_rig)
    async with asyncio.TaskGroup() as group:
        askers = [group.create_task(ask(rig)) for _ in range(300)]
        await asyncio.sleep(0)
        go_on.set()
    assert [each.result() for each in askers] == [200] * 300
    assert rig.deployment.agreements == 1


async def test_one_that_leaves_does_not_hurt_those_that_wait(make_rig: MakeRig) -> None:
    rig, go_on = slow(make_rig)
    async with asyncio.TaskGroup() as group:
        leaving = group.create_task(ask(rig))
        staying = group.create_task(ask(rig))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
        go_on.set()
    assert leaving.cancelled()
    assert staying.result() == 200
    assert rig.deployment.agreements == 1


# Age


@pytest.mark.parametrize(
    ("wall", "steady", "agreements"),
    [
        (LAST_USE_SECONDS - 1, LAST_USE_SECONDS - 1, 1),
        (LAST_USE_SECONDS, 0, 2),
        (0, LAST_USE_SECONDS, 2),
        (-1800, LAST_USE_SECONDS, 2),
        (-1800, 60, 1),
        (8 * 3600, 1, 2),
    ],
    ids=["in time", "clock put forward", "clock stopped", "clock set back", "clock set back in time", "slept"],
)
async def test_a_secret_that_is_too_old_by_either_clock_is_not_used(
    make_rig: MakeRig, wall: float, steady: float, agreements: int
) -> None:
    rig = make_rig()
    await ask(rig)
    rig.time.wall += wall
    rig.time.steady += steady
    assert await ask(rig) == 200
    assert rig.deployment.agreements == agreements


async def test_it_agrees_at_the_start_and_renews_15_minutes_early(make_rig: MakeRig, background: Background) -> None:
    rig = make_rig(api_key="our-key")
    started = rig.time.wall
    background.start(rig.agreements.keep_fresh(), "renewal")
    await until(lambda: rig.deployment.agreements == 1)
    assert rig.time.wall == started
    await until(lambda: rig.deployment.agreements == 2)
    assert RENEWAL_SECONDS <= rig.time.wall - started <= RENEWAL_SECONDS + LOOK_SECONDS
    await ask(rig)
    assert rig.deployment.agreements == 2


@pytest.mark.parametrize(("wall", "steady"), [(8 * 3600, 0), (-1800, RENEWAL_SECONDS)], ids=["slept", "set back"])
async def test_it_renews_within_seconds_after_a_jump_of_the_clock(
    make_rig: MakeRig, background: Background, wall: float, steady: float
) -> None:
    rig = make_rig()
    background.start(rig.agreements.keep_fresh(), "renewal")
    await until(lambda: rig.deployment.agreements == 1)
    rig.time.wall += wall
    rig.time.steady += steady
    jumped = rig.time.steady
    await until(lambda: rig.deployment.agreements == 2)
    assert rig.time.steady - jumped <= 2 * LOOK_SECONDS


async def test_a_secret_is_used_while_it_can_not_be_renewed(make_rig: MakeRig, background: Background) -> None:
    rig = make_rig()
    await ask(rig)
    rig.deployment.keys = set()
    rig.time.steady += RENEWAL_SECONDS
    background.start(rig.agreements.keep_fresh(), "renewal")
    await until(lambda: len(exchanges(rig)) == 2)
    rig.deployment.keys = None
    assert await ask(rig) == 200
    assert rig.sent[0].body != rig.sent[1].body
    ids = [header(each.headers, b"privatemode-secret-id") for each in rig.sent]
    assert ids[0] == ids[1]


async def test_without_any_key_the_start_is_tried_once_and_the_first_key_makes_it_renew(
    make_rig: MakeRig, background: Background
) -> None:
    rig = make_rig()
    rig.deployment.keys = {OUR_KEY}
    background.start(rig.agreements.keep_fresh(), "renewal")
    await until(lambda: len(rig.time.pauses) > 20)
    assert len(exchanges(rig)) == 1
    assert await ask(rig, OUR_KEY) == 200
    await until(lambda: rig.deployment.agreements == 2)
    assert header(exchanges(rig)[-1].headers, b"authorization") == OUR_KEY


async def test_a_secret_that_is_forgotten_is_agreed_on_anew_and_another_one_is_not(make_rig: MakeRig) -> None:
    rig = make_rig()
    held = (await rig.agreements.current(None)).secret.id
    rig.agreements.forget("another")
    assert (await rig.agreements.current(None)).secret.id == held
    rig.agreements.forget(held)
    assert (await rig.agreements.current(None)).secret.id != held


async def test_the_certificate_says_whether_the_end_is_authenticated(make_rig: MakeRig) -> None:
    for says in (True, False):
        rig = make_rig(FakeDeployment(authenticates_end=says))
        assert (await rig.agreements.current(None)).authenticates_end is says


async def test_a_refused_key_is_not_tried_every_few_seconds(make_rig: MakeRig, background: Background) -> None:
    rig = make_rig(api_key="wrong")
    rig.deployment.keys = {OUR_KEY}
    background.start(rig.agreements.keep_fresh(), "renewal")
    await until(lambda: len(rig.time.pauses) > 3)
    assert set(rig.time.pauses) == {REFUSED_SECONDS}
