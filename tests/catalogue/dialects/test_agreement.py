"""All dialects say the same: they are projections of one record (models-api.md item 14)."""

from datetime import datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from privity.catalogue.dialects import anthropic, lm_studio, ollama, openai
from privity.catalogue.model import Model
from privity.testing.models import models, moments

LISTS = st.lists(models(), max_size=4)
RENDERS = (openai.row, anthropic.row, ollama.tag, lm_studio.row)
CAPABILITIES = {"completion": "generate", "tools": "tool_calling", "vision": "vision", "embedding": "embed"}


@settings(max_examples=25)
@given(LISTS, moments())
def test_every_dialect_lists_the_same_ids_in_the_same_order(listed: list[Model], now: datetime) -> None:
    every = [[row.get("id", row.get("name")) for row in _rows(listed, render, now)] for render in RENDERS]
    assert all(each == [name for model in listed for name in model.ids] for each in every)


@settings(max_examples=25)
@given(models(), moments())
def test_every_dialect_gives_a_model_the_same_abilities(model: Model, now: datetime) -> None:
    can = set(openai.row(model, model.id, now)["tasks"])
    assert set(anthropic.row(model, model.id, now)["tasks"]) == can
    assert {CAPABILITIES[each] for each in ollama.show(model, now)["capabilities"]} == can - {"transcribe"}
    for each in model.ids:
        row = lm_studio.row(model, each, now)
        kind = row.get("type")
        assert ("tool_use" in row["capabilities"]) == ("tool_calling" in can)
        assert (kind in ("llm", "vlm")) == ("generate" in can)
        assert (kind == "vlm") == ({"generate", "vision"} <= can)
        assert (kind == "embeddings") == ("embed" in can and "generate" not in can)


@settings(max_examples=25)
@given(models(), moments())
def test_every_dialect_gives_a_model_the_same_numbers(model: Model, now: datetime) -> None:
    ends = [value for key, value in ollama.show(model, now)["model_info"].items() if key.endswith(".context_length")]
    every = {
        openai.row(model, model.id, now).get("context_length"),
        anthropic.row(model, model.id, now).get("max_input_tokens"),
        lm_studio.row(model, model.id, now).get("max_context_length"),
        *(ends or [None]),
    }
    assert every == {model.context_length}


@settings(max_examples=25)
@given(models(), moments())
def test_nothing_depends_on_what_was_rendered_before(model: Model, now: datetime) -> None:
    first = [render(model, model.id, now) for render in RENDERS]
    for row in first:
        row.get("tasks", []).append("dance")
        row.get("details", {}).get("families", []).append("dance")
        row.get("capabilities", []).append("dance")
    assert all("dance" not in str(render(model, model.id, now)) for render in RENDERS)


def _rows(listed: list[Model], render: Any, now: datetime) -> list[dict[str, Any]]:
    return [render(model, each, now) for model in listed for each in model.ids]
