from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from openai.types import Model as Parsed

from privity.catalogue.dialects import openai
from privity.catalogue.model import TASKS, Evidence, Lifecycle, Model
from privity.testing.models import models, moments

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LEAST = Model(id="org/Big", tasks=("generate",), created=7, owned_by="org")
FULL = Model(
    id="org/Big",
    tasks=("generate", "vision"),
    created=7,
    owned_by="org",
    aliases=("big",),
    floating_aliases=("big-latest",),
    display_name="Big",
    context_length=4096,
    max_output_tokens=512,
    root="big.gguf",
    evidence=(Evidence("generate", "probed", 60), Evidence("vision", "declared")),
    lifecycle=Lifecycle(
        datetime(2026, 5, 1, 2, tzinfo=timezone(timedelta(hours=2))), datetime(2026, 7, 1, tzinfo=UTC), "org/Bigger"
    ),
    status="degraded",
    verified=False,
)
COMMON: dict[str, Any] = {
    "object": "model",
    "created": 7,
    "owned_by": "org",
    "tasks": ["generate", "vision"],
    "status": "degraded",
    "max_model_len": 4096,
    "context_length": 4096,
    "max_output_tokens": 512,
    "display_name": "Big",
    "root": "big.gguf",
}
END: dict[str, Any] = {
    "deprecated": True,
    "deprecated_at": "2026-05-01T00:00:00Z",
    "retires_at": "2026-07-01T00:00:00Z",
    "replacement": "org/Bigger",
    "evidence": {
        "generate": {"source": "probed", "at": "1970-01-01T00:01:00Z"},
        "vision": {"source": "declared"},
    },
    "verified": False,
}


def test_the_canonical_row_has_everything_in_order() -> None:
    row = openai.row(FULL, "org/Big", NOW)
    names = {"aliases": ["big", "big-latest"], "floating_aliases": ["big-latest"]}
    assert list(row.items()) == list(({"id": "org/Big"} | COMMON | names | END).items())


@pytest.mark.parametrize("alias", ["big", "big-latest"])
def test_the_row_of_an_alias_points_at_the_canonical_one(alias: str) -> None:
    row = openai.row(FULL, alias, NOW)
    assert list(row.items()) == list(({"id": alias} | COMMON | {"canonical": "org/Big"} | END).items())


def test_what_is_unknown_is_left_out() -> None:
    assert openai.row(LEAST, "org/Big", NOW) == {
        "id": "org/Big",
        "object": "model",
        "created": 7,
        "owned_by": "org",
        "tasks": ["generate"],
        "status": "available",
    }


def test_a_model_that_will_be_deprecated_is_not_yet() -> None:
    assert "deprecated" not in openai.row(FULL, "org/Big", datetime(2026, 4, 1, tzinfo=UTC))


def test_evidence_says_where_a_task_comes_from_and_when_it_was_tried() -> None:
    assert openai.evidence(FULL) == {
        "generate": {"source": "probed", "at": "1970-01-01T00:01:00Z"},
        "vision": {"source": "declared"},
    }


@settings(max_examples=25)
@given(models(), moments())
def test_every_row_is_json_that_openai_s_client_reads(model: Model, now: datetime) -> None:
    for each in model.ids:
        row = openai.row(model, each, now)
        assert None not in row.values()
        assert msgspec.json.decode(msgspec.json.encode(row)) == row
        parsed = Parsed.model_validate(row)
        assert (parsed.id, parsed.created, parsed.owned_by) == (each, model.created, model.owned_by)
        assert row["tasks"] == [task for task in TASKS if task in model.tasks]
