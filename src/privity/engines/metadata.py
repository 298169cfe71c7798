"""What several engines' answers about themselves have in common, as far as it is believed."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any, TypeVar

import msgspec

from privity.catalogue.model import MAX_NUMBER, in_order
from privity.engines.connection import EngineConnection
from privity.engines.engine import OPENAI_ENDPOINTS, EngineModel
from privity.errors import UpstreamProtocolError
from privity.protocol.endpoints import endpoint_of

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
    components: Any = None


class Routes:
    """What an engine's OpenAPI document has routes for.

    Args:
        connection: to the engine.
    """

    def __init__(self, connection: EngineConnection) -> None:
        self._connection = connection
        self._usable: frozenset[str] = frozenset()

    async def ask(self) -> tuple[str, ...] | None:
        """Return the tasks that there are routes for; None where the engine shows no such document.

        Raises:
            UpstreamError: it doesn't say now whether it has one.
        """
        document = await find_page(self._connection, _OpenApi, "/openapi.json")
        if document is None:
            self._usable = frozenset()
            return None
        self._usable = frozenset(path for path in document.paths if _keeps_caches_apart(document, path))
        return in_order(task for route, task in _TASK_OF_ROUTE.items() if route in document.paths)

    def has(self, path: str) -> bool:
        """Return whether the engine answers at a path itself, and keeps what Privity promises there.

        A route whose requests should carry a `cache_salt` counts only where it takes one: vLLM's and SGLang's own
        `/v1/messages` drop it, so that strangers would share a cache. Their `/v1/chat/completions` takes it.
        """
        return path in OPENAI_ENDPOINTS or path in self._usable


def _keeps_caches_apart(document: _OpenApi, path: str) -> bool:
    """Return whether a route's JSON requests have the salt that they should have, so far as the document says."""
    endpoint = endpoint_of(path)
    if endpoint is None or not endpoint.salted:
        return True
    schema = _within(document.paths, path, "post", "requestBody", "content", "application/json", "schema")
    name = _within(schema, "$ref")
    if isinstance(name, str):
        schema = _within(document.components, "schemas", name.rpartition("/")[2])
    return isinstance(_within(schema, "properties", "cache_salt"), dict)


def _within(value: Any, *names: str) -> Any:
    """Return what is found in nested objects by these names, one in the other; None where one isn't there."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


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
