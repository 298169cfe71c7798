"""LM Studio's `GET /api/v0/models` (models-api.md item 14; lmstudio.ai/docs, "REST API v0")."""

from datetime import datetime
from typing import Any

from privity.catalogue.dialects._shared import file_format
from privity.catalogue.model import Model, without_none


def row(model: Model, listed_id: str, _now: datetime) -> dict[str, Any]:
    """Return a model's row under one of its IDs. What is unknown has no member.

    A model has one `type` only. One that can only transcribe has none: LM Studio serves no such model, and a client
    would offer it for chats under any of the types that there are. `state` is `loaded`: what is listed is served, and
    nothing has to be loaded for a request. `capabilities` is always there.
    """
    return without_none(
        {
            "id": listed_id,
            "object": "model",
            "type": _type(model),
            "publisher": model.owned_by,
            "arch": model.facts.architecture,
            "compatibility_type": file_format(model),
            "quantization": model.facts.quantization,
            "state": "loaded",
            "max_context_length": model.context_length,
            "capabilities": ["tool_use"] if "tool_calling" in model.tasks else [],
        }
    )


def _type(model: Model) -> str | None:
    if "generate" in model.tasks:
        return "vlm" if "vision" in model.tasks else "llm"
    return "embeddings" if "embed" in model.tasks else None
