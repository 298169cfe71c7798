from datetime import UTC, datetime

import pytest

from privity.catalogue.declared import Conflict, Declared, apply, conflicts, shadowed
from privity.catalogue.model import Evidence, Lifecycle, Model

BIG = Model(
    id="org/Big",
    tasks=("generate", "tool_calling"),
    created=7,
    owned_by="org",
    aliases=("big",),
    floating_aliases=("latest",),
    context_length=4096,
    evidence=(Evidence("generate", "engine"), Evidence("tool_calling", "probed", 9)),
)
OTHER = Model("org/other", ("embed",), 8, "org")
EARLY, LATE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)


def laid_over(*declared: Declared, model: Model = BIG, narrow: bool = True) -> Model:
    (result,) = apply(declared, [model], narrow=narrow)
    return result


@pytest.mark.parametrize("narrow", [True, False])
def test_nothing_declared_is_nothing_changed(narrow: bool) -> None:  # noqa: FBT001
    declared = [Declared("org/Big"), Declared("nobody", tasks=("embed",), aliases=("x",))]
    assert list(apply(declared, [BIG, OTHER], narrow=narrow)) == [BIG, OTHER]


@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.parametrize("model_id", ["org/Big", "big", "latest"])
def test_any_id_means_the_model_and_none_renames_it(model_id: str, narrow: bool) -> None:  # noqa: FBT001
    end = Lifecycle(EARLY, LATE, "org/other")
    declared = Declared(
        model_id,
        aliases=("b", "big"),
        floating_aliases=("best", "org/Big"),
        owned_by="us",
        display_name="Big One",
        created=0,
        lifecycle=end,
        visible_to=frozenset({"staff"}),
    )
    model = laid_over(declared, narrow=narrow)
    assert model.id == "org/Big"
    assert model.aliases == ("big", "b")
    assert model.floating_aliases == ("latest", "best")
    assert (model.owned_by, model.display_name, model.created) == ("us", "Big One", 0)
    assert (model.lifecycle, model.visible_to) == (end, frozenset({"staff"}))
    assert (model.tasks, model.evidence, model.context_length) == (BIG.tasks, BIG.evidence, 4096)


@pytest.mark.parametrize(
    ("declared", "tasks", "evidence"),
    [
        (("tool_calling", "generate"), BIG.tasks, BIG.evidence),
        (("generate",), ("generate",), BIG.evidence[:1]),
        (("generate", "vision"), ("generate",), BIG.evidence[:1]),
        (("embed",), (), ()),
    ],
)
def test_a_gateway_only_takes_tasks_away(
    declared: tuple[str, ...], tasks: tuple[str, ...], evidence: tuple[Evidence, ...]
) -> None:
    model = laid_over(Declared("big", tasks=declared))
    assert (model.tasks, model.evidence) == (tasks, evidence)


def test_an_inference_proxys_operator_vouches_for_what_the_engine_did_not_report() -> None:
    model = laid_over(Declared("big", tasks=("vision", "generate")), narrow=False)
    assert model.tasks == ("generate", "vision")
    assert model.evidence == (Evidence("generate", "engine"), Evidence("vision", "declared"))


@pytest.mark.parametrize(
    ("declared", "served", "narrowed", "replaced"),
    [(1024, 4096, 1024, 1024), (8192, 4096, 4096, 8192), (8192, None, 8192, 8192), (None, 4096, 4096, 4096)],
)
def test_a_gateway_only_makes_lengths_smaller(
    declared: int | None, served: int | None, narrowed: int, replaced: int
) -> None:
    entry = Declared("m", context_length=declared, max_output_tokens=declared)
    model = Model("m", ("generate",), 1, "org", context_length=served, max_output_tokens=served)
    for narrow, expected in ((True, narrowed), (False, replaced)):
        result = laid_over(entry, model=model, narrow=narrow)
        assert (result.context_length, result.max_output_tokens) == (expected, expected)


def test_of_two_declarations_of_one_model_both_hold_and_none_opens_what_the_other_closed() -> None:
    first = Declared("big", owned_by="first", aliases=("a", "x"), visible_to=frozenset({"a", "b"}))
    second = Declared("org/Big", owned_by="second", aliases=("x", "b"), visible_to=frozenset({"b", "c"}))
    third = Declared("latest")
    model = laid_over(first, second, third)
    assert (model.owned_by, model.aliases, model.visible_to) == ("second", ("big", "a", "x", "b"), frozenset({"b"}))
    assert laid_over(second, first).owned_by == "first"


# Declarations among each other


def test_declarations_that_hold_together() -> None:
    declared = [
        Declared("org/a", aliases=("a",), floating_aliases=("latest",)),
        Declared("org/b", aliases=("b",), lifecycle=Lifecycle(EARLY, EARLY, "org/a")),
        Declared("org/c", lifecycle=Lifecycle(retires_at=EARLY)),
    ]
    assert list(conflicts(declared)) == []


@pytest.mark.parametrize(
    ("declared", "conflict"),
    [
        (
            [Declared("org/a", aliases=("x",)), Declared("org/b", floating_aliases=("y", "x"))],
            Conflict(1, ("floating_aliases", 1), "the models org/a and org/b both claim the ID x."),
        ),
        (
            [Declared("org/a", aliases=("org/b",)), Declared("org/b")],
            Conflict(1, ("id",), "the models org/a and org/b both claim the ID org/b."),
        ),
        ([Declared("org/a"), Declared("org/a")], Conflict(1, ("id",), "the model org/a is declared twice.")),
        (
            [Declared("a", aliases=("b", "a"))],
            Conflict(0, ("aliases", 1), "the model a has the ID a already."),
        ),
        (
            [Declared("a", aliases=("b",), floating_aliases=("b",))],
            Conflict(0, ("floating_aliases", 0), "the model a has the ID b already."),
        ),
        (
            [Declared("a", aliases=("b",), lifecycle=Lifecycle(replacement="b"))],
            Conflict(0, ("replacement",), "the model a can't replace itself."),
        ),
        (
            [Declared("a", lifecycle=Lifecycle(LATE, EARLY))],
            Conflict(0, ("retires_at",), "the model a would retire before it is deprecated."),
        ),
    ],
)
def test_a_conflict_names_both_and_the_place(declared: list[Declared], conflict: Conflict) -> None:
    assert list(conflicts(declared)) == [conflict]


@pytest.mark.parametrize("narrow", [True, False])
def test_a_declared_alias_never_takes_another_served_models_id(*, narrow: bool) -> None:
    served = [Model("a", ("generate",), 1, "me"), Model("org/b", ("embed",), 1, "me", ("b",))]
    declared = [Declared("a", aliases=("b", "c"), floating_aliases=("org/b", "d"))]
    laid_over = list(apply(declared, served, narrow=narrow))
    assert [model.ids for model in laid_over] == [("a", "c", "d"), ("org/b", "b")]
    assert list(shadowed(declared, served)) == [("b", "org/b", "a"), ("org/b", "org/b", "a")]
