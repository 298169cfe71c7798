"""What several dialects say in the same way."""

from datetime import UTC, datetime

from privity.catalogue.model import Model

EPOCH = datetime.fromtimestamp(0, UTC)


def moment_of(created: int) -> datetime:
    """Return Unix seconds as a moment; the epoch where no calendar has them, which no dialect takes for a release."""
    try:
        return datetime.fromtimestamp(created, UTC)
    except (OverflowError, OSError, ValueError):
        return EPOCH


def rfc3339(moment: datetime) -> str:
    """Return a moment in whole seconds of UTC, such as `2026-05-01T00:00:00Z` (RFC 3339 section 5.6)."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def file_format(model: Model) -> str | None:
    """Return the format of the weights' file as Ollama and LM Studio name it; None where its name doesn't say."""
    return "gguf" if model.root is not None and model.root.lower().endswith(".gguf") else None
