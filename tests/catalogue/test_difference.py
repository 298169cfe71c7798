"""models-api.md item 10: what a stream of changes says."""

import json
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from privity.catalogue.catalogue import Catalogue, View
from privity.catalogue.dialects import openai
from privity.catalogue.difference import difference
from privity.catalogue.model import Model
from privity.catalogue.projections import openai_list
from privity.catalogue.query import Query
from privity.testing.models import fleets, groups, queries

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def rows(view: View, query: Query) -> dict[str, object]:
    return {row["id"]: row for row in json.loads(openai_list(view, query).body())["data"]}


@given(fleets(4), fleets(4), st.booleans(), groups(), groups(), queries())
def test_who_applies_a_difference_has_the_new_list(
    models: list[Model],
    others: list[Model],
    knows: bool,  # noqa: FBT001  # hypothesis gives it by its place
    one: frozenset[str] | None,
    other: frozenset[str] | None,
    query: Query,
) -> None:
    first = Catalogue(models, NOW)
    second = Catalogue(_mixed(models, others), NOW, first if knows else None)
    before, after = first.view(one), second.view(other)
    found = difference(before, after, openai.row, query)
    have = rows(before, query)
    added = {row["id"]: row for row in map(json.loads, found.added)}
    changed = {row["id"]: row for row in map(json.loads, found.changed)}
    assert added.keys().isdisjoint(have)
    assert changed.keys() <= have.keys()
    assert all(have[name] != row for name, row in changed.items())
    assert set(found.removed) <= have.keys()
    for name in found.removed:
        del have[name]
    assert have | added | changed == rows(after, query)


@settings(max_examples=40)
@given(fleets(4), groups(), queries())
def test_nothing_differs_from_itself_whether_entries_are_shared_or_not(
    models: list[Model], of_key: frozenset[str] | None, query: Query
) -> None:
    first = Catalogue(models, NOW)
    for before in (None, first):
        found = difference(first.view(of_key), Catalogue(models, NOW, before).view(of_key), openai.row, query)
        assert (found.added, found.changed, found.removed) == ((), (), ())


def _mixed(models: list[Model], others: list[Model]) -> list[Model]:
    """Return some of the first and what of the second goes with it."""
    kept = models[: len(models) // 2]
    taken = {each for model in kept for each in model.ids}
    return kept + [each for each in others if taken.isdisjoint(each.ids)]
