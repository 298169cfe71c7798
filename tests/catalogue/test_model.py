from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.catalogue.model import TASK_OF_ENDPOINT, TASKS, Model, in_order

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
def test_tasks_come_once_each_in_the_order_of_the_list_and_only_known_ones(tasks: list[str]) -> None:
    assert in_order(tasks) == tuple(sorted(set(tasks) - {"dance"}, key=TASKS.index))


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
    assert FULL.row(listed) == {"id": listed, **COMMON, **extra}


def test_what_is_unknown_is_left_out_and_never_null() -> None:
    row = Model("m", (), 1, "me").row("m")
    assert row == {"id": "m", "object": "model", "created": 1, "owned_by": "me", "tasks": [], "status": "available"}


def test_rows_share_no_list_with_their_model() -> None:
    FULL.row("big")["tasks"].append("vision")
    assert FULL.row("big")["tasks"] == ["generate"]
