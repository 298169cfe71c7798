import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from privity.catalogue import declared as declared_module
from privity.catalogue.catalogue import Catalogue
from privity.catalogue.declared import Declared
from privity.catalogue.model import Lifecycle, Model
from privity.catalogue.rows import MAX_LIST_BYTES
from privity.errors import (
    ModelNotFoundError,
    UnavailableError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from privity.roles.gateway.fleet import GRACE_SECONDS, PUBLISH_SECONDS, Fleet
from privity.roles.gateway.health import FAILED_ANSWERS, FALL, PENALTY_SECONDS, RISE
from privity.roles.gateway.replica import POLL_TIMEOUT
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, json_response
from privity.testing.gateway_rig import START, full_answer
from privity.transport.models_api.source import Published

CHAT = Model("org/chat", ("generate",), 1, "org", ("chat",), context_length=2048)
EMBED = Model("org/embed", ("embed",), 2, "org", ("embed",))
A, B = "http://a", "http://b"


class Proxies:
    """Inference proxies, and what each of them says."""

    def __init__(self, **says: object) -> None:
        self.says = says
        self.seconds = 0.0
        self.now = START
        self.http = FakeHttpClient(self._answer)
        self.fleet = Fleet(self.http, lambda: self.seconds, lambda: self.now)
        self.configure()

    def configure(self, *declared: Declared, draining: Iterable[str] = ()) -> None:
        self.fleet.configure((f"http://{name}" for name in self.says), frozenset(draining), declared)
        self.fleet.publish()

    def find(self, asked: str) -> Model:
        return self.fleet.find(asked, self.fleet.catalogue.view())

    def _answer(self, request: SentRequest) -> FakeResponse:
        said = self.says[request.url.removeprefix("http://").partition("/")[0]]
        if isinstance(said, UpstreamError):
            raise said
        if isinstance(said, FakeResponse):
            return said
        return models(*said) if isinstance(said, tuple) else json_response(said)

    async def poll(self, times: int = 1) -> None:
        for _ in range(times):
            self.seconds += 1
            for replica in self.fleet.replicas:
                await replica.poll(self.http)
            self.fleet.update()

    @property
    def ids(self) -> list[str]:
        return list(self.fleet.catalogue.by_id)


def models(*listed: Model) -> FakeResponse:
    return full_answer(listed)


async def test_the_catalogue_holds_what_all_inference_proxies_list() -> None:
    proxies = Proxies(a=(CHAT,), b=(EMBED,))
    assert proxies.ids == []
    await proxies.poll()
    assert proxies.ids == ["org/chat", "chat", "org/embed", "embed"]
    assert proxies.find("chat") == proxies.find("org/chat") == CHAT
    assert [(sent.method, sent.url, sent.head_timeout) for sent in proxies.http.sent] == [
        ("GET", f"{A}/v1/models?detail=full", POLL_TIMEOUT),
        ("GET", f"{B}/v1/models?detail=full", POLL_TIMEOUT),
    ]
    assert all(answer.closed for answer in proxies.http.answers)


async def test_replicas_of_a_model_are_one_entry_which_stays_while_one_of_them_serves() -> None:
    proxies = Proxies(a=(CHAT,), b=(CHAT,))
    await proxies.poll()
    assert proxies.ids == ["org/chat", "chat"]
    proxies.says["a"] = UpstreamUnreachableError("gone")
    await proxies.poll(FALL)
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


async def test_a_shard_key_leads_to_one_replica_that_serves_well_and_without_one_the_load_decides() -> None:
    proxies = Proxies(a=(CHAT,), b=(CHAT,), c=(EMBED,))
    await proxies.poll()
    key = "0123456789abcdef-AAAAAAAAAA"
    home = proxies.fleet.pick(CHAT, key)
    home.in_flight = 1
    assert {proxies.fleet.pick(CHAT, key + turn) for turn in ("", "A", "AB")} == {home}
    away = proxies.fleet.pick(CHAT)
    assert (away is home, away.url in (A, B)) == (False, True)
    for _ in range(FAILED_ANSWERS):
        home.health.answer_failed(proxies.seconds)
    assert proxies.fleet.pick(CHAT, key) is away
    proxies.seconds += PENALTY_SECONDS
    proxies.configure(draining=[away.url])
    assert proxies.fleet.pick(CHAT, key) is home


async def test_a_model_that_nobody_serves_cannot_be_picked() -> None:
    proxies = Proxies(a=(EMBED,))
    await proxies.poll()
    with pytest.raises(UnavailableError, match="org/chat"):
        proxies.fleet.pick(CHAT)


NOT_A_LIST: Mapping[str, object] = {
    "unreachable": UpstreamUnreachableError("gone"),
    "not HTTP": UpstreamProtocolError("garbage"),
    "cut": FakeResponse(200, [], [b'{"data":[', UpstreamProtocolError("cut")]),
    "too long": FakeResponse(200, [], [b" " * (1 << 20)] * (1 + MAX_LIST_BYTES // (1 << 20))),
    "not JSON": FakeResponse(200, [], [b"<html>"]),
    "an error": json_response({"error": {"message": "no"}}, status=500),
    "no list": json_response({"data": 5}),
}


@pytest.mark.parametrize("says", NOT_A_LIST.values(), ids=NOT_A_LIST)
# models-api.md item 4
async def test_the_models_of_a_replica_that_gives_no_list_twice_leave(says: object) -> None:
    proxies = Proxies(a=(CHAT,), b=(EMBED,))
    await proxies.poll()
    proxies.says["a"] = says
    await proxies.poll(FALL - 1)
    assert proxies.ids == ["org/chat", "chat", "org/embed", "embed"]
    await proxies.poll()
    assert proxies.ids == ["org/embed", "embed"]
    assert all(answer.closed for answer in proxies.http.answers)
    proxies.says["a"] = (CHAT,)
    await proxies.poll(RISE - 1)
    assert proxies.ids == ["org/embed", "embed"]
    await proxies.poll()
    assert proxies.ids == ["org/chat", "chat", "org/embed", "embed"]


async def test_a_replica_that_is_found_lost_is_not_picked_before_it_answers_polls() -> None:
    proxies = Proxies(a=(CHAT,))
    await proxies.poll()
    proxies.seconds += PUBLISH_SECONDS
    for _ in range(FALL):
        proxies.fleet.lost(proxies.fleet.replicas[0])
    proxies.fleet.publish()
    assert proxies.ids == []
    with pytest.raises(UnavailableError):
        proxies.fleet.pick(CHAT)
    await proxies.poll(RISE)
    assert proxies.fleet.pick(CHAT).url == A


async def test_models_stay_until_several_polls_in_a_row_have_timed_out() -> None:
    proxies = Proxies(a=(CHAT,))
    await proxies.poll()
    for _ in range(2):
        proxies.says["a"] = UpstreamTimeoutError("late")
        for _ in range(FALL - 1):
            await proxies.poll()
            assert proxies.ids == ["org/chat", "chat"]
        proxies.says["a"] = (CHAT,)  # an answer begins the count anew
        await proxies.poll()
    proxies.says["a"] = UpstreamTimeoutError("late")
    for _ in range(FALL):
        await proxies.poll()
    assert proxies.ids == []


@pytest.mark.parametrize("asked", ["org/chat", "chat"])
async def test_a_model_that_was_there_is_unavailable_and_not_unknown(asked: str) -> None:
    proxies = Proxies(a=(CHAT,), b=(EMBED,))
    await proxies.poll()
    proxies.says["a"] = ()
    await proxies.poll()
    with pytest.raises(UnavailableError, match=asked) as caught:
        proxies.find(asked)
    assert (caught.value.status, caught.value.param) == (503, "model")
    assert [name for name, _ in caught.value.headers] == [b"retry-after"]


@pytest.mark.parametrize("asked", ["mine", "newest", "org/embed", "embed"])
async def test_a_model_that_was_there_is_unavailable_under_the_names_that_the_operator_gives_it(asked: str) -> None:
    declared = [
        Declared("chat", aliases=("mine", "org/embed"), floating_aliases=("newest",)),
        Declared("org/embed", visible_to=frozenset({"staff"})),
    ]
    proxies = Proxies(a=(CHAT,), b=(EMBED,))
    proxies.configure(*declared)
    await proxies.poll()
    proxies.says = {"a": (), "b": ()}
    await proxies.poll()
    with pytest.raises(UnavailableError, match=asked):
        proxies.find(asked)
    if "embed" in asked:  # though an alias of what everybody sees: that isn't laid over another model's own name
        with pytest.raises(ModelNotFoundError):
            proxies.fleet.find(asked, proxies.fleet.catalogue.view(frozenset()))


async def test_to_ask_for_what_is_away_costs_no_look_at_all_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    many = tuple(replace(CHAT, id=f"org/{number}", aliases=()) for number in range(100))
    declared = [Declared(each.id, aliases=(f"mine/{each.id}",)) for each in many]
    proxies = Proxies(a=many)
    proxies.configure(*declared)
    await proxies.poll()
    proxies.says["a"] = ()
    await proxies.poll()
    given: list[Declared] = []

    def overlay(declared: Declared, model: Model, *_owners: object, **_narrow: object) -> Model:
        given.append(declared)
        return replace(model, aliases=declared.aliases)

    monkeypatch.setattr(declared_module, "_overlay", overlay)
    for asked in ("org/7", "mine/org/7"):
        with pytest.raises(UnavailableError):
            proxies.find(asked)
    with pytest.raises(ModelNotFoundError):
        proxies.find("nobody's")
    assert given == [declared[7]] * 2


@pytest.mark.parametrize("why", ["away", "drains"])
async def test_what_is_said_of_a_model_that_is_not_available_is_true_for_each_reason(why: str) -> None:
    proxies = Proxies(a=(CHAT,))
    await proxies.poll()
    proxies.says["a"] = ()
    if why == "drains":
        proxies.says["a"] = (CHAT,)
        proxies.configure(draining=[A])
    await proxies.poll()
    with pytest.raises(UnavailableError, match=r"is restarting, out of reach or taking no new requests\."):
        proxies.find("chat")


async def test_an_unknown_model_is_an_error_that_names_the_nearest_ones() -> None:
    proxies = Proxies(a=(CHAT,), b=(EMBED,))
    await proxies.poll()
    with pytest.raises(ModelNotFoundError, match=r"`org/chatt` does not exist\. Nearest: `org/chat`") as caught:
        proxies.find("org/chatt")
    assert caught.value.status == 404


async def test_of_two_models_that_claim_one_id_the_first_has_it_and_both_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rival = Model("other/chat", ("generate",), 3, "other", ("chat",))
    proxies = Proxies(a=(CHAT,), b=(rival, EMBED))
    await proxies.poll()
    assert proxies.ids == ["org/chat", "chat", "org/embed", "embed"]
    assert proxies.find("chat") == CHAT
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    logged: dict[str, Any] = vars(record)
    assert (logged["id"], logged["owner"], logged["left_out"]) == ("chat", "org/chat", "other/chat")
    caplog.clear()
    await proxies.poll()
    proxies.fleet.publish()
    assert caplog.records == [], "an unchanged fleet logs nothing anew"


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
    proxies.fleet.publish()
    assert sorted(proxies.ids) == ["chat", "embed", "org/chat", "org/embed"]


async def test_a_model_may_be_one_of_a_replica_that_was_never_heard() -> None:
    proxies = Proxies(a=(CHAT,), b=UpstreamUnreachableError("refused"))
    await proxies.poll()
    with pytest.raises(UnavailableError, match="not all inference proxies could be asked yet"):
        proxies.find("org/embed")
    proxies.says["b"] = ()
    await proxies.poll()
    with pytest.raises(ModelNotFoundError):
        proxies.find("org/embed")


async def test_a_replica_that_is_never_heard_keeps_no_unknown_id_from_being_unknown() -> None:
    proxies = Proxies(a=(CHAT,), b=UpstreamUnreachableError("refused"))
    await proxies.poll()
    proxies.seconds += GRACE_SECONDS
    with pytest.raises(ModelNotFoundError, match="Nearest: `org/chat`"):
        proxies.find("org/chatt")


async def test_a_replicas_problem_is_logged_when_it_is_another_one_and_when_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    proxies = Proxies(a=UpstreamUnreachableError("refused"))
    await proxies.poll(3)
    proxies.says["a"] = UpstreamUnreachableError("its certificate is not one of ours")
    await proxies.poll(3)
    proxies.says["a"] = (CHAT,)
    await proxies.poll(3)
    told = [(each.message, vars(each).get("problem")) for each in caplog.records if each.levelno == logging.WARNING]
    assert told == [
        ("an inference proxy can't be used", "refused"),
        ("an inference proxy can't be used", "its certificate is not one of ours"),
        ("an inference proxy can be used again", None),
    ]


async def test_a_replica_that_can_not_be_used_is_logged_once_when_it_stays_so(caplog: pytest.LogCaptureFixture) -> None:
    proxies = Proxies(a=UpstreamUnreachableError("its certificate is not one of ours"))
    await proxies.poll()
    assert caplog.records == []
    for _ in range(3):
        await proxies.poll()
    (record,) = caplog.records
    assert (record.levelname, record.__dict__["problem"]) == ("WARNING", "its certificate is not one of ours")


# models-api.md item 4: what is known of each model's replicas


def status(proxies: Proxies) -> str:
    return proxies.find("chat").status


async def test_item_4_a_list_says_how_sure_it_is_of_a_model() -> None:
    proxies = Proxies(a=(CHAT,), b=(CHAT,))
    await proxies.poll()
    assert status(proxies) == "available"
    proxies.says["a"] = UpstreamTimeoutError("late")
    await proxies.poll()
    assert status(proxies) == "available", "the other one is sure to serve"
    proxies.says["b"] = UpstreamTimeoutError("late")
    await proxies.poll(FALL - 1)
    assert status(proxies) == "unknown"
    proxies.says |= {"a": (CHAT,), "b": (CHAT,)}
    await proxies.poll(RISE)
    for replica in proxies.fleet.replicas:
        for _ in range(5):
            replica.health.answer_failed(proxies.seconds)
    await proxies.poll()
    assert status(proxies) == "degraded"
    proxies.seconds += PENALTY_SECONDS
    await proxies.poll()
    assert status(proxies) == "available"


@pytest.mark.parametrize("says", ["unknown", "degraded"])
async def test_item_4_what_an_inference_proxy_says_of_its_engine_is_passed_on(says: Any) -> None:
    proxies = Proxies(a=(replace(CHAT, status=says),))
    await proxies.poll()
    assert status(proxies) == says
    proxies.says["b"] = (CHAT,)
    proxies.configure()
    await proxies.poll()
    assert status(proxies) == "available"


@pytest.mark.parametrize("away", ["said by it", "said by the operator"])
async def test_item_4_a_draining_replica_gets_no_new_requests_and_lists_nothing(away: str) -> None:
    proxies = Proxies(a=(CHAT,), b=(CHAT,))
    await proxies.poll()
    if away == "said by it":
        proxies.says["a"] = (replace(CHAT, status="draining"),)
    else:
        proxies.configure(draining=[A])
    await proxies.poll()
    assert proxies.fleet.pick(CHAT).url == B
    proxies.says["b"] = ()
    await proxies.poll()
    assert proxies.ids == []
    with pytest.raises(UnavailableError):
        proxies.find("chat")


async def test_a_replica_that_failed_lately_is_the_last_choice() -> None:
    proxies = Proxies(a=(CHAT,), b=(CHAT,))
    await proxies.poll()
    proxies.fleet.replicas[1].in_flight = 7
    for _ in range(5):
        proxies.fleet.replicas[0].health.answer_failed(proxies.seconds)
    assert proxies.fleet.pick(CHAT).url == B
    proxies.says["b"] = UpstreamTimeoutError("late")
    await proxies.poll()
    assert [each.health.status(proxies.seconds) for each in proxies.fleet.replicas] == ["degraded", "unknown"]
    assert proxies.fleet.pick(CHAT).url == B, "one missed look says less than failed answers"
    proxies.says["b"] = ()
    await proxies.poll()
    assert proxies.fleet.pick(CHAT).url == A


# models-api.md item 1


async def test_item_1_created_stays_the_same_over_replicas_that_come_and_go() -> None:
    older, newer = replace(CHAT, created=100), replace(CHAT, created=200)
    proxies = Proxies(a=(older,), b=(newer,))
    await proxies.poll()
    assert proxies.find("chat").created == 100
    for a, b in [((), (newer,)), ((older,), ()), ((), (newer,)), ((newer,), ())]:
        proxies.says |= {"a": a, "b": b}
        await proxies.poll()
        assert proxies.find("chat").created == 100


async def test_item_1_a_model_whose_release_nobody_knows_was_created_when_it_joined() -> None:
    proxies = Proxies(a=(replace(CHAT, created=0),))
    await proxies.poll()
    for _ in range(2):
        assert proxies.find("chat").created == int(START.timestamp())
        proxies.now += timedelta(days=1)
        proxies.configure()


# The end of models


async def test_a_model_leaves_at_the_moment_of_its_end_and_frees_its_ids() -> None:
    end = START + timedelta(hours=1)
    old = replace(CHAT, lifecycle=Lifecycle(retires_at=end))
    heir = Model("org/heir", ("generate",), 2, "org", aliases=("chat",))
    proxies = Proxies(a=(old,), b=(heir,))
    await proxies.poll()
    assert proxies.ids == ["org/chat", "chat"]
    proxies.now = end
    await proxies.poll()
    assert proxies.ids == ["org/heir", "chat"]
    with pytest.raises(ModelNotFoundError):
        proxies.find("org/chat")
    proxies.says["a"] = UpstreamUnreachableError("gone")
    await proxies.poll(FALL)
    with pytest.raises(ModelNotFoundError):
        proxies.find("org/chat")


async def test_a_clock_that_jumped_ahead_and_was_set_back_retires_nothing() -> None:
    old = replace(CHAT, lifecycle=Lifecycle(retires_at=START + timedelta(hours=1)))
    proxies = Proxies(a=(old,))
    await proxies.poll()
    proxies.now = START + timedelta(hours=2)
    await proxies.poll()
    assert proxies.ids == []
    proxies.now = START + timedelta(minutes=1)
    await proxies.poll()
    assert proxies.ids == ["org/chat", "chat"]
    published = proxies.fleet.catalogue
    await proxies.poll()
    assert proxies.fleet.catalogue is published


# When it publishes


@pytest.mark.parametrize("ends", ["a model", "a penalty"])
async def test_what_ends_while_a_list_is_made_is_in_the_next_one(ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    end = START + timedelta(hours=1)
    proxies = Proxies(a=(replace(CHAT, lifecycle=Lifecycle(retires_at=end)),))
    await proxies.poll()
    if ends == "a penalty":
        for _ in range(5):
            proxies.fleet.replicas[0].health.answer_failed(proxies.seconds)
    publish = Published.publish

    def slowly(self: Published, catalogue: Catalogue) -> None:
        publish(self, catalogue)
        if ends == "a model":
            proxies.now = end
        else:
            proxies.seconds += PENALTY_SECONDS

    with monkeypatch.context() as patched:
        patched.setattr(Published, "publish", slowly)
        proxies.fleet.publish()
    assert status(proxies) == ("degraded" if ends == "a penalty" else "available")
    await proxies.poll()
    if ends == "a model":
        assert proxies.ids == []
    else:
        assert status(proxies) == "available"


async def test_changes_are_published_together_and_none_is_lost() -> None:
    proxies = Proxies(a=(CHAT,), b=(EMBED,))
    proxies.seconds += PUBLISH_SECONDS
    first, second = proxies.fleet.replicas
    change = proxies.fleet.published.change
    await proxies.fleet.poll(first)
    assert change.is_set()
    assert proxies.ids == ["org/chat", "chat"]
    change = proxies.fleet.published.change
    await proxies.fleet.poll(second)
    await proxies.fleet.poll(first)
    assert not change.is_set(), "the last time is not long ago"
    await change.wait()
    assert proxies.ids == ["org/chat", "chat", "org/embed", "embed"]


async def test_nothing_is_published_where_nothing_changed_or_after_the_end() -> None:
    proxies = Proxies(a=(CHAT,))
    await proxies.poll()
    published = proxies.fleet.catalogue
    await proxies.poll(5)
    assert proxies.fleet.catalogue is published
    proxies.fleet.publish()
    published = proxies.fleet.catalogue
    proxies.says["a"] = ()
    await proxies.fleet.poll(proxies.fleet.replicas[0])
    proxies.fleet.close()
    assert proxies.fleet.catalogue is published


# Other configurations


async def test_replicas_that_stay_keep_their_state_and_new_ones_are_met_before_they_count() -> None:
    proxies = Proxies(a=(CHAT,))
    await proxies.poll()
    (old,) = proxies.fleet.replicas
    proxies.says["b"] = (EMBED,)
    urls = [B, A, B]
    await proxies.fleet.meet(urls)
    assert proxies.ids == ["org/chat", "chat"]
    (new,) = proxies.fleet.configure(urls, frozenset(), ())
    proxies.fleet.publish()
    assert proxies.fleet.replicas == (new, old)
    assert proxies.ids == ["org/embed", "embed", "org/chat", "chat"]
    assert proxies.fleet.configure([B], frozenset(), ()) == []
    proxies.fleet.publish()
    assert proxies.ids == ["org/embed", "embed"]
    assert proxies.fleet.health_of(EMBED) == {"replicas": 1, "age_seconds": 0.0}
    assert proxies.fleet.health_of(CHAT) == {"replicas": 0}


# models-api.md item 7
async def test_item_7_what_a_key_may_not_use_looks_like_what_is_not_there() -> None:
    hidden = Declared("org/chat", visible_to=frozenset({"staff"}))
    proxies = Proxies(a=(CHAT,), b=UpstreamUnreachableError("refused"))
    proxies.configure(hidden)

    def told(asked: str) -> str:
        with pytest.raises((ModelNotFoundError, UnavailableError)) as caught:
            proxies.fleet.find(asked, proxies.fleet.catalogue.view(frozenset()))
        return str(caught.value).replace(asked, "…")

    for says in [UpstreamUnreachableError("refused"), (), (EMBED,)]:
        proxies.says |= {"a": (CHAT,), "b": says}
        await proxies.poll()
        assert told("org/chat") == told("org/other")
        proxies.says["a"] = ()
        await proxies.poll()
        assert told("org/chat") == told("org/other")


# models-api.md item 7
async def test_a_model_that_was_restricted_by_an_alias_stays_so_when_the_alias_goes() -> None:
    proxies = Proxies(a=(CHAT,))
    proxies.configure(Declared("chat", visible_to=frozenset({"staff"})))
    await proxies.poll()
    strangers = frozenset({"visitors"})
    assert proxies.fleet.catalogue.view(strangers).models == []
    proxies.says["a"] = (replace(CHAT, aliases=()),)
    await proxies.poll()
    assert proxies.fleet.catalogue.view(strangers).models == []
    proxies.configure()
    assert [model.id for model in proxies.fleet.catalogue.view(strangers).models] == ["org/chat"]
