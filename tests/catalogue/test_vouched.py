from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.catalogue.model import TASKS, Evidence, Facts, Lifecycle, Model, Source, Statement
from privity.catalogue.vouched import vouched
from privity.errors import StatementError

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MODEL = Model(
    id="org/Big",
    tasks=("generate", "vision"),
    created=7,
    owned_by="org",
    aliases=("big", "b"),
    floating_aliases=("latest",),
    display_name="Big",
    context_length=4096,
    max_output_tokens=1024,
    root="big.gguf",
    evidence=(Evidence("generate", "probed", 6), Evidence("vision", "engine")),
    facts=Facts("llama", 10**9, "Q4_1", 10**10, "0f" * 32, "mit", 512),
)

NUMBERS = st.integers(0, 9)
WORDS = st.sampled_from(["me", "you", "x"])


@st.composite
def models(draw: st.DrawFn) -> Model:
    """Models with one ID, and few enough further ones that two models have some in common."""
    ids = draw(st.permutations("abcdef"))
    cuts = sorted(draw(st.tuples(st.integers(0, 6), st.integers(0, 6))))
    tasks = tuple(each for each in TASKS if draw(st.booleans()))
    sources = st.sampled_from(get_args(Source))
    return Model(
        id="x",
        tasks=tasks,
        created=draw(NUMBERS),
        owned_by=draw(WORDS),
        aliases=tuple(ids[: cuts[0]]),
        floating_aliases=tuple(ids[cuts[0] : cuts[1]]),
        display_name=draw(st.none() | WORDS),
        context_length=draw(st.none() | NUMBERS),
        max_output_tokens=draw(st.none() | NUMBERS),
        root=draw(st.none() | WORDS),
        evidence=tuple(Evidence(each, draw(sources)) for each in tasks if draw(st.booleans())),
        facts=Facts(architecture=draw(st.none() | WORDS), size=draw(st.none() | NUMBERS)),
    )


@contextmanager
def altered(text: str | None = None) -> Iterator[None]:
    with pytest.raises(StatementError, match=text) as caught:
        yield
    assert caught.value.reason == "altered"


def names(model: Model) -> set[str]:
    return {model.id, *model.aliases, *model.floating_aliases}


def test_a_row_that_says_what_was_signed_is_believed() -> None:
    assert vouched(MODEL, MODEL) == replace(MODEL, verified=True)


@given(models(), models())
def test_nothing_is_believed_that_was_not_signed(row: Model, signed: Model) -> None:
    if not set(row.tasks) & set(signed.tasks):
        with altered():
            vouched(row, signed)
        return
    believed = vouched(row, signed)
    assert names(believed) == names(row) & names(signed)
    assert set(believed.aliases) <= set(signed.aliases)
    assert set(believed.floating_aliases) <= set(signed.floating_aliases)
    assert set(believed.tasks) == set(row.tasks) & set(signed.tasks)
    assert believed.tasks == tuple(each for each in TASKS if each in believed.tasks)
    for mine, said, theirs in (
        (believed.context_length, signed.context_length, row.context_length),
        (believed.max_output_tokens, signed.max_output_tokens, row.max_output_tokens),
    ):
        assert mine in (said, theirs)
        assert (mine is None) == (said is None)
        assert (mine or 0) <= (said or 0)
    assert set(believed.evidence) == {each for each in signed.evidence if each.task in believed.tasks}
    assert (believed.owned_by, believed.display_name, believed.root, believed.facts, believed.created) == (
        *(signed.owned_by, signed.display_name, signed.root, signed.facts),
        row.created,
    )


def test_a_gateway_says_what_is_a_gateways_to_say() -> None:
    row = replace(
        MODEL,
        created=1,
        lifecycle=Lifecycle(NOW, None, "org/Bigger"),
        status="degraded",
        visible_to=frozenset({"g"}),
        statement=Statement(b"p", b"s", b"c"),
        verified=False,
    )
    assert vouched(row, MODEL) == replace(row, verified=True)


@pytest.mark.parametrize(
    ("signed", "row", "believed"),
    [(8, 4, 4), (4, 8, 4), (4, None, 4), (None, 4, None), (None, None, None), (4, 0, 0), (4, -1, 0)],
)
def test_a_gateway_can_lower_a_number_of_tokens_only(signed: int | None, row: int | None, believed: int | None) -> None:
    model = vouched(
        replace(MODEL, context_length=row, max_output_tokens=row),
        replace(MODEL, context_length=signed, max_output_tokens=signed),
    )
    assert (model.context_length, model.max_output_tokens) == (believed, believed)


def test_a_gateway_can_hide_a_name_but_not_say_which_ones_float() -> None:
    row = replace(MODEL, aliases=("latest", "other"), floating_aliases=("b", "m"))
    believed = vouched(row, MODEL)
    assert (believed.aliases, believed.floating_aliases) == (("b",), ("latest",))


def test_a_statement_about_another_model_vouches_for_nothing() -> None:
    with altered("another model"):
        vouched(replace(MODEL, id="big", aliases=("org/Big",)), MODEL)


@pytest.mark.parametrize("tasks", [(), ("embed",), ("tool_calling", "transcribe")])
def test_a_row_with_none_of_the_signed_tasks_is_altered(tasks: tuple[str, ...]) -> None:
    with altered("none of the model's tasks"):
        vouched(replace(MODEL, tasks=tasks), MODEL)
