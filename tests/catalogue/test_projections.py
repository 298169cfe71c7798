"""models-api.md item 1, 3, 8, 10, 11 and 14: every list is a projection of one view."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from privity.catalogue.catalogue import Catalogue, View
from privity.catalogue.dialects.anthropic import Paging
from privity.catalogue.encoded import Listing
from privity.catalogue.model import TASKS, Model, Statement
from privity.catalogue.projections import (
    anthropic_list,
    full_list,
    lm_studio_list,
    ollama_list,
    openai_etag,
    openai_list,
    select,
    signers_of,
)
from privity.catalogue.query import Query
from privity.testing.models import catalogues, fleets, groups, queries

NOW = datetime(2026, 5, 1, tzinfo=UTC)
CAN = {"completion": "generate", "tools": "tool_calling", "vision": "vision", "embedding": "embed"}
LISTS: dict[str, Callable[[View, Query], Listing]] = {
    "openai": openai_list,
    "anthropic": lambda view, query: anthropic_list(view, query, Paging()),
    "ollama": lambda view, _query: ollama_list(view),
    "lm_studio": lambda view, _query: lm_studio_list(view),
    "full": lambda view, _query: full_list(view),
}


def data(listing: Listing) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(listing.body())["data"]
    return rows


@settings(max_examples=40)
@given(catalogues(), groups())
def test_item_14_all_dialects_agree_on_ids_order_and_abilities(catalogue: Catalogue, of_key: frozenset[str]) -> None:
    view = catalogue.view(of_key)
    rows = data(openai_list(view, Query()))
    ids = [row["id"] for row in rows]
    assert ids == [each for model in view.models for each in model.ids]
    others = data(anthropic_list(view, Query(), Paging()))
    studio = data(lm_studio_list(view))
    tags = json.loads(ollama_list(view).body())["models"]
    assert [row["id"] for row in others] == [row["id"] for row in studio] == ids
    assert [row["name"] for row in tags] == [row["model"] for row in tags] == ids
    for row, other, local in zip(rows, others, studio, strict=True):
        assert row.items() <= other.items()
        assert ("tool_use" in local["capabilities"]) == ("tool_calling" in row["tasks"])
    assert [row["id"] for row in data(full_list(view))] == [model.id for model in view.models]
    assert [row["id"] for row in data(openai_list(view, Query(collapse=True)))] == [row.id for row in view.models]


@settings(max_examples=40)
@given(catalogues(), groups())
def test_item_1_every_row_has_what_clients_read_unguarded(catalogue: Catalogue, of_key: frozenset[str]) -> None:
    body = json.loads(openai_list(catalogue.view(of_key), Query()).body())
    assert body.keys() == {"object", "data"}
    assert body["object"] == "list"
    for row in body["data"]:
        assert row["object"] == "model"
        assert type(row["created"]) is int
        assert type(row["id"]) is type(row["owned_by"]) is str
        assert [each for each in TASKS if each in row["tasks"]] == row["tasks"]
        assert None not in row.values()


@settings(max_examples=40)
@given(catalogues(), groups(), queries())
def test_item_11_filters_leave_the_rows_of_what_is_wanted(
    catalogue: Catalogue, of_key: frozenset[str], query: Query
) -> None:
    view = catalogue.view(of_key)
    every = {row["id"]: row for row in data(openai_list(view, Query(collapse=query.collapse)))}
    wanted = [entry.model for entry in view.entries if query.matches(entry.model)]
    assert [entry.model for entry in select(view, query)] == wanted
    ids = [each for model in wanted for each in ((model.id,) if query.collapse else model.ids)]
    assert data(openai_list(view, query)) == [every[each] for each in ids]


@given(catalogues(), groups(), queries(), st.integers(1, 4))
def test_item_8_pages_put_together_are_the_list(
    catalogue: Catalogue, of_key: frozenset[str], query: Query, limit: int
) -> None:
    view = catalogue.view(of_key)
    whole = data(anthropic_list(view, query, Paging()))
    pages: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        page = json.loads(anthropic_list(view, query, Paging(limit, after)).body())
        pages += page["data"]
        assert page["first_id"] == (page["data"][0]["id"] if page["data"] else None)
        assert page["last_id"] == (page["data"][-1]["id"] if page["data"] else None)
        after = page["last_id"]
        if not page["has_more"]:
            break
        assert len(page["data"]) == limit
    assert pages == whole


# models-api.md item 10: the tag changes exactly when the bytes do.


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Catalogue, Catalogue]:
    """Two catalogues that may be the same, nearly the same, or of two worlds; the second may know the first."""
    models = draw(fleets(4))
    others = draw(st.just(models) | fleets(4) | st.permutations(models).map(list) | st.just(models[1:]))
    others = [replace(each, status=draw(st.sampled_from([each.status, "degraded"]))) for each in others]
    before = Catalogue(models, NOW)
    return before, Catalogue(others, draw(st.sampled_from([NOW, datetime(2060, 1, 1, tzinfo=UTC)])), before)


@given(pairs(), groups(), groups(), queries(), queries())
def test_item_10_two_tags_are_equal_exactly_where_the_bytes_are(
    pair: tuple[Catalogue, Catalogue],
    one: frozenset[str] | None,
    other: frozenset[str] | None,
    query: Query,
    second: Query,
) -> None:
    listings = [
        project(catalogue.view(of_key), wanted)
        for catalogue in pair
        for of_key in {one, other}
        for wanted in (query, second)
        for project in LISTS.values()
    ]
    tags = {listing.etag() for listing in listings}
    bodies = {listing.body() for listing in listings}
    assert len(tags) == len(bodies) == len({(listing.etag(), listing.body()) for listing in listings})


@settings(max_examples=40)
@given(catalogues(), groups(), queries())
def test_item_10_the_remembered_tag_is_that_of_the_list(
    catalogue: Catalogue, of_key: frozenset[str], query: Query
) -> None:
    view = catalogue.view(of_key)
    for _ in range(2):
        assert openai_etag(view, query) == openai_list(view, query).etag()


@settings(max_examples=40)
@given(catalogues(), groups(), queries())
def test_item_10_a_catalogue_that_is_published_again_has_the_same_tags(
    catalogue: Catalogue, of_key: frozenset[str], query: Query
) -> None:
    for before in (None, catalogue):
        again = Catalogue(catalogue.models, catalogue.as_of, before)
        assert openai_etag(again.view(of_key), query) == openai_etag(catalogue.view(of_key), query)


def test_item_10_models_of_one_name_in_two_ways_have_one_tag_where_a_dialect_tells_them_not_apart() -> None:
    two = [Model("a", ("generate",), 1, "me"), Model("b", ("generate",), 1, "me")]
    one = [Model("a", ("generate",), 1, "me", aliases=("b",))]
    views = [Catalogue(models, NOW).view() for models in (two, one)]
    assert len({lm_studio_list(view).body() for view in views}) == 1
    assert len({lm_studio_list(view).etag() for view in views}) == 1


def test_whole_records_come_with_the_certificates_of_their_signers_once_each() -> None:
    signed = [Statement(b"p", b"s", each) for each in (b"one", b"two", b"one")]
    models = [Model(str(place), (), 1, "me", statement=each) for place, each in enumerate(signed)]
    view = Catalogue([*models, Model("unsigned", (), 1, "me")], NOW).view()
    listed = json.loads(full_list(view).body())
    certificates = {sha256(each).hexdigest(): base64.b64encode(each).decode() for each in (b"one", b"two")}
    assert listed["signers"] == signers_of({b"one", b"two"}) == certificates
    assert [row.get("statement", {}).get("signer") in certificates for row in listed["data"]] == [True] * 3 + [False]
