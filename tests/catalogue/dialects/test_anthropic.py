import re
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest
from anthropic.types import ModelInfo
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.catalogue.dialects import anthropic, openai
from privity.catalogue.dialects.anthropic import DEFAULT_LIMIT, MAX_LIMIT, Page, Paging, read_paging
from privity.catalogue.model import Lifecycle, Model
from privity.errors import InvalidRequestError
from privity.testing.models import ids, models, moments

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LEAST = Model(id="org/Big", tasks=(), created=86400, owned_by="org")
IDS = ["a", "b", "c", "d", "e"]


def test_the_least_row_has_what_every_client_needs() -> None:
    assert anthropic.row(LEAST, "org/Big", NOW) == openai.row(LEAST, "org/Big", NOW) | {
        "type": "model",
        "display_name": "org/Big",
        "created_at": "1970-01-02T00:00:00Z",
        "lifecycle": "active",
    }


def test_known_limits_have_anthropic_s_names_too() -> None:
    row = anthropic.row(replace(LEAST, context_length=4096, max_output_tokens=512), "org/Big", NOW)
    assert (row["max_input_tokens"], row["max_tokens"]) == (4096, 512)


@pytest.mark.parametrize(("day", "stage"), [(1, "active"), (10, "deprecated"), (20, "retired")])
def test_the_stage_goes_by_the_dates(day: int, stage: str) -> None:
    lifecycle = Lifecycle(datetime(2026, 6, 10, tzinfo=UTC), datetime(2026, 6, 20, tzinfo=UTC))
    row = anthropic.row(replace(LEAST, lifecycle=lifecycle), "org/Big", datetime(2026, 6, day, tzinfo=UTC))
    assert row["lifecycle"] == stage


@pytest.mark.parametrize("created", [2**62, 10**11 * 9])
def test_a_time_that_no_calendar_has_is_the_epoch(created: int) -> None:
    row = anthropic.row(replace(LEAST, created=created), "org/Big", NOW)
    assert (row["created"], row["created_at"]) == (created, "1970-01-01T00:00:00Z")


@settings(max_examples=25)
@given(models(), moments())
def test_every_row_is_a_superset_that_anthropic_s_client_reads(model: Model, now: datetime) -> None:
    for each in model.ids:
        row = anthropic.row(model, each, now)
        assert openai.row(model, each, now).items() <= row.items()
        assert None not in row.values()
        parsed = ModelInfo.model_validate(msgspec.json.decode(msgspec.json.encode(row)))
        assert (parsed.id, parsed.type) == (each, "model")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["created_at"])


@pytest.mark.parametrize(
    ("paging", "expected"),
    [
        (Paging(), Page(0, 5, has_more=False)),
        (Paging(2), Page(0, 2, has_more=True)),
        (Paging(5), Page(0, 5, has_more=False)),
        (Paging(MAX_LIMIT), Page(0, 5, has_more=False)),
        (Paging(2, after_id="b"), Page(2, 4, has_more=True)),
        (Paging(2, after_id="c"), Page(3, 5, has_more=False)),
        (Paging(2, after_id="e"), Page(5, 5, has_more=False)),
        (Paging(after_id="a"), Page(1, 5, has_more=False)),
        (Paging(2, before_id="d"), Page(1, 3, has_more=True)),
        (Paging(2, before_id="c"), Page(0, 2, has_more=False)),
        (Paging(2, before_id="b"), Page(0, 1, has_more=False)),
        (Paging(2, before_id="a"), Page(0, 0, has_more=False)),
        (Paging(before_id="d"), Page(0, 3, has_more=False)),
    ],
)
def test_a_page_is_right_after_or_right_before_an_id(paging: Paging, expected: Page) -> None:
    assert paging.page(IDS) == expected


def test_an_empty_list_has_one_empty_page() -> None:
    assert Paging(20).page([]) == Page(0, 0, has_more=False)


@pytest.mark.parametrize(
    ("paging", "param"),
    [
        (Paging(after_id="z"), "after_id"),
        (Paging(before_id="z"), "before_id"),
        (Paging(after_id="a", before_id="c"), "before_id"),
    ],
)
def test_a_page_that_cannot_be_had_is_refused(paging: Paging, param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        paging.page(IDS)
    assert caught.value.param == param


def test_paging_is_read_and_the_rest_is_not_looked_at() -> None:
    assert read_paging({"limit": "7", "after_id": "x", "beta": "true"}) == Paging(7, "x")
    assert read_paging({"limit": "", "after_id": "", "before_id": "y"}) == Paging(before_id="y")


def test_who_is_known_to_page_gets_a_page() -> None:
    assert read_paging({}) == Paging(None)
    assert read_paging({}, by_default=True) == Paging(DEFAULT_LIMIT)
    assert read_paging({"limit": "1000"}, by_default=True) == Paging(MAX_LIMIT)


@pytest.mark.parametrize(
    "limit",
    [
        "0",
        "-1",
        "1001",
        "1e3",
        "+5",
        " 5",
        "1_0",
        "\N{ARABIC-INDIC DIGIT FIVE}",
        "\N{SUPERSCRIPT TWO}",
        "many",
        "9" * 5000,
    ],
)
def test_a_limit_that_is_no_number_from_1_to_1000_is_refused(limit: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_paging({"limit": limit})
    assert caught.value.param == "limit"


@given(st.lists(ids(), unique=True, max_size=30), st.integers(1, 7))
def test_pages_put_together_are_the_list_in_both_directions(listed: list[str], limit: int) -> None:
    assert _forwards(listed, limit) == listed
    if listed:
        assert _backwards(listed, limit) == listed[:-1]


def _forwards(listed: list[str], limit: int) -> list[str]:
    """Page as Anthropic's clients do."""
    now = Paging(limit).page(listed)
    seen = listed[now.start : now.stop]
    while now.has_more:
        now = Paging(limit, after_id=seen[-1]).page(listed)
        seen += listed[now.start : now.stop]
    return seen


def _backwards(listed: list[str], limit: int) -> list[str]:
    now = Paging(limit, before_id=listed[-1]).page(listed)
    seen = listed[now.start : now.stop]
    while now.has_more:
        now = Paging(limit, before_id=seen[0]).page(listed)
        seen = listed[now.start : now.stop] + seen
    return seen
