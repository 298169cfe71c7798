from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.catalogue.catalogue import MAX_SHOWN_ID, MAX_SUGGESTIONS, Catalogue, IdCollisionError, View, require_task
from privity.catalogue.dialects import openai
from privity.catalogue.model import Lifecycle, Model
from privity.errors import ModelNotFoundError, WrongTaskError
from privity.testing.models import catalogues, groups

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def model(*ids: str, tasks: tuple[str, ...] = ("generate",)) -> Model:
    return Model(id=ids[0], tasks=tasks, created=1, owned_by="me", aliases=ids[1:])


def view(*models: Model) -> View:
    return Catalogue(models, NOW).view()


def listed(seen: View) -> list[str]:
    return [each for entry in seen.entries for each in entry.model.ids]


@st.composite
def models(draw: st.DrawFn) -> list[Model]:
    """Return models whose IDs are all different."""
    ids = draw(st.lists(st.text(min_size=1), unique=True))
    cut: list[Model] = []
    while ids:
        taken = draw(st.integers(1, min(3, len(ids))))
        cut.append(model(*ids[:taken]))
        ids = ids[taken:]
    return cut


@given(models(), st.text(min_size=1))
def test_what_is_listed_is_what_can_be_found(given_models: list[Model], other: str) -> None:
    catalogue = Catalogue(given_models, NOW)
    seen = catalogue.view()
    assert listed(seen) == list(catalogue.by_id) == list(catalogue.ids)
    assert sorted(listed(seen)) == sorted(each for one in given_models for each in one.ids)
    for each in listed(seen):
        assert each in seen
        assert each in seen.find(each).ids
    if other not in listed(seen):
        assert other not in seen
        with pytest.raises(ModelNotFoundError):
            seen.find(other)


# models-api.md item 3, models-api.md item 6
@given(models())
def test_the_rows_of_a_model_stand_together_and_aliases_point_at_the_canonical_one(given_models: list[Model]) -> None:
    rows = (openai.row(entry.model, each, NOW) for entry in view(*given_models).entries for each in entry.model.ids)
    for one in given_models:
        own = [next(rows) for _ in one.ids]
        assert {row["id"] for row in own} == set(one.ids)
        for row in own:
            if row["id"] == one.id:
                assert row.get("aliases", []) == list(one.aliases)
            else:
                assert row["canonical"] == one.id
    assert next(rows, None) is None


# models-api.md item 7


@given(catalogues(), groups(), st.data())
def test_item_7_one_predicate_decides_what_a_key_lists_and_what_it_finds(
    catalogue: Catalogue, of_key: frozenset[str] | None, data: st.DataObject
) -> None:
    seen = catalogue.view(of_key)
    assert seen.models == [
        each for each in catalogue.models if of_key is None or each.visible_to is None or each.visible_to & of_key
    ]
    for each in catalogue.by_id:
        assert (each in seen) == (each in listed(seen)) == (seen.get(each) is not None)
    hidden = [each for each in catalogue.by_id if each not in seen]
    if hidden:
        asked = data.draw(st.sampled_from(hidden))
        with pytest.raises(ModelNotFoundError) as caught:
            seen.find(asked)
        named = set(caught.value.message.split("`")[3::2])
        assert named <= set(listed(seen)), "what others may use doesn't show"
        strangers = Catalogue(seen.models, catalogue.as_of)
        with pytest.raises(ModelNotFoundError) as nobodys:
            strangers.view().find(asked)
        assert caught.value.message == nobodys.value.message


def test_keys_of_the_same_models_share_a_view() -> None:
    catalogue = Catalogue([replace(model("x"), visible_to=frozenset({"a"}))], NOW)
    assert catalogue.view(frozenset({"a", "b"})) is catalogue.view(frozenset({"a"}))
    assert catalogue.view(frozenset({"c"})) is catalogue.view(frozenset())
    assert catalogue.view() is not catalogue.view(frozenset())
    assert 5 not in catalogue.view()
    assert catalogue.view().as_of == NOW


# The end of models, and what a new catalogue takes over


def test_retired_models_are_not_there_and_free_their_ids() -> None:
    old = replace(model("old", "x"), lifecycle=Lifecycle(retires_at=NOW))
    assert Catalogue([old, model("new", "x")], NOW).view().find("x").id == "new"
    assert list(Catalogue([old], NOW - timedelta(seconds=1)).ids) == ["old", "x"]


def test_the_next_change_is_the_next_end_of_a_model() -> None:
    day = timedelta(days=1)
    lifecycles = [Lifecycle(NOW - day, NOW + 3 * day), Lifecycle(NOW + 2 * day, None), Lifecycle()]
    every = [replace(model(str(place)), lifecycle=each) for place, each in enumerate(lifecycles)]
    assert Catalogue(every, NOW).next_change == NOW + 2 * day
    assert Catalogue(every, NOW + 2 * day).next_change == NOW + 3 * day
    assert Catalogue(every, NOW + 3 * day).next_change is None


def test_entries_are_taken_over_where_their_rows_are_the_same() -> None:
    ends = replace(model("ends"), lifecycle=Lifecycle(deprecated_at=NOW))
    before = Catalogue([model("x"), model("y"), ends], NOW - timedelta(seconds=1))
    after = Catalogue([ends, model("x"), model("y", "z")], NOW, before)
    same = {name: before.by_id[name] is after.by_id[name] for name in ("x", "y", "ends")}
    assert same == {"x": True, "y": False, "ends": False}
    assert after.by_id["ends"].deprecated
    assert not before.by_id["ends"].deprecated


@settings(max_examples=25)
@given(catalogues(), catalogues())
def test_what_was_before_never_shows(before: Catalogue, after: Catalogue) -> None:
    for entry in before.view().entries:
        entry.rows(openai.row, collapse=False)
    built = Catalogue(after.models, after.as_of, before)
    rows = [[entry.rows(openai.row, collapse=False) for entry in each.view().entries] for each in (built, after)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("first", "second", "claimed"),
    [
        (("a/x", "x"), ("b/x", "x"), "x"),
        (("a/x", "x"), ("x",), "x"),
        (("x",), ("a/x", "x"), "x"),
        (("x",), ("x",), "x"),
        (("a", "x"), ("b", "y", "a"), "a"),
    ],
)
def test_a_collision_names_the_id_and_both_models(
    first: tuple[str, ...], second: tuple[str, ...], claimed: str
) -> None:
    with pytest.raises(IdCollisionError) as caught:
        Catalogue([model(*first), model("bystander"), model(*second)], NOW)
    assert (caught.value.claimed, caught.value.first, caught.value.second) == (claimed, first[0], second[0])
    assert all(each in str(caught.value) for each in (claimed, first[0], second[0]))


def test_a_model_that_claims_an_id_twice_collides_with_itself() -> None:
    with pytest.raises(IdCollisionError):
        Catalogue([model("x", "x")], NOW)


def test_ids_can_be_read_but_not_changed() -> None:
    with pytest.raises(TypeError):
        Catalogue([model("x")], NOW).by_id["y"] = model("y")  # type: ignore[index]  # that it can't is the point


# models-api.md item 5

MANY = view(*(model(f"org/Model-{size}B-Instruct", f"model-{size}b-instruct") for size in (1, 3, 7, 70)))


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [
        ("MODEL-7B-INSTRUCT", "`model-7b-instruct`"),
        ("model-7b", "`model-7b-instruct`"),
        ("org/model-70b-instruct", "70B"),
    ],
)
def test_an_unknown_id_is_answered_with_the_nearest_ones(wanted: str, nearest: str) -> None:
    with pytest.raises(ModelNotFoundError, match=nearest) as caught:
        MANY.find(wanted)
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "model_not_found", "model")
    assert caught.value.message.count("`") <= 2 * (MAX_SUGGESTIONS + 1)


@pytest.mark.parametrize(
    ("seen", "hint"), [(MANY, "GET /v1/models lists"), (view(), "no model is available at the moment")]
)
def test_an_id_that_is_near_nothing_is_answered_with_where_to_look(seen: View, hint: str) -> None:
    with pytest.raises(ModelNotFoundError, match=hint):
        seen.find("§§§§")


@pytest.mark.parametrize("asked", ["a" * 1_000_000, "\n\x1b[31m" + "z" * 1000, ""])
def test_the_message_about_an_unknown_id_is_short_and_printable(asked: str) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        MANY.find(asked)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 3 * MAX_SHOWN_ID


@pytest.mark.parametrize(
    ("tasks", "endpoint", "fits"),
    [
        (("generate",), "/v1/chat/completions", True),
        (("generate", "vision"), "/v1/completions", True),
        (("embed",), "/v1/embeddings", True),
        (("embed",), "/v1/chat/completions", False),
        (("generate", "tool_calling"), "/v1/embeddings", False),
        ((), "/v1/completions", False),
    ],
)
def test_a_model_is_called_only_where_its_tasks_fit(tasks: tuple[str, ...], endpoint: str, *, fits: bool) -> None:
    asked = model("org/x", "x", tasks=tasks)
    if fits:
        require_task(asked, "x", endpoint)
        return
    with pytest.raises(WrongTaskError) as caught:
        require_task(asked, "x", endpoint)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "task_not_supported", "model")
    assert all(f"`{each}`" in caught.value.message for each in ("x", *tasks))
    assert endpoint in caught.value.message
