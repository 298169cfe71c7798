from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.catalogue.dialects import openai
from privity.catalogue.model import (
    TASK_OF_ENDPOINT,
    TASKS,
    Evidence,
    Facts,
    Lifecycle,
    Model,
    Statement,
    in_order,
    without_none,
)
from privity.testing.models import models

NOW = datetime(2026, 5, 1, tzinfo=UTC)

FULL = Model(
    id="org/Big",
    tasks=("generate",),
    created=7,
    owned_by="org",
    aliases=("big", "b"),
    context_length=4096,
    root="big.gguf",
)


@given(st.lists(st.sampled_from([*TASKS, "dance"])))
# models-api.md item 2
def test_tasks_come_once_each_in_the_order_of_the_list_and_only_known_ones(tasks: list[str]) -> None:
    assert in_order(tasks) == tuple(sorted(set(tasks) - {"dance"}, key=TASKS.index))


def test_only_none_is_unknown() -> None:
    assert without_none({"a": None, "b": 0, "c": "", "d": False, "e": []}) == {"b": 0, "c": "", "d": False, "e": []}


def test_every_endpoint_needs_a_known_task() -> None:
    assert set(TASK_OF_ENDPOINT.values()) <= set(TASKS)


COMMON = {
    "object": "model",
    "created": 7,
    "owned_by": "org",
    "tasks": ["generate"],
    "status": "available",
    "max_model_len": 4096,
    "context_length": 4096,
    "root": "big.gguf",
}


@pytest.mark.parametrize(
    ("listed", "extra"),
    [("org/Big", {"aliases": ["big", "b"]}), ("big", {"canonical": "org/Big"}), ("b", {"canonical": "org/Big"})],
)
def test_a_canonical_row_names_its_aliases_and_an_alias_row_its_canonical_one(
    listed: str, extra: dict[str, Any]
) -> None:
    assert openai.row(FULL, listed, NOW) == {"id": listed, **COMMON, **extra}


def test_what_is_unknown_is_left_out_and_never_null() -> None:
    row = openai.row(Model("m", (), 1, "me"), "m", NOW)
    assert row == {"id": "m", "object": "model", "created": 1, "owned_by": "me", "tasks": [], "status": "available"}


def test_rows_share_no_list_with_their_model() -> None:
    openai.row(FULL, "big", NOW)["tasks"].append("vision")
    assert openai.row(FULL, "big", NOW)["tasks"] == ["generate"]


# models-api.md item 3


@settings(max_examples=25)
@given(models())
def test_full_ids_come_before_short_ones_and_each_comes_once(model: Model) -> None:
    assert sorted(model.ids) == sorted({model.id, *model.aliases, *model.floating_aliases})
    shapes = ["/" in each for each in model.ids]
    assert shapes == sorted(shapes, reverse=True)


@settings(max_examples=25)
@given(models())
def test_an_answer_bears_the_id_that_was_asked_for_and_the_canonical_one_for_a_floating_alias(model: Model) -> None:
    for each in (model.id, *model.aliases):
        assert model.answer_id(each) == each
    for each in model.floating_aliases:
        assert model.answer_id(each) == model.id


@pytest.mark.parametrize(
    ("visible_to", "groups", "sees"),
    [
        (None, (), True),
        (None, ("a",), True),
        (("a",), ("a", "b"), True),
        (("a",), ("b",), False),
        (("a",), (), False),
        ((), ("a",), False),
    ],
)
def test_item_7_keys_of_the_right_groups_see_a_model(
    visible_to: tuple[str, ...] | None, groups: tuple[str, ...], *, sees: bool
) -> None:
    groups_of_model = None if visible_to is None else frozenset(visible_to)
    model = Model("m", (), 1, "me", visible_to=groups_of_model)
    assert model.is_visible_to(frozenset(groups)) is sees


def test_a_model_comes_to_its_end_at_the_very_moment() -> None:
    second = timedelta(seconds=1)
    lifecycle = Lifecycle(deprecated_at=NOW, retires_at=NOW + second)
    assert [lifecycle.is_deprecated(NOW + shift) for shift in (-second, 0 * second, second)] == [False, True, True]
    assert [lifecycle.is_retired(NOW + shift) for shift in (0 * second, second)] == [False, True]
    assert not Lifecycle().is_deprecated(NOW)
    assert not Lifecycle().is_retired(NOW)


@pytest.mark.parametrize(
    ("verified", "listed", "is_verified"),
    [(None, "m", None), (None, "mine", None), (False, "m", False), (True, "m", True), (True, "mine", False)],
)
def test_an_id_is_verified_where_the_statement_holds_it(
    verified: bool | None,  # noqa: FBT001  # a row of the table
    listed: str,
    is_verified: bool | None,  # noqa: FBT001
) -> None:
    model = Model("m", (), 1, "me", aliases=("mine",), verified=verified, unsigned_ids=frozenset({"mine"}))
    assert model.is_verified(listed) is is_verified


def test_a_records_repr_has_no_certificate() -> None:
    model = Model("m", (), 1, "me", statement=Statement(b"payload", b"signature", b"canary"), facts=Facts(size=1))
    assert "canary" not in repr(model)
    assert "size=1" in repr(model)


def test_records_are_values() -> None:
    assert Evidence("embed", "probed", 1) == Evidence("embed", "probed", 1)
    assert len({FULL, FULL}) == 1
