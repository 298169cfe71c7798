"""One record per model; every answer about models is a projection of it (models-api.md)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

TASKS = ("generate", "tool_calling", "vision", "embed", "transcribe")
"""Every task, in the order in which they are listed (models-api.md item 2)."""

TASK_OF_ENDPOINT = {
    "/v1/chat/completions": "generate",
    "/v1/completions": "generate",
    "/v1/embeddings": "embed",
    "/v1/messages": "generate",
    "/v1/audio/transcriptions": "transcribe",
}
"""The task that a model must have to be called at an endpoint."""


def in_order(tasks: Iterable[str]) -> tuple[str, ...]:
    """Return the known ones among `tasks`, each once, in the order of `TASKS`."""
    wanted = set(tasks)
    return tuple(task for task in TASKS if task in wanted)


@dataclass(frozen=True, slots=True)
class Model:
    """A model that some replica serves."""

    id: str
    """The canonical ID."""
    tasks: tuple[str, ...]
    created: int
    """Unix seconds: the model's release where known, else when it first joined."""
    owned_by: str
    aliases: tuple[str, ...] = ()
    context_length: int | None = None
    """Tokens of prompt and answer together; None where unknown."""
    root: str | None = None
    """The engine's own name for it."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Every ID that it answers to, the canonical one first."""
        return (self.id, *self.aliases)

    def row(self, listed_id: str) -> dict[str, Any]:
        """Return the model object of OpenAI's list under one of its IDs, with extensions (models-api.md item 6)."""
        row: dict[str, Any] = {
            "id": listed_id,
            "object": "model",
            "created": self.created,
            "owned_by": self.owned_by,
            "tasks": list(self.tasks),
            "status": "available",
        }
        if self.context_length is not None:
            row["max_model_len"] = row["context_length"] = self.context_length
        if self.root is not None:
            row["root"] = self.root
        if listed_id != self.id:
            row["canonical"] = self.id
        elif self.aliases:
            row["aliases"] = list(self.aliases)
        return row
