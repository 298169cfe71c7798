"""models-api.md item 7 (and models-api.md item 3, models-api.md item 4, models-api.md item 5).

What is listed is what can be retrieved is what can be called, for every key."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.catalogue.declared import Declared, conflicts
from privity.catalogue.model import TASK_OF_ENDPOINT, Lifecycle, Model
from privity.errors import UpstreamTimeoutError, UpstreamUnreachableError
from privity.http import Headers
from privity.protocol.agreement import PATH
from privity.protocol.routed_model import RoutedModel, routed_model
from privity.roles.gateway.health import FALL
from privity.testing.fake_http import FakeResponse, SentRequest, json_response
from privity.testing.gateway_rig import START, FakeReplicas, GatewayRig, Says, bearer, gateway_rig, key_for
from privity.testing.in_memory_app import listening_to
from privity.transport.tasks import Background

URLS = ("http://a", "http://b", "http://c")
NAMES = ("a", "b", "org/a", "org/b", "newest", "org/newest")
UNHEARD_OF = "org/unheard-of"
ENDPOINTS = ("/v1/chat/completions", "/v1/embeddings", "/v1/audio/transcriptions")
KEYS = (key_for("red", "red"), key_for("both", "red", "blue"), key_for("nobody"))
CALLERS = tuple(bearer(each) for each in ("red", "both", "nobody"))
STRANGER = bearer("stranger")

Step = Callable[[GatewayRig], object]


@st.composite
def served(draw: st.DrawFn) -> Model:
    model_id, *others = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    cut = draw(st.integers(0, len(others)))
    retires = draw(st.none() | st.integers(1, 3))
    return Model(
        model_id,
        draw(st.sampled_from([("generate",), ("embed",), ("transcribe",), ("generate", "embed"), ()])),
        draw(st.integers(0, 9)),
        "org",
        tuple(others[:cut]),
        tuple(others[cut:]),
        lifecycle=Lifecycle(retires_at=None if retires is None else START + timedelta(hours=retires)),
        status=draw(st.sampled_from(["available", "available", "degraded", "unknown", "draining"])),
    )


def says() -> st.SearchStrategy[Says]:
    away = st.sampled_from([UpstreamUnreachableError("refused"), UpstreamTimeoutError("late")])
    return st.lists(served(), max_size=2) | away


def _is_sound(declared: list[Declared]) -> bool:
    return not list(conflicts(declared))


def declarations() -> st.SearchStrategy[list[Declared]]:
    names = st.sampled_from((*NAMES, "given", "also/given"))
    one = st.builds(
        Declared,
        names,
        st.lists(names, max_size=1).map(tuple),
        st.lists(names, max_size=1).map(tuple),
        tasks=st.none() | st.sampled_from([("generate",), ("embed",), ()]),
        visible_to=st.none() | st.frozensets(st.sampled_from(["red", "blue"]), max_size=1),
    )
    return st.lists(one, max_size=2).filter(_is_sound)


def tell(url: str, said: Says) -> Step:
    return lambda rig: rig.replicas.says.update({url: said})


def steps() -> st.SearchStrategy[Step]:
    urls = st.sampled_from(URLS)
    return st.one_of(
        st.builds(tell, urls, says()),
        st.integers(1, 3).map(lambda times: lambda rig: rig.poll(times)),
        st.builds(
            lambda declared, keys, draining: lambda rig: rig.configure(declared, keys, draining),
            declarations(),
            st.sampled_from([(), KEYS]),
            st.frozensets(urls, max_size=1),
        ),
        st.just(lambda rig: rig.pass_time(3600)),
    )


async def agree(rig: GatewayRig, caller: Headers) -> None:
    for asked in (*NAMES, "given", "also/given", UNHEARD_OF):
        for endpoint in ENDPOINTS:
            rig.pass_time(1)  # what a call brings to light is published at once
            listed = {each["id"]: each for each in (await rig.ask("GET", "/v1/models", caller)).json()["data"]}
            retrieved = await rig.ask("GET", f"/v1/models/{asked}", caller)
            called = await rig.call(asked, endpoint, caller)
            assert (asked in listed) == (retrieved.status == 200)
            if asked not in listed:
                assert called.status == retrieved.status
                assert called.status in (404, 503)
                continue
            assert retrieved.json().items() >= listed[asked].items()
            fits = TASK_OF_ENDPOINT[endpoint] in listed[asked]["tasks"]
            assert called.status in ((200, 503, 504) if fits else (400,))
            assert listed[asked]["tasks"], "what can do nothing isn't listed"


async def check(rig: GatewayRig) -> None:
    callers: Sequence[Headers] = CALLERS if (await rig.ask("GET", "/v1/models", STRANGER)).status == 401 else ([],)
    for caller in callers:
        await agree(rig, caller)


def infer_of(replicas: FakeReplicas) -> Callable[[SentRequest], FakeResponse]:
    def infer(request: SentRequest) -> FakeResponse:
        said = replicas.says[request.url.partition("/v1/")[0]]
        if isinstance(said, UpstreamUnreachableError | UpstreamTimeoutError):
            raise said
        return json_response({})

    return infer


@settings(max_examples=150)
@given(st.fixed_dictionaries(dict.fromkeys(URLS, says())), st.lists(steps(), max_size=5))
def test_item_7_listed_is_retrievable_is_callable_for_every_key_and_alias_whatever_happens(
    said: dict[str, Says], happens: list[Step]
) -> None:
    async def run() -> None:
        async with Background() as background:
            replicas = FakeReplicas(dict(said))
            replicas.infer = infer_of(replicas)
            rig = GatewayRig(replicas, background)
            rig.configure()
            await check(rig)
            for step in happens:
                done = step(rig)
                if asyncio.iscoroutine(done):
                    await done
                await check(rig)
            rig.fleet.close()

    asyncio.run(run())


CHAT = Model("org/chat", ("generate",), 1, "org", ("chat",), ("newest",))
SECRET = Model("org/secret", ("generate",), 1, "org", ("secret",))


@pytest.mark.parametrize("asked", ["unheard-of", "org/unheard-of", "org/", "Secret", "org/secret", "secret"])
async def test_item_5_an_unknown_model_is_one_error_everywhere_and_names_only_what_this_key_can_use(asked: str) -> None:
    async with gateway_rig({"http://a": [CHAT, SECRET]}) as rig:
        rig.configure([Declared("org/secret", visible_to=frozenset({"red"}))], KEYS)
        caller = bearer("nobody")
        answers = [await rig.ask("GET", f"/v1/models/{asked}", caller)]
        answers += [await rig.call(asked, endpoint, caller) for endpoint in ENDPOINTS]
        for got in answers:
            assert got.status == 404
            error = got.json()["error"]
            assert got.json().keys() == {"error"}
            assert error == {
                "message": error["message"],
                "type": "invalid_request_error",
                "param": "model",
                "code": "model_not_found",
            }
            assert error["message"] == answers[0].json()["error"]["message"]
            assert f"`{asked}` does not exist" in error["message"]
            assert "secret" not in error["message"].replace(asked, "")
        assert (await rig.ask("GET", "/v1/models/chatt", caller)).json()["error"]["message"].count("`chat`") == 1


async def test_items_4_and_5_a_retrieved_model_is_its_row_and_a_header_says_how_fresh_that_is() -> None:
    async with gateway_rig({"http://a": [CHAT], "http://b": [CHAT]}) as rig:
        rig.pass_time(2)
        row = (await rig.ask("GET", "/v1/models")).json()["data"][0]
        got = await rig.ask("GET", "/v1/models/org/chat")
        assert got.json() == row
        assert got.header(b"privity-health") == b"replicas=2, age_seconds=2.0"
        whole = await rig.ask("GET", "/v1/models/org/chat", query="detail=full")
        assert whole.json()["health"] == {"replicas": 2, "age_seconds": 2.0}


async def test_item_7_with_keys_nothing_is_answered_without_one() -> None:
    async with gateway_rig({"http://a": [CHAT]}) as rig:
        for keys, status in ((), 200), (KEYS, 401):
            rig.configure(keys=keys)
            for headers in ([], STRANGER, [(b"authorization", b"Basic red")]):
                for method, path in [
                    ("GET", "/v1/models"),
                    ("HEAD", "/v1/models"),
                    ("HEAD", "/v1/models/events"),
                    ("GET", "/v1/models/chat"),
                    ("GET", "/api/tags"),
                    ("GET", "/api/v0/models"),
                    ("GET", "/api/v0/models/chat"),
                    ("POST", PATH),
                ]:
                    assert (await rig.ask(method, path, headers, b"{}")).status == status, path
                assert (await rig.ask("POST", "/api/show", headers, b'{"model":"chat"}')).status == status
                assert (await rig.call("chat", headers=headers)).status == status
                assert (await rig.call("org/unheard-of", headers=headers)).status == (401 if keys else 404)
        assert [sent.method for sent in rig.replicas.http.sent].count("POST") == 3
        assert len(rig.secret_services.sent) == 3
        assert (await rig.ask("GET", "/v1/models/events", STRANGER)).status == 401


async def test_item_7_a_key_that_is_taken_away_ends_the_stream_of_changes() -> None:
    async with gateway_rig({"http://a": [CHAT]}) as rig:
        rig.configure(keys=KEYS)
        async with listening_to(rig.app, "/v1/models/events", bearer("red")) as (listener, head):
            assert head.status == 200
            assert (await listener.event()).name == "list"
            rig.configure(keys=KEYS[1:])
            assert await listener.piece() == b"", "the end, and no error"


async def test_item_4_a_model_that_is_away_is_a_503_and_not_listed() -> None:
    async with gateway_rig({"http://a": [CHAT]}) as rig:
        rig.replicas.says["http://a"] = UpstreamUnreachableError("gone")
        await rig.poll(FALL)
        assert await rig.ids() == []
        for asked in CHAT.ids:
            assert (await rig.call(asked)).status == 503
            assert (await rig.ask("GET", f"/v1/models/{asked}")).status == 503


# Which name means what


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("org/chat", None),
        ("chat", None),
        ("newest", None),
        ("mine", RoutedModel("org/chat", "mine")),
        ("my/latest", RoutedModel("org/chat", "org/chat")),
    ],
)
async def test_item_3_the_inference_proxy_is_told_what_a_name_means_that_the_gateway_gave(
    asked: str, said: RoutedModel | None
) -> None:
    async with gateway_rig({"http://a": [CHAT]}) as rig:
        rig.configure([Declared("chat", aliases=("mine",), floating_aliases=("my/latest",))])
        assert (await rig.call(asked, headers=[(b"privity-model", b"forged;forged")])).status == 200
        assert routed_model(rig.replicas.http.sent[-1].headers) == said


# The end of models


async def test_calls_say_when_a_model_comes_to_its_end_and_then_it_is_gone() -> None:
    end = Lifecycle(START - timedelta(days=1), START + timedelta(days=1), "org/heir one")
    async with gateway_rig({"http://a": [replace(CHAT, lifecycle=end)]}) as rig:
        for got in (await rig.call("chat"), await rig.ask("GET", "/v1/models/chat")):
            assert got.header(b"deprecation") == b"@1777507200"
            assert got.header(b"sunset") == b"Sat, 02 May 2026 00:00:00 GMT"
            assert got.header(b"link") == b'</v1/models/org%2Fheir%20one>; rel="successor-version"'
        row = (await rig.ask("GET", "/v1/models/chat")).json()
        assert (row["deprecated"], row["retires_at"]) == (True, "2026-05-02T00:00:00Z")
        rig.pass_time(24 * 3600)
        await rig.poll()
        assert await rig.ids() == []
        assert (await rig.call("chat")).status == 404
        assert (await rig.ask("GET", "/v1/models/org/chat")).status == 404
