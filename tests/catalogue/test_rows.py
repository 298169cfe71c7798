import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.catalogue.catalogue import Catalogue
from privity.catalogue.model import TASKS, Model, in_order
from privity.catalogue.rows import MAX_ROWS, read_models
from privity.errors import UpstreamProtocolError


def listing(rows: object) -> bytes:
    return json.dumps({"object": "list", "data": rows}).encode()


@st.composite
def models(draw: st.DrawFn) -> list[Model]:
    ids = draw(st.lists(st.text(min_size=1), unique=True, min_size=1, max_size=8))
    cuts = sorted(draw(st.sets(st.integers(1, len(ids)), max_size=3)) | {len(ids)})
    return [
        Model(
            id=ids[start],
            tasks=in_order(draw(st.sets(st.sampled_from(TASKS)))),
            created=draw(st.integers(0, 2**40)),
            owned_by=draw(st.text()),
            aliases=tuple(ids[start + 1 : end]),
            context_length=draw(st.none() | st.integers(1, 2**30)),
            root=draw(st.none() | st.text()),
        )
        for start, end in zip([0, *cuts], cuts, strict=False)
        if start < end
    ]


@given(models())
def test_models_survive_the_way_through_a_list(given_models: list[Model]) -> None:
    assert read_models(listing(Catalogue(given_models).rows)) == tuple(given_models)


@pytest.mark.parametrize(
    ("row", "model"),
    [
        ({"id": "m"}, Model("m", (), 0, "unknown")),
        ({"id": "m", "tasks": ["vision", "dance", "generate"]}, Model("m", ("generate", "vision"), 0, "unknown")),
        ({"id": "m", "canonical": "m"}, Model("m", (), 0, "unknown")),
        ({"id": "m", "new": {"member": 1}, "max_model_len": 5}, Model("m", (), 0, "unknown")),
    ],
    ids=["bare", "unknown tasks", "points at itself", "unknown members"],
)
def test_a_row_may_know_less_or_more_than_ours(row: dict[str, Any], model: Model) -> None:
    assert read_models(listing([row])) == (model,)


def test_an_alias_row_is_part_of_its_canonical_one() -> None:
    assert read_models(listing([{"id": "a", "canonical": "org/a"}])) == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b"[]",
        b"{}",
        b'{"data": null}',
        b'{"data": [{}]}',
        b'{"data": [{"id": null}]}',
        b'{"data": [{"id": "m", "tasks": "generate"}]}',
        b'{"data": [{"id": "m", "created": "now"}]}',
        b'{"data": [{"id": "\xff"}]}',
        b'{"data": [{"id": "m", "x": ' + b"[" * 100_000,
        listing([{"id": str(number)} for number in range(MAX_ROWS + 1)]),
    ],
    ids=range(12),
)
def test_what_is_no_model_list_is_refused(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        read_models(body)


@given(st.binary())
def test_any_bytes_are_models_or_the_one_error(body: bytes) -> None:
    try:
        read_models(body)
    except UpstreamProtocolError:
        return
