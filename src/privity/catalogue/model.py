"""One record per model; every answer about models is a projection of it (models-api.md)."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Literal, Self

TASKS = ("generate", "tool_calling", "vision", "embed", "transcribe")
"""Every task, in the order in which they are listed (models-api.md item 2)."""

TASK_OF_ENDPOINT = {
    "/v1/chat/completions": "generate",
    "/v1/completions": "generate",
    "/v1/embeddings": "embed",
    "/v1/messages": "generate",
    "/v1/messages/count_tokens": "generate",
    "/v1/responses": "generate",
    "/v1/audio/transcriptions": "transcribe",
    "/v1/audio/translations": "transcribe",
}
"""The task that a model must have to be called at an endpoint."""

RESERVED_ID = "events"
"""What no model can be called: `GET /v1/models/events` is the change feed."""

MAX_ALIASES = 64
"""Aliases of one model, floating ones included: far more than anybody can tell apart."""

MAX_ID_CHARACTERS = 256
"""Characters of an ID, and of any other text of a statement: the longest ID of a hub has under 200."""

MAX_NUMBER = 2**53 - 1
"""The largest whole number that every JSON reader has exactly, and that canonical JSON can say (RFC 8785)."""

Source = Literal["declared", "engine", "probed"]
"""Who says that a model can do something: its operator, its engine's metadata, or a call that succeeded."""

Status = Literal["available", "degraded", "unknown", "draining"]
"""What is known of a listed model's replicas.

At least one serves; all that serve failed at their last requests; none has said lately that it serves, nor that it
doesn't; all take no new requests (said by an inference proxy only: a gateway doesn't list such a model).
"""


def without_none(members: dict[str, Any]) -> dict[str, Any]:
    """Return the members that are known."""
    return {name: value for name, value in members.items() if value is not None}


def in_order(tasks: Iterable[str]) -> tuple[str, ...]:
    """Return the known ones among `tasks`, each once, in the order of `TASKS`."""
    wanted = set(tasks)
    return tuple(task for task in TASKS if task in wanted)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where a capability comes from (models-api.md item 12)."""

    task: str
    source: Source
    at: int | None = None
    """Unix seconds of the call that succeeded, for `probed`."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What else is known of a model's weights. None is what nobody said."""

    architecture: str | None = None
    """As GGUF's `general.architecture` has it, such as `llama`."""
    parameters: int | None = None
    """How many."""
    quantization: str | None = None
    """Such as `Q4_1` or `fp8`."""
    size: int | None = None
    """Bytes of the weights' files."""
    sha256: str | None = None
    """Of the weights' one file, 64 hex digits."""
    licence: str | None = None
    embedding_length: int | None = None
    """Numbers of an embedding, or of the model's inner vectors."""

    def known(self) -> dict[str, Any]:
        """Return what somebody said, by name."""
        return without_none({each.name: getattr(self, each.name) for each in fields(self)})

    def completed(self, others: Self) -> Self:
        """Return these facts with what others know besides, or better."""
        return replace(self, **others.known())


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """When a model comes to its end, and what to use instead."""

    deprecated_at: datetime | None = None
    retires_at: datetime | None = None
    replacement: str | None = None
    """The ID of another model."""

    def is_deprecated(self, now: datetime) -> bool:
        """Return whether new uses are discouraged."""
        return self.deprecated_at is not None and now >= self.deprecated_at

    def is_retired(self, now: datetime) -> bool:
        """Return whether it can't be called any more."""
        return self.retires_at is not None and now >= self.retires_at


@dataclass(frozen=True, slots=True)
class Statement:
    """What an inference proxy signed about one model, as it came: checked by nobody but the proxy."""

    payload: bytes
    """Canonical JSON (RFC 8785)."""
    signature: bytes
    certificate: bytes = field(repr=False)
    """The signer's, in DER."""


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
    """Further IDs that mean this model for ever."""
    floating_aliases: tuple[str, ...] = ()
    """Further IDs that may come to mean another model, such as `kimi-latest`."""
    display_name: str | None = None
    context_length: int | None = None
    """Tokens of prompt and answer together; None where unknown."""
    max_output_tokens: int | None = None
    root: str | None = None
    """The engine's own name for it."""
    evidence: tuple[Evidence, ...] = ()
    facts: Facts = Facts()
    lifecycle: Lifecycle = Lifecycle()
    status: Status = "available"
    visible_to: frozenset[str] | None = None
    """The groups of keys that may use it; None is everybody."""
    statement: Statement | None = None
    verified: bool | None = None
    """Whether the statement vouches for it; None where that was not looked at."""
    unsigned_ids: frozenset[str] = frozenset()
    """Those of its further IDs that the statement doesn't hold."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Every ID that it answers to, in the order of the list: full ones first, as they hold a `/`."""
        every = (self.id, *self.aliases, *self.floating_aliases)
        return tuple(sorted(every, key=lambda each: "/" not in each))

    def is_verified(self, listed_id: str) -> bool | None:
        """Return whether the statement says that this ID means this model; None where that was not looked at."""
        return self.verified and listed_id not in self.unsigned_ids

    def answer_id(self, asked: str) -> str:
        """Return the `model` of an answer: what was asked for, and what a floating alias means (models-api.md 3)."""
        return self.id if asked in self.floating_aliases else asked

    def is_visible_to(self, groups: frozenset[str]) -> bool:
        """Return whether keys of these groups may list, retrieve and call it."""
        return self.visible_to is None or not self.visible_to.isdisjoint(groups)
