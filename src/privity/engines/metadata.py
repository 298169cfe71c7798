"""What several engines' answers about themselves have in common, as far as it is believed."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any, TypeVar

import msgspec

from privity.catalogue.model import MAX_NUMBER, in_order
from privity.engines.connection import EngineConnection
from privity.engines.engine import EngineModel
from privity.errors import UpstreamProtocolError

MAX_NAME = 512
"""Characters of a model's name: paths of files are the longest known."""

MAX_MODELS = 1000
"""Models of one engine; an Ollama that has pulled all there are has some hundreds."""

MAX_TEXT = 100
"""Characters of a fact that is text, such as a licence's name."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]

T = TypeVar("T")

_NOT_SHOWN = (401, 403, 404, 405)
"""Statuses of a page that an engine doesn't have, or doesn't show. Any other failure may pass, as while it starts."""

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


class Listed:
    """What an engine serves, described anew where its list has changed.

    Args:
        connection: to the engine.
        describe: returns the models of the list's rows; raises as `Engine.describe`, and then is asked again.
    """

    def __init__(
        self, connection: EngineConnection, describe: Callable[[list[Row]], Awaitable[tuple[EngineModel, ...]]]
    ) -> None:
        self._connection = connection
        self._describe = describe
        self._rows: list[Row] = []
        self._models: tuple[EngineModel, ...] = ()

    async def models(self) -> tuple[EngineModel, ...]:
        """Return what it serves now; raises as `Engine.describe`."""
        rows = (await self._connection.ask_for(List, "GET", "/v1/models")).data
        if rows != self._rows:
            self._models = await self._describe(rows)
            self._rows = rows
        return self._models


class _OpenApi(msgspec.Struct):
    paths: dict[str, Any]


async def routed_tasks(connection: EngineConnection) -> tuple[str, ...] | None:
    """Return the tasks that the engine's OpenAPI document has routes for; None where it shows no such document.

    Raises:
        UpstreamError: it doesn't say now whether it has one.
    """
    document = await find_page(connection, _OpenApi, "/openapi.json")
    if document is None:
        return None
    return in_order(task for route, task in _TASK_OF_ROUTE.items() if route in document.paths)


async def find_page(connection: EngineConnection, kind: type[T], *paths: str) -> T | None:
    """Return the first of these pages that the engine shows, as `kind`; None where it shows none.

    A whole page of another form isn't the one: LM Studio answers with status 200 at every path.

    Raises:
        UpstreamError: no answer, or one that doesn't say whether there is such a page.
    """
    for path in paths:
        status, page = await connection.ask("GET", path)
        if status == 200:
            with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return msgspec.json.decode(page, type=kind)
        elif status not in _NOT_SHOWN:
            raise UpstreamProtocolError(f"{path} gives status {status}")
    return None


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
