"""What an engine looks like to an inference proxy."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from privity.catalogue.model import Evidence, Facts, Source
from privity.errors import InvalidRequestError, NotSupportedError
from privity.protocol.multipart import Part
from privity.streams import Stream

Json = dict[str, Any]
Body = Json | list[Part]
"""A JSON object, or a form. Members that nobody reads on their way may be `msgspec.Raw`, as the client wrote them."""
Answer = Json | Stream[Json]
"""The whole answer, or its events, of which the last is not `[DONE]`: that one is implied by the end."""


@dataclass(frozen=True, slots=True)
class EngineModel:
    """A model as its engine reports it."""

    name: str
    """What the engine calls it."""
    tasks: tuple[str, ...]
    """In the order of the catalogue."""
    context_length: int | None = None
    """Tokens of prompt and answer together."""
    created: int | None = None
    """Unix seconds of its release, where the engine knows them."""
    owned_by: str | None = None
    max_output_tokens: int | None = None
    """Tokens that an answer never exceeds, where the engine sets such a limit."""
    display_name: str | None = None
    facts: Facts = field(default_factory=Facts)
    evidence: tuple[Evidence, ...] = ()
    """One for each task, in their order."""
    untold: tuple[str, ...] = ()
    """Tasks of which the engine says neither yes nor no: what a probe may find out."""


class Engine(Protocol):
    """An engine that runs."""

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return what it serves now. Cheap enough to be asked every second.

        Raises:
            UpstreamError: it does not answer, or not so that it can be understood.
        """

    async def answer(self, endpoint: str, body: Body) -> Answer:
        """Carry out one request.

        Args:
            endpoint: a path of OpenAI's API, or of Anthropic's.
            body: a valid request whose `model` is the engine's own name for it.

        Raises:
            NotSupportedError: the engine knows no such endpoint.
            ApiError: it can't be carried out. Also out of the events, for what goes wrong later.
        """


class NativeEngine(Engine, Protocol):
    """An engine that says at which endpoints it answers itself, so that others can be translated for it."""

    def has(self, endpoint: str) -> bool:
        """Return whether it has an endpoint, so far as it said when it was last described."""

    async def count_tokens(self, chat: Json, /) -> int:
        """Return how many tokens the prompt of a chat request has.

        Args:
            chat: a request of `/v1/chat/completions` whose `model` is the engine's own name for it.

        Raises:
            NotSupportedError: the engine can't tell.
            ApiError: it can't at the moment, or refuses the request.
        """


def evidence_for(tasks: Iterable[str], source: Source, at: int | None = None) -> tuple[Evidence, ...]:
    """Return evidence of one kind for each task; `at` in Unix seconds, for `probed`."""
    return tuple(Evidence(task, source, at) for task in tasks)


def values_of(body: Json) -> Json:
    """Return a request with all its members as Python values."""
    return {
        name: msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value for name, value in body.items()
    }


def require_json(endpoint: str, body: Body, supported: Collection[str]) -> Json:
    """Return the request of an endpoint that an engine supports, all of which take JSON; raise where it doesn't.

    Raises:
        NotSupportedError: the engine knows no such endpoint.
    """
    if endpoint not in supported or not isinstance(body, dict):
        raise NotSupportedError(f"This model's engine doesn't support {endpoint}.")
    return body


def cannot_count() -> NotSupportedError:
    """Return the error of an engine that can't tell how many tokens a prompt has."""
    return NotSupportedError("This model's engine doesn't count tokens.")


def cannot_count_images() -> InvalidRequestError:
    """Return the error of an engine that counts the tokens of texts alone."""
    return InvalidRequestError(
        "This model's engine doesn't count the tokens of images: leave them out.",
        param="messages",
        code="unsupported_parameter",
    )


METERED: Json = {"include_usage": True, "continuous_usage_stats": True}
"""The `stream_options` by which each event of a chat or a completion has the usage so far."""

OPENAI_ENDPOINTS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings"})
"""What every engine supports whose models can do it."""
