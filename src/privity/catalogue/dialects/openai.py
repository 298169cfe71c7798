"""OpenAI's model object, with extensions under the names that clients read already (models-api.md items 1, 6, 12)."""

from datetime import datetime
from typing import Any

from privity.catalogue.dialects._shared import moment_of, rfc3339
from privity.catalogue.model import Model, without_none


def row(model: Model, listed_id: str, now: datetime) -> dict[str, Any]:
    """Return a model's row under one of its IDs. What is unknown has no member.

    Args:
        model: the record.
        listed_id: one of its IDs.
        now: what `deprecated` is decided by.
    """
    return without_none(
        {
            "id": listed_id,
            "object": "model",
            "created": model.created,
            "owned_by": model.owned_by,
            "tasks": list(model.tasks),
            "status": model.status,
            "max_model_len": model.context_length,
            "context_length": model.context_length,
            "max_output_tokens": model.max_output_tokens,
            "display_name": model.display_name,
            "root": model.root,
            **_names(model, listed_id),
            **_lifecycle(model, now),
            "evidence": evidence(model) or None,
            "verified": model.is_verified(listed_id),
        }
    )


def evidence(model: Model) -> dict[str, dict[str, str]]:
    """Return where each task comes from: `{task: {"source", "at"}}`, with a time for those that were tried."""
    return {each.task: _origin(each.source, each.at) for each in model.evidence}


def _origin(source: str, at: int | None) -> dict[str, str]:
    return {"source": source} if at is None else {"source": source, "at": rfc3339(moment_of(at))}


def _names(model: Model, listed_id: str) -> dict[str, Any]:
    if listed_id != model.id:
        return {"canonical": model.id}
    return {
        "aliases": [*model.aliases, *model.floating_aliases] or None,
        "floating_aliases": list(model.floating_aliases) or None,
        "unsigned_aliases": sorted(model.unsigned_ids) or None,
    }


def _lifecycle(model: Model, now: datetime) -> dict[str, Any]:
    known = model.lifecycle
    return {
        "deprecated": True if known.is_deprecated(now) else None,
        "deprecated_at": rfc3339(known.deprecated_at) if known.deprecated_at is not None else None,
        "retires_at": rfc3339(known.retires_at) if known.retires_at is not None else None,
        "replacement": known.replacement,
    }
