import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.catalogue import full
from privity.catalogue.catalogue import Catalogue
from privity.catalogue.model import MAX_ALIASES, MAX_ID_CHARACTERS, MAX_NUMBER, Facts, Lifecycle, Model, Statement
from privity.catalogue.projections import full_list, openai_list, signers_of
from privity.catalogue.query import Query
from privity.catalogue.rows import MAX_ROWS, read_model, read_models
from privity.errors import UpstreamProtocolError
from privity.testing.models import whole_fleets

LONG_AGO = datetime(1999, 1, 1, tzinfo=UTC)
"""Before the end of any model."""


def bare(name: str) -> Model:
    return Model(name, (), 0, "unknown")


def listing(rows: object) -> bytes:
    return json.dumps({"object": "list", "data": rows}).encode()


def exact(number: int | None) -> int | None:
    return None if number is None else min(number, MAX_NUMBER)


def told(model: Model) -> Model:
    """Return what of a model is told: times in whole seconds, numbers up to those that every reader has exactly."""
    deprecated_at, retires_at = (
        None if each is None else each.replace(microsecond=0)
        for each in (model.lifecycle.deprecated_at, model.lifecycle.retires_at)
    )
    facts = model.facts
    return replace(
        model,
        created=min(model.created, MAX_NUMBER),
        context_length=exact(model.context_length),
        max_output_tokens=exact(model.max_output_tokens),
        facts=replace(
            facts,
            parameters=exact(facts.parameters),
            size=exact(facts.size),
            embedding_length=exact(facts.embedding_length),
        ),
        lifecycle=Lifecycle(deprecated_at, retires_at, model.lifecycle.replacement),
        visible_to=None,
        verified=None,
    )


def statements() -> st.SearchStrategy[Statement | None]:
    some = st.binary(min_size=1, max_size=8)
    return st.none() | st.builds(Statement, some, some, some)


@st.composite
def signed(draw: st.DrawFn) -> list[Model]:
    return [replace(told(each), statement=draw(statements())) for each in draw(whole_fleets())]


# models-api.md item 12: what is told of one record comes through whole
@settings(max_examples=25)
@given(signed())
def test_whole_records_survive_the_way_through_a_list(given_models: list[Model]) -> None:
    view = Catalogue(given_models, LONG_AGO).view()
    assert read_models(full_list(view).body()) == tuple(given_models)


@settings(max_examples=25)
@given(signed())
def test_models_survive_the_way_through_a_plain_list_without_what_it_does_not_say(given_models: list[Model]) -> None:
    plain = [replace(each, facts=Facts(), statement=None) for each in given_models]
    assert read_models(openai_list(Catalogue(given_models, LONG_AGO).view(), Query()).body()) == tuple(plain)


@settings(max_examples=25)
@given(signed(), st.none() | st.fixed_dictionaries({"replicas": st.integers(0, 9), "age_seconds": st.floats(0, 9)}))
def test_one_model_survives_the_way_through_an_answer(given_models: list[Model], health: dict[str, Any] | None) -> None:
    for model in given_models:
        whole = full.row(model, model.id, LONG_AGO)
        if model.statement is not None:
            whole["signers"] = signers_of({model.statement.certificate})
        if health is not None:
            whole["health"] = health
        assert read_model(json.dumps(whole).encode()) == (model, health)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"id": 5}', b'{"id": "a", "canonical": "org/a"}'])
def test_what_is_no_model_is_refused(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        read_model(body)


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


MANY_IDS = [str(number) for number in range(MAX_ALIASES + 1)]


# One row shall not take the others with it.
@pytest.mark.parametrize(
    "row",
    [
        {},
        5,
        None,
        {"id": None},
        {"id": ""},
        {"id": " m"},
        {"id": "m\n"},
        {"id": "m" * (MAX_ID_CHARACTERS + 1)},
        {"id": "m", "aliases": ["b "]},
        {"id": "m", "aliases": MANY_IDS},
        {"id": "m", "floating_aliases": MANY_IDS},
        {"id": "m", "aliases": MANY_IDS[:-1], "floating_aliases": MANY_IDS[-1:]},
        {"id": "m", "tasks": "generate"},
        {"id": "m", "created": "now"},
        {"id": "m", "created": -1},
        {"id": "m", "created": 2**53},
        {"id": "m", "retires_at": "0001-01-01T00:00:00+10:00"},
        {"id": "m", "deprecated_at": "9999-12-31T23:59:59-10:00"},
        {"id": "m", "retires_at": "2026-05-01T00:00:00"},
        {"id": "m", "status": "asleep"},
    ],
    ids=str,
)
def test_a_row_that_can_not_be_read_is_left_out(row: object) -> None:
    assert read_models(listing([{"id": "first"}, row, {"id": "last"}])) == (bare("first"), bare("last"))


def test_a_row_that_is_no_text_is_left_out() -> None:
    assert read_models(b'{"data": [{"id": "\xff"}, {"id": "m"}]}') == (bare("m"),)


@pytest.mark.parametrize("number", [0, -1, 2**53, 2**64, 2**70])
def test_numbers_that_can_not_be_are_not_known(number: int) -> None:
    facts = dict.fromkeys(("parameters", "size", "embedding_length"), number)
    row = {"id": "m", "context_length": number, "max_output_tokens": number, "facts": facts}
    (model,) = read_models(listing([row]))
    assert model == bare("m")
    assert full_list(Catalogue([model], LONG_AGO).view()).body()


def test_as_many_further_ids_as_a_statement_may_have_are_read() -> None:
    row = {"id": "m", "aliases": ["m", *MANY_IDS[1:]], "floating_aliases": MANY_IDS[-1:]}
    (model,) = read_models(listing([row]))
    assert (model.aliases, model.floating_aliases) == (tuple(MANY_IDS[1:-1]), tuple(MANY_IDS[-1:]))


def test_further_ids_come_once_each() -> None:
    row = {"id": "m", "aliases": ["a", "m", "a", "b", "f"], "floating_aliases": ["f", "f", "m"]}
    (model,) = read_models(listing([row]))
    assert (model.aliases, model.floating_aliases) == (("a", "b"), ("f",))


@pytest.mark.parametrize("broken", [{"payload": "!"}, {"signature": "!"}, {"signer": "somebody"}], ids=str)
def test_a_statement_that_can_not_be_read_is_none(broken: dict[str, str]) -> None:
    signed_model = replace(bare("m"), statement=Statement(b"payload", b"signature", b"certificate"))
    given_list = json.loads(full_list(Catalogue([signed_model], LONG_AGO).view()).body())
    assert read_models(json.dumps(given_list).encode()) == (signed_model,)
    given_list["data"][0]["statement"] |= broken
    assert read_models(json.dumps(given_list).encode()) == (bare("m"),)
    given_list["signers"] = dict.fromkeys(given_list["signers"], "!")
    assert read_models(json.dumps(given_list).encode()) == (bare("m"),)


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
        b'{"data": [{"id": "m", "x": ' + b"[" * 100_000,
        listing([{"id": str(number)} for number in range(MAX_ROWS + 1)]),
    ],
    ids=range(7),
)
def test_what_is_no_model_list_is_refused(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        read_models(body)


@given(st.binary())
def test_any_bytes_are_models_or_the_one_error(body: bytes) -> None:
    try:
        read_models(body)
        read_model(body)
    except UpstreamProtocolError:
        return
