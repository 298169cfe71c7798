"""models-api.md item 11: filters, and item 3: `aliases=collapse`."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.catalogue.model import TASKS, Model
from privity.catalogue.query import Query, read_query
from privity.errors import InvalidRequestError
from privity.testing.models import models

BIG = Model(
    "org/Big-7B",
    ("generate", "vision"),
    1,
    "Org",
    aliases=("big",),
    floating_aliases=("newest",),
    display_name="Großer Bär",
)


@pytest.mark.parametrize(
    ("parameters", "query"),
    [
        ({}, Query()),
        ({"task": "embed", "owned_by": "me", "q": "x"}, Query("embed", "me", "x")),
        ({"task": "", "owned_by": "", "q": "", "aliases": ""}, Query()),
        ({"aliases": "collapse"}, Query(collapse=True)),
        ({"aliases": "list"}, Query()),
        ({"new": "1", "limit": "-5", "TASK": "dance"}, Query()),
    ],
)
def test_parameters_are_read_and_unknown_ones_ignored(parameters: Mapping[str, str], query: Query) -> None:
    assert read_query(parameters) == query


@pytest.mark.parametrize(
    ("parameters", "collapses"), [({}, True), ({"aliases": "list"}, False), ({"aliases": "collapse"}, True)]
)
def test_the_operator_decides_where_a_client_does_not(parameters: Mapping[str, str], *, collapses: bool) -> None:
    assert read_query(parameters, collapse=True).collapse is collapses


@pytest.mark.parametrize(
    ("parameters", "param"), [({"task": "dance"}, "task"), ({"task": "EMBED"}, "task"), ({"aliases": "no"}, "aliases")]
)
def test_what_can_not_be_meant_is_an_error_that_says_what_can(parameters: Mapping[str, str], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_query(parameters)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert all(task in caught.value.message for task in TASKS) is (param == "task")


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        (Query(), True),
        (Query(task="vision"), True),
        (Query(task="embed"), False),
        (Query(owned_by="Org"), True),
        (Query(owned_by="org"), False),
        (Query(text="BIG-7"), True),
        (Query(text="NEWEST"), True),
        (Query(text="oRg"), True),
        (Query(text="GROSSER"), True),
        (Query(text="small"), False),
        (Query("vision", "Org", "bär"), True),
        (Query("vision", "Org", "small"), False),
        (Query("vision", "else", "bär"), False),
        (Query("embed", "Org", "bär"), False),
    ],
)
def test_all_filters_must_hold(query: Query, *, matches: bool) -> None:
    assert query.matches(BIG) is matches


@settings(max_examples=25)
@given(model=models(), collapse=st.booleans())
def test_an_empty_query_wants_everything(model: Model, *, collapse: bool) -> None:
    query = Query(collapse=collapse)
    assert query.wants_all
    assert query.matches(model)
    assert not any(each.wants_all for each in (Query(task="embed"), Query(owned_by="x"), Query(text="x")))


@settings(max_examples=25)
@given(models())
def test_a_model_is_found_by_all_that_is_said_of_it(model: Model) -> None:
    for task in TASKS:
        assert Query(task=task).matches(model) is (task in model.tasks)
    for text in (*model.ids, model.owned_by, model.display_name or model.id):
        assert Query(text=text).matches(model)
        assert Query(text=text.upper()).matches(model) or text.upper().casefold() != text.casefold()
