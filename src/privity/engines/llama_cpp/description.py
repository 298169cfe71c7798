"""What llama.cpp's server says of itself: `GET /v1/models` and `GET /props`, in single mode and as a router.

A router is a server that was started without a model: it lists several, each with a `status`, and runs a server for
each that is loaded. What one can do is known only while it is loaded, and remembered from then on. Nothing asked here
loads a model: every question goes with `autoload=false`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

import msgspec

from privity.catalogue.model import Facts, in_order
from privity.engines.connection import EngineConnection
from privity.engines.engine import EngineModel, evidence_for
from privity.engines.metadata import MAX_MODELS, Name, number, text
from privity.errors import UpstreamProtocolError

_LOADED = "loaded"

_NOT_SUPPORTED = 501
"""What a server for chat answers to a request for embeddings."""

_NO_POOLING = b"Pooling type"
"""How the message begins of the 400 that older ones answer, and any that has no embedding of a whole text."""


class _Meta(msgspec.Struct, frozen=True):
    n_params: int | None = None
    n_embd: int | None = None
    size: int | None = None
    ftype: str | None = None


class _Status(msgspec.Struct, frozen=True):
    value: str
    failed: bool = False


class _Row(msgspec.Struct, frozen=True):
    id: Name
    meta: _Meta | None = None
    status: _Status | None = None
    """Of a router's model."""


class _List(msgspec.Struct):
    data: Annotated[list[_Row], msgspec.Meta(max_length=MAX_MODELS)]


class _Defaults(msgspec.Struct):
    n_predict: int | None = None


class _Settings(msgspec.Struct):
    n_ctx: int
    params: _Defaults | None = None


class _Caps(msgspec.Struct):
    supports_tools: bool = False


class _Modalities(msgspec.Struct):
    vision: bool = False


class _Props(msgspec.Struct):
    default_generation_settings: _Settings
    chat_template_caps: _Caps = msgspec.field(default_factory=_Caps)
    modalities: _Modalities = msgspec.field(default_factory=_Modalities)
    model_ftype: str | None = None
    total_slots: int = 1


class _RouterProps(msgspec.Struct):
    role: str = ""
    models_autoload: bool = True


class _Vector(msgspec.Struct):
    embedding: list[float]


class _Vectors(msgspec.Struct):
    data: Annotated[list[_Vector], msgspec.Meta(min_length=1)]


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a model."""

    meta: _Meta | None
    model: EngineModel
    slots: int
    """Requests that the server carries out at the same time."""


class Description:
    """What a server serves, asked again where its list has changed.

    `GET /props` has the chat template's abilities, the modalities and the context of one slot. Only whether a model
    embeds is said nowhere, so it is asked for the embedding of one token: a server for chat refuses, and one that
    ranks gives a single number.

    Args:
        connection: the server.
        now: Unix seconds.
    """

    def __init__(self, connection: EngineConnection, now: Callable[[], float]) -> None:
        self._connection = connection
        self._now = now
        self._rows: list[_Row] = []
        self._models: tuple[EngineModel, ...] = ()
        self._known: dict[str, _Known] = {}

    def context_of(self, name: str) -> int | None:
        """Return the tokens of a model's context; None for a router's model that was never seen loaded."""
        if name in self._known:
            return self._known[name].model.context_length
        return self._models[0].context_length if self._models and self._rows[0].status is None else None

    def slots_of(self, name: str) -> int:
        """Return how many slots a model has: at least one, and the rest of them where that was seen."""
        return max(1, self._known[name].slots) if name in self._known else 1

    async def ask(self) -> tuple[EngineModel, ...]:
        """Return what it serves now; raises as `Engine.describe`."""
        rows = (await self._connection.ask_for(_List, "GET", "/v1/models")).data
        if rows != self._rows:
            if any(row.status is not None for row in rows):
                return await self._routed(rows)
            self._models = await self._single(rows[:1])
            self._rows = rows
        return self._models

    async def _single(self, rows: list[_Row]) -> tuple[EngineModel, ...]:
        known = [await self._ask_model(row, "", "") for row in rows]
        self._known = {each.model.name: each for each in known}
        return tuple(each.model for each in known)

    async def _routed(self, rows: list[_Row]) -> tuple[EngineModel, ...]:
        router = await self._connection.ask_for(_RouterProps, "GET", "/props")
        loaded = {row.id for row in rows if row.status is not None and row.status.value == _LOADED}
        failed = {row.id for row in rows if row.status is not None and row.status.failed}
        complete = True
        for row in rows:
            if row.id in failed:
                self._known.pop(row.id, None)
            elif row.id in loaded and not await self._learn(row):
                complete = False
        there = {row.id for row in rows if row.id in loaded or router.models_autoload}  # others it would refuse
        self._known = {name: known for name, known in self._known.items() if name in there}
        models = tuple(self._known_as(row.id) for row in rows if row.id in there)
        if complete:
            self._rows, self._models = rows, models
        return models

    async def _learn(self, row: _Row) -> bool:
        """Ask about a loaded model that is not known yet; return whether it is known now."""
        if row.id in self._known and self._known[row.id].meta == row.meta:
            return True
        query = f"?model={quote(row.id, safe='')}&autoload=false"
        try:
            self._known[row.id] = await self._ask_model(row, query, "?autoload=false")
        except UpstreamProtocolError:
            return False  # it may have been unloaded in between
        return True

    def _known_as(self, name: str) -> EngineModel:
        return self._known[name].model if name in self._known else EngineModel(name, ())

    async def _ask_model(self, row: _Row, props_query: str, query: str) -> _Known:
        props = await self._connection.ask_for(_Props, "GET", "/props" + props_query)
        length = await self._vector_length(row.id, query)
        if length is None:
            evidence = evidence_for(_generating(props), "engine")
        else:
            evidence = evidence_for(("embed",) if length > 1 else (), "probed", int(self._now()))
        settings = props.default_generation_settings
        model = EngineModel(
            name=row.id,
            tasks=tuple(each.task for each in evidence),
            context_length=number(settings.n_ctx),
            max_output_tokens=number(settings.params.n_predict) if settings.params is not None else None,
            facts=_facts(row.meta or _Meta(), props),
            evidence=evidence,
        )
        return _Known(row.meta, model, props.total_slots)

    async def _vector_length(self, name: str, query: str) -> int | None:
        """Return how many numbers the embedding of one token has; None where the server says that it doesn't embed.

        Any other failure may pass: the server is loading, busy or behind a proxy, or a router's model was unloaded.
        """
        path = "/v1/embeddings" + query
        status, answer = await self._connection.ask("POST", path, {"model": name, "input": "a"})
        if status == _NOT_SUPPORTED or (status == 400 and _NO_POOLING in answer):
            return None
        if status != 200:
            raise UpstreamProtocolError(f"{path} gives status {status}")
        try:
            rows = msgspec.json.decode(answer, type=_Vectors).data
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamProtocolError(f"{path} gives an answer that isn't understood") from error
        return len(rows[0].embedding)


def _generating(props: _Props) -> tuple[str, ...]:
    tasks = {"generate": True, "tool_calling": props.chat_template_caps.supports_tools}
    tasks["vision"] = props.modalities.vision
    return in_order(task for task, holds in tasks.items() if holds)


def _facts(meta: _Meta, props: _Props) -> Facts:
    return Facts(
        parameters=number(meta.n_params),
        quantization=_quantization(meta.ftype or props.model_ftype),
        size=number(meta.size),
        embedding_length=number(meta.n_embd),
    )


def _quantization(ftype: str | None) -> str | None:
    """Return the weights' type as the server names it, such as `Q4_K - Medium`; a type that it guesses is not known."""
    return None if ftype is None or "guessed" in ftype else text(ftype)
