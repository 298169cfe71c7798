import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.catalogue.catalogue import MAX_SUGGESTIONS, Catalogue, IdCollisionError, require_task
from privity.catalogue.model import Model
from privity.errors import ModelNotFoundError, WrongTaskError


def model(*ids: str, tasks: tuple[str, ...] = ("generate",)) -> Model:
    return Model(id=ids[0], tasks=tasks, created=1, owned_by="me", aliases=ids[1:])


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
    catalogue = Catalogue(given_models)
    listed = [row["id"] for row in catalogue.rows]
    assert listed == list(catalogue.by_id)
    assert sorted(listed) == sorted(each for one in given_models for each in one.ids)
    for each in listed:
        assert each in catalogue.find(each).ids
    if other not in listed:
        with pytest.raises(ModelNotFoundError):
            catalogue.find(other)


@given(models())
def test_each_canonical_row_stands_right_before_its_alias_rows(given_models: list[Model]) -> None:
    rows = iter(Catalogue(given_models).rows)
    for one in given_models:
        canonical = next(rows)
        assert canonical["id"] == one.id
        assert canonical.get("aliases", []) == list(one.aliases)
        for alias in one.aliases:
            row = next(rows)
            assert (row["id"], row["canonical"]) == (alias, one.id)
    assert next(rows, None) is None


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
        Catalogue([model(*first), model("bystander"), model(*second)])
    assert (caught.value.claimed, caught.value.first.id, caught.value.second.id) == (claimed, first[0], second[0])
    assert all(each in str(caught.value) for each in (claimed, first[0], second[0]))


def test_a_model_that_claims_an_id_twice_collides_with_itself() -> None:
    with pytest.raises(IdCollisionError):
        Catalogue([model("x", "x")])


def test_ids_can_be_read_but_not_changed() -> None:
    with pytest.raises(TypeError):
        Catalogue([model("x")]).by_id["y"] = model("y")  # type: ignore[index]  # that it can't is the point


MANY = Catalogue([model(f"org/Model-{size}B-Instruct", f"model-{size}b-instruct") for size in (1, 3, 7, 70)])


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
    ("catalogue", "hint"), [(MANY, "GET /v1/models lists"), (Catalogue(), "no model is available at the moment")]
)
def test_an_id_that_is_near_nothing_is_answered_with_where_to_look(catalogue: Catalogue, hint: str) -> None:
    with pytest.raises(ModelNotFoundError, match=hint):
        catalogue.find("§§§§")


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
