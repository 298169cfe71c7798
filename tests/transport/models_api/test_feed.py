"""models-api.md item 10: long-polling and the stream of changes."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.catalogue.catalogue import Catalogue, View
from privity.catalogue.model import Model
from privity.catalogue.projections import openai_etag
from privity.catalogue.query import Query
from privity.errors import InvalidRequestError, UnavailableError
from privity.http import Headers
from privity.testing.gateway_rig import START
from privity.testing.in_memory_app import Got, Listener, ask_app, listening_to
from privity.testing.models import fleets
from privity.transport.models_api import feed
from privity.transport.models_api.feed import DEFAULT_WAIT, MAX_WAIT, is_same, read_timeout
from privity.transport.models_api.routes import models_routes
from privity.transport.models_api.source import Published, Retrieved
from privity.transport.models_api.subscribers import Subscribers
from privity.transport.tasks import Background
from privity.transport.web import Reply, Request
from privity.transport.web_app import WebApp

BIG = Model("org/big", ("generate",), 1, "org", ("big",))
EMBED = Model("org/embed", ("embed",), 2, "org")
LISTED = "/v1/models"
EVENTS = "/v1/models/events"


class Models:
    """Models that are replaced, also in the very moment in which they are looked at."""

    def __init__(self, *models: Model) -> None:
        self.published = Published(Catalogue(models, START))
        self.refusal: Reply | UnavailableError | None = None
        self.after_next_view: Sequence[Model] | None = None
        self.looks = 0

    def publish(self, *models: Model) -> None:
        self.published.publish(Catalogue(models, START, self.published.catalogue))

    async def view(self, _request: Request) -> View | Reply:
        self.looks += 1
        if isinstance(self.refusal, UnavailableError):
            raise self.refusal
        if self.refusal is not None:
            return self.refusal
        view = self.published.catalogue.view()
        if self.after_next_view is not None:
            models, self.after_next_view = self.after_next_view, None
            self.publish(*models)
        return view

    async def looked_at(self, times: int) -> None:
        while self.looks < times:  # noqa: ASYNC110  # a turn of the loop each, and no time
            await asyncio.sleep(0)

    async def retrieve(self, _request: Request, asked: str) -> Retrieved:
        return Retrieved(self.published.catalogue.view().find(asked))

    def change(self, _request: Request) -> asyncio.Event:
        return self.published.change

    def remarks(self, _request: Request) -> Headers:
        return [(b"privity-models-dropped", b"1")]

    @property
    def etag(self) -> str:
        return openai_etag(self.published.catalogue.view(), Query())


class Rig:
    def __init__(self, models: Models, background: Background) -> None:
        self.models = models
        self.app = WebApp(models_routes(models), background)

    async def poll(self, query: str) -> Got:
        return await ask_app(self.app, "GET", LISTED, query=query.encode())


def run(models: Models, scenario: Any) -> None:
    async def within() -> None:
        async with Background() as background:
            await scenario(Rig(models, background))

    asyncio.run(within())


# Long-polling


@pytest.mark.parametrize("form", ["{}", 'W/"{}"', '"{}"', " {} "])
def test_item_10_a_poll_without_a_change_is_a_304_when_its_time_is_over(form: str) -> None:
    async def scenario(rig: Rig) -> None:
        tag = rig.models.etag
        got = await rig.poll(f"wait={form.format(tag.strip(chr(34))).replace(' ', '%20')}&timeout=0.001")
        assert (got.status, got.body, got.header(b"etag")) == (304, b"", tag.encode())
        assert got.header(b"content-length") is None

    run(Models(BIG), scenario)


def test_item_10_a_poll_of_who_knows_another_list_is_answered_at_once() -> None:
    async def scenario(rig: Rig) -> None:
        got = await rig.poll("wait=other&timeout=120")
        assert (got.status, got.header(b"etag")) == (200, rig.models.etag.encode())

    run(Models(BIG), scenario)


def test_item_10_a_poll_is_answered_when_the_list_changes_and_not_when_something_else_does() -> None:
    async def scenario(rig: Rig) -> None:
        tag = rig.models.etag.strip('"')
        for query in (f"wait={tag}&timeout=120", f"wait={tag}"):
            rig.models.publish(BIG)
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(rig.poll(query))
                looks = rig.models.looks
                await rig.models.looked_at(looks + 1)
                rig.models.publish(BIG)  # the same models once more
                await rig.models.looked_at(looks + 2)
                assert not asking.done()
                rig.models.publish(BIG, EMBED)
            assert asking.result().status == 200
            assert [row["id"] for row in asking.result().json()["data"]] == ["org/big", "big", "org/embed"]

    run(Models(BIG), scenario)


def test_item_10_a_change_in_the_moment_of_the_look_is_not_missed() -> None:
    async def scenario(rig: Rig) -> None:
        rig.models.after_next_view = [BIG, EMBED]
        got = await rig.poll(f"wait={rig.models.etag.strip(chr(34))}&timeout=120")
        assert len(got.json()["data"]) == 3

    run(Models(BIG), scenario)


def test_a_poll_for_a_filtered_list_waits_for_that() -> None:
    async def scenario(rig: Rig) -> None:
        tag = (await rig.poll("task=embed")).header(b"etag") or b""
        query = f"task=embed&wait={tag.decode().strip(chr(34))}"
        rig.models.publish()
        assert (await rig.poll(query + "&timeout=0.001")).status == 304
        rig.models.publish(BIG, EMBED)
        assert (await rig.poll(query + "&timeout=120")).status == 200

    run(Models(BIG), scenario)


@pytest.mark.parametrize("status", [401, 503])
def test_a_poll_is_refused_as_a_list_is(status: int) -> None:
    async def scenario(rig: Rig) -> None:
        tag = rig.models.etag.strip('"')
        rig.models.refusal = Reply(401, [], b"no") if status == 401 else UnavailableError("away")
        assert (await rig.poll(f"wait={tag}&timeout=120")).status == status
        assert (await ask_app(rig.app, "GET", EVENTS)).status == status

    run(Models(BIG), scenario)


@pytest.mark.parametrize("text", ["-1", "x", "nan", "inf", "121", "1e9", "--", "1,5"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_timeout({"timeout": text})
    assert caught.value.param == "timeout"


@pytest.mark.parametrize(
    ("parameters", "seconds"),
    [({}, DEFAULT_WAIT), ({"timeout": ""}, DEFAULT_WAIT), ({"timeout": "0"}, 0), ({"timeout": "120"}, MAX_WAIT)],
)
def test_a_time_is_in_seconds(parameters: dict[str, str], seconds: float) -> None:
    assert read_timeout(parameters) == seconds


def test_tags_are_the_same_with_and_without_quotes() -> None:
    assert all(is_same(each, '"ab"') for each in ["ab", '"ab"', 'W/"ab"', " ab "])
    assert not any(is_same(each, '"ab"') for each in ["", "a", "*", "AB"])


# Events


def test_item_10_a_stream_begins_with_the_list_and_goes_on_with_what_changes() -> None:
    async def scenario(rig: Rig) -> None:
        async with listening_to(rig.app, EVENTS) as (listener, head):
            assert (head.status, head.header(b"content-type")) == (200, b"text/event-stream")
            assert head.header(b"cache-control") == b"no-store"
            assert head.header(b"privity-models-dropped") == b"1"
            first = await listener.event()
            assert (first.name, first.id) == ("list", rig.models.etag.strip('"'))
            assert first.data == (await rig.poll("")).json()
            rig.models.publish(BIG, EMBED)
            added = await listener.event()
            assert (added.name, added.id) == ("change", rig.models.etag.strip('"'))
            assert [row["id"] for row in added.data["added"]] == ["org/embed"]
            assert (added.data["changed"], added.data["removed"]) == ([], [])
            rig.models.publish(Model("org/big", ("generate", "vision"), 1, "org"), EMBED)
            changed = await listener.event()
            assert [row["tasks"] for row in changed.data["changed"]] == [["generate", "vision"]]
            assert (changed.data["added"], changed.data["removed"]) == ([], ["big"])

    run(Models(BIG), scenario)


def test_item_10_who_has_the_list_hears_only_of_changes() -> None:
    async def scenario(rig: Rig) -> None:
        for known, name in ((rig.models.etag, "change"), (rig.models.etag.strip('"'), "change"), ("old", "list")):
            rig.models.publish(BIG)
            headers = [(b"last-event-id", known.encode())]
            async with listening_to(rig.app, EVENTS, headers) as (listener, _):
                assert (await listener.piece()).startswith(b":")
                rig.models.publish(EMBED)
                assert (await listener.event()).name == name

    run(Models(BIG), scenario)


def test_item_11_a_stream_has_the_filters_of_the_list() -> None:
    async def scenario(rig: Rig) -> None:
        async with listening_to(rig.app, EVENTS, query=b"task=embed&aliases=collapse") as (listener, _):
            assert (await listener.event()).data["data"] == []
            rig.models.publish()
            rig.models.publish(BIG, EMBED)
            event = await listener.event()
            assert [row["id"] for row in event.data["added"]] == ["org/embed"]
            assert event.data["removed"] == []

    run(Models(BIG), scenario)


def test_item_10_a_quiet_stream_shows_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "KEEP_ALIVE", 0.001)

    async def scenario(rig: Rig) -> None:
        async with listening_to(rig.app, EVENTS) as (listener, _):
            await listener.event()
            for _ in range(3):
                assert await listener.piece() == b": still there\n\n"
            rig.models.publish()
            assert (await listener.event()).data["removed"] == ["org/big", "big"]

    run(Models(BIG), scenario)


@pytest.mark.parametrize("refusal", [Reply(401, [], b""), UnavailableError("away")], ids=["a reply", "an error"])
def test_a_stream_ends_where_its_client_is_refused(refusal: Reply | UnavailableError) -> None:
    async def scenario(rig: Rig) -> None:
        async with listening_to(rig.app, EVENTS) as (listener, _):
            await listener.event()
            rig.models.refusal = refusal
            rig.models.publish()
            assert await listener.piece() == b""

    run(Models(BIG), scenario)


def test_item_9_the_head_of_a_stream_ends() -> None:
    async def scenario(rig: Rig) -> None:
        got = await ask_app(rig.app, "HEAD", EVENTS)
        async with listening_to(rig.app, EVENTS) as (_, head):
            assert (got.status, got.headers, got.body) == (head.status, head.headers, b"")

    run(Models(BIG), scenario)


def apply(have: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    kept = {name: row for name, row in have.items() if name not in data["removed"]}
    return kept | {row["id"]: row for row in (*data["added"], *data["changed"])}


@settings(max_examples=50)
@given(st.lists(fleets(3), min_size=1, max_size=4), st.sampled_from(["", "aliases=collapse", "task=generate", "q=a"]))
def test_item_10_who_applies_the_changes_has_what_a_list_says(series: list[list[Model]], query: str) -> None:
    async def follow(rig: Rig, listener: Listener) -> None:
        have = {row["id"]: row for row in (await listener.event()).data["data"]}
        for models in series:
            before = (await rig.poll(query)).header(b"etag")
            rig.models.publish(*models)
            now = await rig.poll(query)
            if now.header(b"etag") != before:
                event = await listener.event()
                assert f'"{event.id}"'.encode() == now.header(b"etag")
                have = apply(have, event.data)
            assert have == {row["id"]: row for row in json.loads(now.body)["data"]}

    async def scenario(rig: Rig) -> None:
        async with listening_to(rig.app, EVENTS, query=query.encode()) as (listener, _):
            await follow(rig, listener)

    run(Models(BIG, EMBED), scenario)


# How many may wait


def error_of(got: Got) -> Any:
    return got.json()["error"]


async def test_who_finds_no_place_to_wait_is_told_when_to_come_again_and_still_gets_the_list() -> None:
    models = Models(BIG)
    tag = openai_etag(models.published.catalogue.view(), Query())
    waits = b"wait=" + tag.strip('"').encode()
    async with Background() as background:
        app = WebApp(models_routes(models, subscribers=Subscribers(most=1)), background)
        async with listening_to(app, EVENTS) as (listener, _):
            await listener.event()
            for path, query in ((EVENTS, b""), (LISTED, waits)):
                got = await ask_app(app, "GET", path, query=query)
                assert (got.status, error_of(got)["code"]) == (429, "too_many_subscribers")
                assert int(got.header(b"retry-after") or b"") > 0
            assert (await ask_app(app, "GET", LISTED)).status == 200
            assert (await ask_app(app, "HEAD", EVENTS)).status == 200
        assert (await ask_app(app, "GET", LISTED, query=waits + b"&timeout=0")).status == 304
        async with listening_to(app, EVENTS) as (listener, _):
            await listener.event()


async def test_nobody_waits_for_those_who_wait() -> None:
    models = Models(BIG)
    async with Background() as background:
        app = WebApp(models_routes(models), background)
        async with listening_to(app, EVENTS) as (listener, _):
            await listener.event()
            assert app.under_way == 0
            app.release()
            assert await listener.piece() == b""
