"""models-api.md item 3: two models that claim one ID."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from privity.catalogue.catalogue import Catalogue
from privity.catalogue.merge import without_collisions
from privity.catalogue.model import Model
from privity.testing.models import guarded_models

LONG_AGO = datetime(1999, 1, 1, tzinfo=UTC)


def model(*ids: str) -> Model:
    return Model(ids[0], ("generate",), 1, "me", aliases=ids[1:])


def test_the_first_has_the_id_and_the_collision_names_both() -> None:
    every = [model("a", "x"), model("b"), model("c", "y", "x"), model("d")]
    kept, (collision,) = without_collisions(every)
    assert kept == [every[0], every[1], every[3]]
    assert (collision.claimed, collision.first, collision.second) == ("x", "a", "c")


def test_a_model_that_is_left_out_claims_nothing() -> None:
    every = [model("a", "x"), model("b", "x", "y"), model("c", "y")]
    kept, collisions = without_collisions(every)
    assert [each.id for each in kept] == ["a", "c"]
    assert len(collisions) == 1


def test_a_model_that_claims_an_id_twice_collides_with_itself() -> None:
    kept, (collision,) = without_collisions([model("a", "x", "x"), model("b", "x")])
    assert [each.id for each in kept] == ["b"]
    assert (collision.claimed, collision.first, collision.second) == ("x", "a", "a")


@given(every=st.lists(guarded_models(), max_size=6), twice=st.booleans())
def test_what_is_kept_makes_a_catalogue_and_the_rest_would_not(every: list[Model], *, twice: bool) -> None:
    every = [replace(each, aliases=(*each.aliases, *each.aliases[:twice])) for each in every]
    kept, collisions = without_collisions(every)
    catalogue = Catalogue(kept, LONG_AGO)
    assert catalogue.models == kept
    assert len(kept) + len(collisions) == len(every)
    assert [each for each in every if any(each is other for other in kept)] == kept, "the order is kept"
    for each in collisions:
        assert each.claimed in catalogue.by_id or each.first == each.second
