"""The list as a proxy has it: fresh, asked for once, judged, and honest about a gateway that refuses or fails."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from privity.catalogue.catalogue import View
from privity.catalogue.model import Lifecycle, Model
from privity.errors import ApiError, ModelNotFoundError, UpstreamError, UpstreamTimeoutError, UpstreamUnreachableError
from privity.http import Headers, header
from privity.roles.inference_proxy.signing import LIFETIME, RENEWAL
from privity.roles.proxy import config, link
from privity.roles.proxy.models import MAX_KEYS, PAUSE, UPSTREAM_WAIT, VOUCHED_SECONDS
from privity.testing.adversary_models import CHAT, EMBED, MODELS
from privity.testing.fake_deployment import NOW, FakeDeployment
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, json_response
from privity.testing.proxy_rig import GATEWAY, Rig, SlowHttpClient
from privity.transport.models_api.feed import MAX_WAIT
from privity.transport.models_api.source import Retrieved
from privity.transport.web import Reply

MakeRig = Callable[..., Rig]
LIST_SECONDS = 5.0
JSON = (b"content-type", b"application/json")


class Deployment(FakeDeployment):
    """A deployment whose gateway may say something else than it should when models are asked for."""

    def __init__(self, *models: Model, signs: bool = True) -> None:
        super().__init__(authenticates_end=signs)
        self.models = models or MODELS
        self.instead: FakeResponse | UpstreamError | None = None

    def server(self, request: SentRequest) -> FakeResponse:
        if "/v1/models" in request.url and self.instead is not None:
            if isinstance(self.instead, UpstreamError):
                raise self.instead
            return replace_pieces(self.instead)
        return super().server(request)


def replace_pieces(response: FakeResponse) -> FakeResponse:
    return FakeResponse(response.status, response.headers, list(response.pieces))


def bearer(key: str) -> tuple[bytes, bytes]:
    return b"authorization", f"Bearer {key}".encode()


def lists(rig: Rig) -> list[SentRequest]:
    """Return what was asked of the gateway about models."""
    return [each for each in rig.http.sent if "/v1/models" in each.url]


def query(sent: SentRequest) -> dict[str, list[str]]:
    return parse_qs(urlsplit(sent.url).query)


def status(reply: object) -> int:
    return reply.status if isinstance(reply, Reply) else 200


# Freshness


async def test_a_list_is_answered_from_memory_while_it_is_fresh(make_rig: MakeRig) -> None:
    rig = make_rig(Deployment(), list_seconds=LIST_SECONDS)
    first = await rig.view()
    rig.time.move(LIST_SECONDS - 0.01)
    assert await rig.view() is first
    assert len(lists(rig)) == 1
    rig.time.move(0.01)
    await rig.view()
    assert [each.url for each in lists(rig)] == [f"{GATEWAY}/v1/models?detail=full"] * 2


async def test_a_list_that_is_asked_for_again_is_asked_for_under_a_condition(make_rig: MakeRig) -> None:
    rig = make_rig(Deployment(), list_seconds=LIST_SECONDS)
    first = await rig.view()
    rig.time.move(LIST_SECONDS)
    assert await rig.view() is first
    one, other = lists(rig)
    etag = header(rig.http.answers[-1].headers, b"etag")
    assert (header(one.headers, b"if-none-match"), header(other.headers, b"if-none-match")) == (None, etag)
    assert rig.http.answers[-1].status == 304
    rig.time.move(LIST_SECONDS)
    rig.deployment.models = (CHAT,)
    assert list(await rig.rows()) == ["org/chat", "chat", "chat-latest"]
    assert rig.http.answers[-1].status == 200


async def test_each_key_has_its_own_list(make_rig: MakeRig) -> None:
    rig = make_rig(Deployment(), list_seconds=LIST_SECONDS)
    for _ in range(2):
        views = [await rig.view(*key) for key in ((bearer("a"),), (bearer("b"),), ((b"x-api-key", b"c"),))]
        assert len({id(each) for each in views}) == 3
    assert [header(each.headers, b"authorization") for each in lists(rig)] == [b"Bearer a", b"Bearer b", b"Bearer c"]


async def test_of_many_that_ask_at_once_one_asks_the_gateway_and_one_may_leave(make_rig: MakeRig) -> None:
    deployment = Deployment()
    http = SlowHttpClient(deployment.server)
    rig = make_rig(deployment, http=http)
    async with asyncio.TaskGroup() as group:
        askers = [group.create_task(rig.view()) for _ in range(20)]
        await asyncio.sleep(0)
        askers[0].cancel()
        http.go_on.set()
    assert len(lists(rig)) == 1
    assert len({id(asker.result()) for asker in askers[1:]}) == 1


@pytest.mark.parametrize(
    "instead", [UpstreamTimeoutError("canary"), json_response({}, 429)], ids=["failure", "refusal"]
)
async def test_many_that_ask_at_once_share_what_is_in_the_way(make_rig: MakeRig, instead: Any) -> None:
    deployment = Deployment()
    deployment.instead = instead
    http = SlowHttpClient(deployment.server)
    rig = make_rig(deployment, http=http)
    async with asyncio.TaskGroup() as group:
        askers = [group.create_task(outcome(rig)) for _ in range(20)]
        await asyncio.sleep(0)
        http.go_on.set()
    assert len(lists(rig)) == 1
    assert {asker.result() for asker in askers} == {429 if isinstance(instead, FakeResponse) else 504}


async def outcome(rig: Rig) -> int:
    try:
        return status(await rig.view())
    except ApiError as error:
        return error.status


async def test_the_lists_of_a_bounded_number_of_keys_are_kept_and_the_oldest_goes_first(make_rig: MakeRig) -> None:
    rig = make_rig(Deployment(), list_seconds=LIST_SECONDS)
    for n in [*range(MAX_KEYS + 1), *range(1, MAX_KEYS + 1)]:
        await rig.view(bearer(str(n)))
    assert len(lists(rig)) == MAX_KEYS + 1
    await rig.view(bearer("0"))
    assert len(lists(rig)) == MAX_KEYS + 2


# Gateways that refuse or fail


@pytest.mark.parametrize("code", [400, 401, 403, 404, 429, 500, 503])
async def test_a_refusal_is_passed_on_as_it_is_and_not_kept(make_rig: MakeRig, code: int) -> None:
    deployment = Deployment()
    error = {"error": {"message": "because", "code": "x"}}
    headers = [JSON, (b"retry-after", b"7"), (b"x-request-id", b"r1"), (b"set-cookie", b"a=b"), (b"location", b"//e")]
    deployment.instead = FakeResponse(code, headers, [json.dumps(error).encode()])
    rig = make_rig(deployment)
    for expected in (1, 2):
        for reply in (await rig.view(), await rig.models.retrieve(rig.request(), "org/chat")):
            assert isinstance(reply, Reply)
            assert (reply.status, json.loads(reply.body)) == (code, error)
            assert dict(reply.headers) == {
                **dict([JSON]),
                b"x-content-type-options": b"nosniff",
                b"retry-after": b"7",
                b"x-request-id": b"r1",
            }
        assert len(lists(rig)) == 2 * expected
    deployment.instead = None
    assert isinstance(await rig.view(), View)


@pytest.mark.parametrize(
    ("code", "kind", "body"),
    [
        (500, b"text/html", b"<script>canary</script>"),
        (502, b"application/json", b"<html>canary"),
        (403, b"application/json", b'"canary"'),
        (503, b"text/plain", b""),
        (400, b"application/json", b"\xff"),
        (400, b"application/json", b"[" * 100_000),
    ],
)
async def test_a_page_or_nonsense_is_not_taken_for_an_error_in_our_form(
    make_rig: MakeRig, code: int, kind: bytes, body: bytes
) -> None:
    deployment = Deployment()
    deployment.instead = FakeResponse(code, [(b"content-type", kind)], [body])
    reply = await make_rig(deployment).view()
    assert isinstance(reply, Reply)
    assert reply.status == code
    assert header(reply.headers, b"content-type") == b"application/json"
    assert b"canary" not in reply.body
    assert str(code) in json.loads(reply.body)["error"]["message"]


@pytest.mark.parametrize("code", [204, 206, 302, 304])
async def test_what_is_neither_a_list_nor_an_error_is_a_bad_gateway(make_rig: MakeRig, code: int) -> None:
    """A 304, too, where the gateway wasn't asked under a condition."""
    deployment = Deployment()
    deployment.instead = FakeResponse(code, [], [])
    assert status(await make_rig(deployment).view()) == 502


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"data": 7}', b"\xff", b"[" * 100_000])
async def test_a_list_that_is_none_is_a_bad_gateway_and_leaves_what_is_known(make_rig: MakeRig, body: bytes) -> None:
    deployment = Deployment()
    rig = make_rig(deployment)
    known = await rig.view()
    rig.time.move(1)
    deployment.instead = FakeResponse(200, [JSON], [body])
    assert await outcome(rig) == 502
    deployment.instead = None
    assert await rig.view() is known


@pytest.mark.parametrize(
    ("failure", "expected"), [(UpstreamUnreachableError("canary"), 503), (UpstreamTimeoutError("canary"), 504)]
)
async def test_a_gateway_that_gives_no_answer_is_asked_again(
    make_rig: MakeRig, failure: UpstreamError, expected: int
) -> None:
    deployment = Deployment()
    deployment.instead = failure
    rig = make_rig(deployment)
    for asked in (1, 2):
        with pytest.raises(ApiError) as caught:
            await rig.view()
        assert caught.value.status == expected
        assert "canary" not in caught.value.message
        assert len(lists(rig)) == asked


async def test_a_gateway_that_is_silent_is_not_waited_for_for_ever(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert link.LIST_TIMEOUT > 0
    monkeypatch.setattr(link, "LIST_TIMEOUT", 0.0)
    deployment = Deployment()
    assert await outcome(make_rig(deployment, http=SlowHttpClient(deployment.server))) == 504


# Gateways of others


async def test_plain_rows_pass_unharmed_and_are_marked(make_rig: MakeRig) -> None:
    """models-api.md items 3 and 13: full and short IDs are rows of their own, which no gateway of others joins."""
    rig = make_rig(Deployment(signs=False))
    assert await rig.rows() == {
        each: {
            "id": each,
            "object": "model",
            "created": model.created,
            "owned_by": "org",
            "tasks": list(model.tasks),
            "status": "available",
            "verified": False,
        }
        for model in MODELS
        for each in model.ids
    }
    assert rig.models.remarks(rig.request()) == []


async def test_a_list_without_a_tag_is_judged_when_it_changed_and_from_time_to_time(make_rig: MakeRig) -> None:
    rig = make_rig(Deployment(signs=False))
    first = await rig.view()
    for _ in range(3):
        rig.time.move(VOUCHED_SECONDS / 4)
        assert await rig.view() is first
    assert [header(each.headers, b"if-none-match") for each in lists(rig)] == [None] * 4
    rig.time.move(VOUCHED_SECONDS / 4)
    assert await rig.view() is first, "nothing changed"
    rig.deployment.models = (EMBED,)
    rig.time.move(1)
    assert list(await rig.rows()) == ["org/embed", "embed"]


async def test_unsigned_rows_are_judged_anew_once_it_is_known_that_the_deployment_does_not_sign(
    make_rig: MakeRig,
) -> None:
    """models-api.md item 13: a gateway that hinders the agreement can't pass a signing deployment off as another."""
    deployment = Deployment(signs=False)
    hinders = True

    def server(request: SentRequest) -> FakeResponse:
        if request.url.endswith("/secret") and hinders:
            raise UpstreamUnreachableError("no")
        if request.url.endswith("/secret"):
            return deployment.server(request)
        return deployment.lists(MODELS, request)

    rig = make_rig(deployment, http=FakeHttpClient(server))
    assert await rig.rows() == {}
    assert rig.models.remarks(rig.request()) == [(b"privity-models-dropped", b"unsigned=2")]
    hinders = False
    await rig.agreements.current(None)
    rig.time.move(1)
    assert {each["verified"] for each in (await rig.rows()).values()} == {False}
    assert rig.http.answers[-1].status == 304


# What is signed


async def test_signed_rows_are_verified_and_a_remark_counts_the_others(make_rig: MakeRig) -> None:
    """models-api.md item 13."""
    deployment = Deployment()
    rig = make_rig(deployment)
    assert {each["verified"] for each in (await rig.rows()).values()} == {True}
    assert rig.models.remarks(rig.request()) == []
    assert rig.models.remarks(rig.request("/v1/models", bearer("other"))) == []
    made_up = [replace(EMBED, id="a", aliases=()), replace(EMBED, id="b", aliases=())]
    rig.time.move(1)
    moved = replace(deployment.listed()[0], id="c", aliases=())
    deployment.instead = deployment.lists([*deployment.listed()[1:], *made_up, moved], lists(rig)[0])
    assert list(await rig.rows()) == ["org/embed", "embed"]
    assert rig.models.remarks(rig.request()) == [(b"privity-models-dropped", b"altered=1, unsigned=2")]


async def test_an_unchanged_list_whose_statements_expire_is_judged_again(make_rig: MakeRig) -> None:
    deployment = Deployment()
    rig = make_rig(deployment)
    await rig.view()
    signed = deployment.listed()
    deployment.listed = lambda: signed  # type: ignore[method-assign]  # a gateway that replays
    rig.time.move(LIFETIME.total_seconds() - 1)
    assert len(await rig.rows()) == 5
    rig.time.move(VOUCHED_SECONDS)
    assert await rig.rows() == {}
    assert rig.http.answers[-1].status == 304
    assert rig.models.remarks(rig.request()) == [(b"privity-models-dropped", b"expired=2")]


async def test_renewed_statements_keep_the_list_as_it_is(make_rig: MakeRig) -> None:
    rig = make_rig(Deployment())
    before = await rig.rows()
    for _ in range(6):
        rig.time.move(RENEWAL.total_seconds() / 2)
        assert await rig.rows() == before


async def test_a_model_leaves_the_list_when_its_time_is_over_though_the_list_did_not_change(make_rig: MakeRig) -> None:
    end = NOW + timedelta(seconds=100)
    deployment = Deployment(replace(CHAT, lifecycle=Lifecycle(NOW + timedelta(seconds=80), end)), EMBED)
    rig = make_rig(deployment)
    signed = deployment.listed()
    as_of_start = Deployment()
    as_of_start.now = lambda: NOW

    def unaware(models: Sequence[Model], request: SentRequest) -> FakeResponse:
        assert models
        return as_of_start.lists(signed, request)

    deployment.lists = unaware  # type: ignore[method-assign]  # a gateway that doesn't look at the time
    assert "deprecated" not in (await rig.rows())["chat"]
    rig.time.move(20)
    view = await rig.view()
    assert isinstance(view, View)
    assert [entry.deprecated for entry in view.entries] == [True, False]
    rig.time.move(20)
    assert list(await rig.rows()) == ["org/embed", "embed"]
    assert rig.http.answers[-1].status == 304


# One model


async def test_one_model_is_always_asked_for_and_judged_as_the_list_is(make_rig: MakeRig) -> None:
    deployment = Deployment()
    rig = make_rig(deployment)
    for asked in (1, 2):
        for each in CHAT.ids:
            found = await rig.models.retrieve(rig.request(), each)
            assert isinstance(found, Retrieved)
            assert (found.model.id, found.model.is_verified(each)) == ("org/chat", True)
            assert found.health == {"replicas": 1}
        assert len(lists(rig)) == asked * 3
    assert lists(rig)[0].url == f"{GATEWAY}/v1/models/org%2Fchat?detail=full"
    deployment.listed = lambda: list(MODELS)  # type: ignore[method-assign]
    with pytest.raises(ModelNotFoundError, match="doesn't vouch"):
        await rig.models.retrieve(rig.request(), "chat")


async def test_one_model_that_is_another_than_was_asked_for_is_not_found(make_rig: MakeRig) -> None:
    deployment = Deployment()
    rig = make_rig(deployment)
    await rig.models.retrieve(rig.request(), "org/embed")
    deployment.instead = replace_pieces(rig.http.answers[0])
    with pytest.raises(ModelNotFoundError):
        await rig.models.retrieve(rig.request(), "chat")


async def test_an_answer_that_is_no_model_is_a_bad_gateway(make_rig: MakeRig) -> None:
    deployment = Deployment()
    deployment.instead = FakeResponse(200, [(b"content-type", b"text/html")], [b"<script/>"])
    rig = make_rig(deployment)
    with pytest.raises(ApiError) as caught:
        await rig.models.retrieve(rig.request(), "m")
    assert caught.value.status == 502


# Calls: models-api.md item 7


def evil(deployment: Deployment, *models: Model) -> None:
    """Let the gateway list the genuine models, and these."""
    deployment.listed = lambda: [*deployment.signer.sign(MODELS), *models]  # type: ignore[method-assign]


MADE_UP = replace(EMBED, id="org/evil", aliases=("evil",))


async def test_what_is_not_listed_for_want_of_a_signature_can_not_be_called(make_rig: MakeRig) -> None:
    deployment = Deployment()
    evil(deployment, MADE_UP)
    rig = make_rig(deployment)
    await rig.view()
    for each in MADE_UP.ids:
        with pytest.raises(ModelNotFoundError, match="--unsigned-models"):
            await rig.chat(model=each)
    assert deployment.asked == []
    assert (await rig.chat(model="org/chat")).status == 200
    assert (await rig.chat(model="unlisted")).status == 200, "the inference proxy knows"


async def test_what_was_refused_can_be_called_once_it_is_signed_without_a_new_list(make_rig: MakeRig) -> None:
    deployment = Deployment()
    evil(deployment, MADE_UP)
    rig = make_rig(deployment)
    await rig.view()
    deployment.models = (MADE_UP,)
    del deployment.listed
    rig.time.move(1)
    assert (await rig.chat(model="evil")).status == 200
    deployment.instead = UpstreamUnreachableError("no")
    rig.time.move(1)
    assert (await rig.chat(model="evil")).status == 200


async def test_what_was_refused_stays_so_where_the_gateway_says_nothing(make_rig: MakeRig) -> None:
    deployment = Deployment()
    evil(deployment, MADE_UP)
    rig = make_rig(deployment)
    await rig.view()
    rig.time.move(1)
    deployment.instead = UpstreamUnreachableError("no")
    with pytest.raises(ModelNotFoundError):
        await rig.chat(model="evil")


ALIASED = replace(CHAT, aliases=("chat", "gpt-9"))


@pytest.mark.parametrize("user", [None, "drop", "mark", "allow"])
@pytest.mark.parametrize("asked", ["org/chat", "chat", "chat-latest", "gpt-9", "unlisted"])
async def test_a_request_says_which_model_the_list_has_for_the_name(make_rig: MakeRig, user: Any, asked: str) -> None:
    """models-api.md item 13: for a name that is signed, it could let another model answer."""
    deployment = Deployment()
    rig = make_rig(deployment, unsigned_models=user)

    def with_alias() -> list[Model]:
        chat, embed = deployment.signer.sign(MODELS)
        return [replace(chat, aliases=ALIASED.aliases), embed]

    deployment.listed = with_alias  # type: ignore[method-assign]
    if asked == "gpt-9" and user in (None, "drop"):
        await rig.view()
        with pytest.raises(ModelNotFoundError):
            await rig.chat(model=asked)
        return
    await rig.view()
    assert (await rig.chat(model=asked)).status == 200
    sent = deployment.asked[-1].request
    assert header(sent.headers, b"privity-means") == (None if asked == "unlisted" else b"org/chat")


async def test_what_a_name_means_is_looked_up_again(make_rig: MakeRig) -> None:
    deployment = Deployment()
    rig = make_rig(deployment)
    await rig.view()
    for seconds, number in ((0, 1), (VOUCHED_SECONDS - 1, 1), (1, 2)):
        rig.time.move(seconds)
        await rig.chat(model="chat")
        assert len(lists(rig)) == number
    await rig.chat(model="unlisted")
    assert header(deployment.asked[-1].request.headers, b"privity-means") is None


async def test_who_never_asked_for_a_list_says_nothing_of_meanings(make_rig: MakeRig) -> None:
    rig = make_rig(deployment := Deployment())
    await rig.chat(model="chat")
    assert header(deployment.asked[-1].request.headers, b"privity-means") is None
    assert lists(rig) == []


# Changes: models-api.md item 10


async def settle() -> None:
    """Let all tasks go on until they wait for something."""
    for _ in range(60):
        await asyncio.sleep(0)


async def paused(rig: Rig, times: int) -> None:
    for _ in range(10_000):
        if len(rig.time.pauses) >= times:
            return
        await asyncio.sleep(0)
    raise AssertionError(rig.time.pauses)


class LongPolls(SlowHttpClient):
    """Holds long polls until it is told that something changed."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes | AsyncIterator[bytes] = b"",
        head_timeout: float | None = None,
        repeat: bool = True,
    ) -> FakeResponse:
        if "wait=" not in url:
            return await FakeHttpClient.request(
                self, method, url, headers=headers, body=body, head_timeout=head_timeout, repeat=repeat
            )
        self.held += 1
        answer = await super().request(
            method, url, headers=headers, body=body, head_timeout=head_timeout, repeat=repeat
        )
        self.go_on.clear()
        return answer

    held = 0


@pytest.fixture
def polled(make_rig: MakeRig) -> tuple[Rig, LongPolls]:
    deployment = Deployment()
    http = LongPolls(deployment.server)
    return make_rig(deployment, http=http), http


async def test_two_that_wait_share_one_long_poll_and_both_see_the_change(polled: tuple[Rig, LongPolls]) -> None:
    rig, http = polled
    await rig.view()
    changes = [rig.models.change(rig.request()) for _ in range(2)]
    await settle()
    assert http.held == 1
    assert not any("wait" in query(each) for each in lists(rig)), "it is held"
    rig.deployment.models = (EMBED,)
    assert not changes[0].is_set()
    http.go_on.set()
    await asyncio.gather(*(each.wait() for each in changes))
    assert list(await rig.rows()) == ["org/embed", "embed"]
    await settle()
    assert http.held == 2
    sent = next(each for each in lists(rig) if "wait" in query(each))
    assert query(sent)["timeout"] == [f"{UPSTREAM_WAIT:g}"]
    assert header(sent.headers, b"if-none-match") is None


async def test_nobody_waits_at_the_gateway_for_those_who_do_not_wait(make_rig: MakeRig) -> None:
    rig = make_rig(Deployment())
    await rig.view()
    await settle()
    assert len(lists(rig)) == 1
    rig.models.change(rig.request())
    for _ in range(int(MAX_WAIT)):
        await settle()
    polls = len(lists(rig)) - 1
    assert MAX_WAIT / PAUSE - 1 <= polls <= MAX_WAIT / PAUSE + 1, "each is answered at once here, so that it pauses"
    assert rig.time.pauses == [PAUSE] * len(rig.time.pauses)
    await settle()
    assert len(lists(rig)) - 1 == polls, "it ended"
    rig.models.change(rig.request())
    await settle()
    assert len(lists(rig)) - 1 > polls, "and can begin again"


async def test_who_waits_survives_a_gateway_that_fails_for_a_while(make_rig: MakeRig) -> None:
    deployment = Deployment()
    rig = make_rig(deployment)
    await rig.view()
    deployment.instead = UpstreamUnreachableError("no")
    change = rig.models.change(rig.request())
    await paused(rig, 5)
    deployment.instead = FakeResponse(200, [JSON], [b"<html>"])
    await paused(rig, 10)
    assert not change.is_set()
    deployment.models, deployment.instead = (EMBED,), None
    await change.wait()
    assert set(rig.time.pauses) <= {PAUSE, config.LIST_SECONDS}
    assert list(await rig.rows()) == ["org/embed", "embed"]


@pytest.mark.parametrize("code", [401, 403])
async def test_a_key_that_is_refused_wakes_those_who_wait_and_later_waits_begin_anew(
    make_rig: MakeRig, code: int
) -> None:
    deployment = Deployment()
    rig = make_rig(deployment, list_seconds=LIST_SECONDS)
    await rig.view()
    change = rig.models.change(rig.request())
    deployment.instead = json_response({"error": {"message": "no"}}, code)
    await change.wait()
    assert status(await rig.view()) == code, "though the list was fresh"
    deployment.instead = None
    again = rig.models.change(rig.request())
    assert not again.is_set()
    assert isinstance(await rig.view(), View)


async def test_a_gateway_that_knows_no_tags_is_asked_with_pauses(make_rig: MakeRig) -> None:
    rig = make_rig(Deployment(signs=False))
    await rig.view()
    change = rig.models.change(rig.request())
    await paused(rig, 3)
    assert [list(query(each)) for each in lists(rig)] == [["detail"]] * len(lists(rig))
    rig.deployment.models = (EMBED,)
    await change.wait()


async def test_the_keys_that_go_first_take_their_long_polls_with_them(polled: tuple[Rig, LongPolls]) -> None:
    rig, http = polled
    await rig.view(bearer("0"))
    rig.models.change(rig.request("/v1/models", bearer("0")))
    await settle()
    tasks = [each for each in asyncio.all_tasks() if each.get_name() == "model watch"]
    assert (len(tasks), http.held) == (1, 1)
    for n in range(1, MAX_KEYS + 1):
        await rig.view(bearer(str(n)))
    await settle()
    assert tasks[0].cancelled()


async def test_a_clock_that_jumped_ahead_and_was_set_back_keeps_no_model_out_of_the_list(make_rig: MakeRig) -> None:
    end = NOW + timedelta(seconds=100)
    deployment = Deployment(replace(CHAT, lifecycle=Lifecycle(retires_at=end)), EMBED)
    rig = make_rig(deployment)
    signed = deployment.listed()
    as_of_start = Deployment()
    as_of_start.now = lambda: NOW
    deployment.lists = lambda models, request: as_of_start.lists(signed, request)  # type: ignore[method-assign]  # noqa: ARG005
    before = list(await rig.rows())
    rig.time.move(60)
    assert list(await rig.rows()) == ["org/embed", "embed"]
    rig.time.wall -= 60
    rig.time.steady += 10
    assert list(await rig.rows()) == before
