"""What an inference proxy does: it knows what its engine serves, and stands between it and everybody else."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from privity.catalogue.catalogue import Catalogue, require_task
from privity.catalogue.model import Model
from privity.engines.embedded.fetch import ModelFiles
from privity.engines.engine import Answer, Engine, EngineModel
from privity.errors import (
    InvalidRequestError,
    StartError,
    UnavailableError,
    UpstreamError,
    UpstreamTimeoutError,
    WrongTaskError,
)
from privity.protocol.multipart import Part
from privity.roles.inference_proxy.answers import public, public_events
from privity.roles.inference_proxy.engine_request import EngineRequest, read_request
from privity.roles.inference_proxy.media import PICTURES

TIMEOUTS_UNTIL_DOWN = 2
"""Looks in a row that a busy engine may leave unanswered before its models leave the list: until then nobody knows."""

_LOG = logging.getLogger(__name__)


class InferenceProxy:
    """One engine's models, and the way to them.

    Args:
        engine: the engine.
        files: the files of the one model that the engine serves; None where the engine's own names are the IDs.
        started: Unix seconds, the `created` of models whose release nobody knows.
    """

    def __init__(self, engine: Engine, files: ModelFiles | None, started: int) -> None:
        self._engine = engine
        self._files = files
        self._started = started
        self._timeouts = 0
        self._described: tuple[EngineModel, ...] = ()
        self.catalogue = Catalogue()

    async def refresh(self) -> None:
        """Look what the engine serves now."""
        try:
            described = await self._engine.describe()
            self._timeouts = 0
        except UpstreamTimeoutError:
            self._timeouts += 1
            if self._timeouts < TIMEOUTS_UNTIL_DOWN:
                return
            described = ()
        except UpstreamError:
            described = ()
        if described != self._described:
            self._described = described
            self.catalogue = self._build(described)
            _LOG.info("models changed", extra={"models": ", ".join(self.catalogue.by_id) or "none"})

    def _build(self, described: tuple[EngineModel, ...]) -> Catalogue:
        """Return what can be listed; a short ID that several of the engine's models would have belongs to none."""
        for silent in (each for each in described if not each.tasks):
            _LOG.warning(
                "the engine doesn't say what this model can do, so it isn't listed; "
                "declare it: openai:URL#tasks=generate,tool_calling",
                extra={"model": silent.name},
            )
        models = list(self._models({each.name: each for each in described if each.tasks}.values()))
        claims = Counter(each for model in models for each in model.ids)
        return Catalogue(
            replace(model, aliases=tuple(each for each in model.aliases if claims[each] == 1)) for model in models
        )

    def _models(self, described: Iterable[EngineModel]) -> Iterator[Model]:
        for each in described:
            ids = self._files.ids if self._files is not None else ids_for(each.name)
            yield Model(
                id=ids[0],
                tasks=each.tasks,
                created=self._files.created if self._files is not None else each.created or self._started,
                owned_by=self._files.owned_by if self._files is not None else each.owned_by or "unknown",
                aliases=tuple(ids[1:]),
                context_length=each.context_length,
                root=each.name,
            )

    async def answer(self, path: str, content: bytes | list[Part]) -> Answer:
        """Carry out one request.

        Args:
            path: an encrypted endpoint's.
            content: the body, decrypted; a form's parts.

        Raises:
            ApiError: it can't be carried out. Also out of the events, for what goes wrong later.
        """
        request = read_request(path, content)
        if not self._described:
            raise UnavailableError("The model's engine is not running at the moment.", param="model")
        model = self.catalogue.find(request.model)
        require_task(model, request.model, path)
        _check_abilities(model, request)
        answer = await self._engine.answer(path, request.for_engine(model.root or model.id))
        if isinstance(answer, dict):
            return public(request.shaped(answer), request.model, path)
        return public_events(answer, request.model, path)


def _check_abilities(model: Model, request: EngineRequest) -> None:
    """Refuse what the engine would fail at, or drop without a word."""
    if request.media & PICTURES and "vision" not in model.tasks:
        raise WrongTaskError(f"The model `{request.model}` takes no images.", param="messages")
    if others := request.media - PICTURES:
        raise InvalidRequestError(
            f"Content parts of these types aren't supported: {', '.join(sorted(others))}.", param="messages"
        )
    if request.uses_tools and "tool_calling" not in model.tasks:
        raise WrongTaskError(f"The model `{request.model}` can't call tools.", param="tools")


def ids_for(name: str) -> tuple[str, ...]:
    """Return the IDs of a model that its engine calls `name`: that name, and a short one without its publisher."""
    short = name.rsplit("/", 1)[-1].lower()
    return (name,) if "/" not in name or not short else (name, short)


def require_models(proxy: InferenceProxy, url: str) -> None:
    """Raise `StartError` where the engine that somebody else runs serves nothing."""
    if not proxy.catalogue.by_id:
        raise StartError(
            f"No engine at {url} serves a model that can be listed.",
            "Start it first, check the address, or say what it can do: --model openai:URL#tasks=generate,tool_calling",
        )
