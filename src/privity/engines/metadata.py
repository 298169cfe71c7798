"""What several engines' answers about themselves have in common, as far as it is believed."""

from typing import Annotated, Any

import msgspec

from privity.catalogue.model import in_order
from privity.engines.connection import EngineConnection
from privity.errors import UpstreamProtocolError

MAX_NAME = 512
"""Characters of a model's name: paths of files are the longest known."""

MAX_MODELS = 1000
"""Models of one engine; an Ollama that has pulled all there are has some hundreds."""

MAX_TEXT = 100
"""Characters of a fact that is text, such as a licence's name."""

MAX_NUMBER = 2**53
"""The largest whole number that JSON carries safely (RFC 8259 section 6)."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]

_TASK_OF_ROUTE = {
    "/v1/chat/completions": "generate",
    "/v1/embeddings": "embed",
    "/v1/audio/transcriptions": "transcribe",
}


class Row(msgspec.Struct, frozen=True):
    """One model of OpenAI's `GET /v1/models`, with what vLLM and SGLang add.

    Its `created` is left out: both, and llama.cpp's server, write the time of the request there.
    """

    id: Name
    owned_by: Name | None = None
    max_model_len: int | None = None
    """Tokens of prompt and answer together."""
    parent: str | None = None
    """The model that a LoRA belongs to."""


class List(msgspec.Struct):
    """The answer of `GET /v1/models`."""

    data: Annotated[list[Row], msgspec.Meta(max_length=MAX_MODELS)]


class _OpenApi(msgspec.Struct):
    paths: dict[str, Any]


async def routed_tasks(connection: EngineConnection) -> tuple[str, ...] | None:
    """Return the tasks that the engine's OpenAPI document has routes for; None where it shows no such document.

    Raises:
        UpstreamError: it doesn't answer.
    """
    try:
        document = await connection.ask_for(_OpenApi, "GET", "/openapi.json")
    except UpstreamProtocolError:
        return None
    return in_order(task for route, task in _TASK_OF_ROUTE.items() if route in document.paths)


def number(value: object) -> int | None:
    """Return a positive whole number up to `MAX_NUMBER`, None for everything else."""
    return value if type(value) is int and 0 < value <= MAX_NUMBER else None


def text(value: object) -> str | None:
    """Return the first line that isn't blank, at most `MAX_TEXT` printable characters; None for everything else."""
    if not isinstance(value, str):
        return None
    begun = value[: MAX_TEXT * MAX_TEXT].strip()
    line = begun.splitlines()[0] if begun else ""
    return "".join(each for each in line if each.isprintable())[:MAX_TEXT].strip() or None
