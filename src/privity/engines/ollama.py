"""Ollama: it says what each model can do (`POST /api/show`, field `capabilities`)."""

import logging
import re
from typing import Annotated, Any

import msgspec

from privity.catalogue.model import Facts, in_order
from privity.engines.connection import EngineConnection
from privity.engines.engine import (
    OPENAI_ENDPOINTS,
    Answer,
    Body,
    EngineModel,
    Json,
    cannot_count,
    evidence_for,
    require_json,
    values_of,
)
from privity.engines.inline_pictures import with_inline_pictures
from privity.engines.metadata import MAX_MODELS, Name, number, text
from privity.engines.openai_compatible import OpenAICompatibleEngine
from privity.engines.pictures import Kind

_TASK_OF_CAPABILITY = {"completion": "generate", "tools": "tool_calling", "vision": "vision", "embedding": "embed"}

_TAKES: tuple[Kind, ...] = ("png", "jpeg", "webp")
"""The images that its OpenAI-compatible endpoint takes, by their data URL; it fetches none."""

_CONTEXT_PARAMETER = re.compile(r"^num_ctx\s+(\d{1,16})\s*$", re.MULTILINE)
"""Where a model's own parameters set its context, which Ollama then gives it whatever the weights could take."""

_LOG = logging.getLogger(__name__)


class _Tag(msgspec.Struct, frozen=True):
    name: Name
    digest: str | None = None
    size: int | None = None
    remote_host: str | None = None
    """Whose machine the model runs on, for one that is not on this one."""


class _Tags(msgspec.Struct):
    models: Annotated[list[_Tag], msgspec.Meta(max_length=MAX_MODELS)]


class _More(msgspec.Struct):
    quantization_level: str | None = None


class _Details(msgspec.Struct):
    capabilities: list[str] = []
    model_info: dict[str, Any] = {}
    details: _More | None = None
    license: str | list[str] | None = None
    parameters: str | None = None


class OllamaEngine:
    """An Ollama server; requests go to its OpenAI-compatible endpoints.

    A model that Ollama would send on to somebody else's machine is not listed: prompts would leave this one.

    Nothing in a request keeps Ollama from going on from any earlier prompt that began alike, whatever the cache salt:
    clients of one Ollama can find out by timing what others asked.
    """

    def __init__(self, connection: EngineConnection) -> None:
        self._connection = connection
        self._openai = OpenAICompatibleEngine(connection)
        self._shown: dict[_Tag, EngineModel] = {}
        self._remote: frozenset[str] = frozenset()

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return every model that is pulled; raises as `Engine.describe`."""
        tags = (await self._connection.ask_for(_Tags, "GET", "/api/tags")).models
        self._leave_out({tag.name for tag in tags if tag.remote_host})
        local = [tag for tag in tags if not tag.remote_host]
        self._shown = {tag: self._shown.get(tag) or await self._show(tag) for tag in local}
        return tuple(self._shown.values())

    def _leave_out(self, remote: set[str]) -> None:
        for name in sorted(remote - self._remote):
            _LOG.warning("Ollama runs this model on somebody else's machine: not listed", extra={"model": name})
        self._remote = frozenset(remote)

    async def _show(self, tag: _Tag) -> EngineModel:
        return _model(tag, await self._connection.ask_for(_Details, "POST", "/api/show", {"model": tag.name}))

    def has(self, endpoint: str) -> bool:
        """Return whether it is one of OpenAI's."""
        return endpoint in OPENAI_ENDPOINTS

    async def count_tokens(self, _chat: Json, /) -> int:
        """Raise `NotSupportedError`: Ollama has nothing that does it."""
        raise cannot_count()

    async def answer(self, endpoint: str, body: Body) -> Answer:
        """Pass the request on, with images in the one form that is taken; raises as `Engine.answer`."""
        asked = require_json(endpoint, body, OPENAI_ENDPOINTS)
        if endpoint == "/v1/chat/completions":
            messages = values_of({"messages": asked["messages"]})["messages"]
            asked = asked | {"messages": with_inline_pictures(messages, _TAKES)}
        return await self._openai.answer(endpoint, asked)


def _model(tag: _Tag, details: _Details) -> EngineModel:
    info = details.model_info
    architecture = text(info.get("general.architecture"))
    tasks = in_order(_TASK_OF_CAPABILITY[each] for each in details.capabilities if each in _TASK_OF_CAPABILITY)
    return EngineModel(
        name=tag.name,
        tasks=tasks,
        context_length=_context(number(info.get(f"{architecture}.context_length")), details.parameters or ""),
        facts=Facts(
            architecture=architecture,
            parameters=number(info.get("general.parameter_count")),
            quantization=text(details.details.quantization_level) if details.details is not None else None,
            size=number(tag.size),
            licence=text(info.get("general.license")) or _licence(details.license),
            embedding_length=number(info.get(f"{architecture}.embedding_length")),
        ),
        evidence=evidence_for(tasks, "engine"),
    )


def _context(trained: int | None, parameters: str) -> int | None:
    """Return the tokens of the context: what its parameters set, but no more than it was trained for."""
    found = _CONTEXT_PARAMETER.search(parameters)
    lengths = [each for each in (trained, number(int(found[1])) if found else None) if each is not None]
    return min(lengths, default=None)


def _licence(whole: str | list[str] | None) -> str | None:
    """Return the title of a licence's text, or of the first of several."""
    return text(whole[0] if isinstance(whole, list) and whole else whole)
