from dataclasses import replace
from datetime import UTC, datetime

import pytest

from privity.catalogue.dialects import lm_studio
from privity.catalogue.model import Facts, Model

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LEAST = Model(id="org/Big", tasks=(), created=0, owned_by="org")


def test_a_row_has_all_that_is_known() -> None:
    model = replace(
        LEAST,
        tasks=("generate", "tool_calling"),
        context_length=4096,
        root="Big-Q4_1.GGUF",
        facts=Facts(architecture="llama", quantization="Q4_1"),
    )
    assert lm_studio.row(model, "big", NOW) == {
        "id": "big",
        "object": "model",
        "type": "llm",
        "publisher": "org",
        "arch": "llama",
        "compatibility_type": "gguf",
        "quantization": "Q4_1",
        "state": "loaded",
        "max_context_length": 4096,
        "capabilities": ["tool_use"],
    }


def test_what_is_unknown_is_left_out() -> None:
    assert lm_studio.row(LEAST, "org/Big", NOW) == {
        "id": "org/Big",
        "object": "model",
        "publisher": "org",
        "state": "loaded",
        "capabilities": [],
    }


@pytest.mark.parametrize(
    ("tasks", "kind"),
    [
        (("generate",), "llm"),
        (("generate", "vision"), "vlm"),
        (("generate", "embed"), "llm"),
        (("embed",), "embeddings"),
        (("vision", "embed"), "embeddings"),
        (("transcribe",), None),
    ],
)
def test_the_type_is_the_one_that_fits_best(tasks: tuple[str, ...], kind: str | None) -> None:
    assert lm_studio.row(replace(LEAST, tasks=tasks), "org/Big", NOW).get("type") == kind
