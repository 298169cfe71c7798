"""What an inference proxy does: it knows what its engine serves, and stands between it and everybody else."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from privity.catalogue.catalogue import Catalogue, View, require_task
from privity.catalogue.declared import Declared, apply
from privity.catalogue.merge import without_collisions
from privity.catalogue.model import Evidence, Facts, Model
from privity.engines.embedded.fetch import ModelFiles
from privity.engines.engine import Answer, Engine, EngineModel
from privity.errors import (
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    StartError,
    UnavailableError,
    UpstreamError,
    UpstreamTimeoutError,
    WrongTaskError,
)
from privity.http import Headers
from privity.protocol.multipart import Part
from privity.protocol.routed_model import RoutedModel
from privity.roles.inference_proxy.answers import public, public_events
from privity.roles.inference_proxy.engine_request import EngineRequest, read_request
from privity.roles.inference_proxy.media import PICTURES
from privity.roles.inference_proxy.signing import Signer
from privity.transport.models_api.source import Published, Retrieved
from privity.transport.web import Request

TIMEOUTS_UNTIL_DOWN = 2
"""Looks in a row that a busy engine may leave unanswered before its models leave the list: until then nobody knows."""

LARGE_CONTENT = 1024 * 1024
"""Bytes of a request from which on it is checked in a thread: unpacking its pictures takes up to a second."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Operator:
    """What the operator of an inference proxy says of its models."""

    files: ModelFiles | None = None
    """Those of the one model that the engine serves; None where the engine's own names are the IDs."""
    declared: tuple[Declared, ...] = ()
    facts: Facts = field(default_factory=Facts)
    """What the files say."""


class InferenceProxy:
    """One engine's models, and the way to them. It is the source of its own Models API.

    Args:
        engine: the engine.
        operator: what is known of its models besides.
        signer: vouches for what is listed.
        now: the time. The first is the `created` of models whose release nobody knows.
    """

    def __init__(self, engine: Engine, operator: Operator, signer: Signer, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._operator = operator
        self._signer = signer
        self._now = now
        self._started = int(now().timestamp())
        self._timeouts = 0
        self._described: tuple[EngineModel, ...] = ()
        self._drains = False
        self._found: dict[tuple[str, str, str], Evidence] = {}
        self.published = Published(Catalogue((), now()))

    @property
    def catalogue(self) -> Catalogue:
        """What can be asked for now."""
        return self.published.catalogue

    async def view(self, _request: Request) -> View:
        """Return all that is served: who may use it is the gateway's to say."""
        return self.catalogue.view()

    async def retrieve(self, _request: Request, asked: str) -> Retrieved:
        """Return one model. Raises `ModelNotFoundError`."""
        return Retrieved(self.catalogue.view().find(asked))

    def remarks(self, _request: Request) -> Headers:
        """Return nothing."""
        return ()

    def change(self, _request: Request) -> asyncio.Event:
        """Return what is set at the next change."""
        return self.published.change

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
            self._publish()
            _LOG.info("models changed", extra={"models": ", ".join(self.catalogue.ids) or "none"})
        elif self._signer.is_due:
            self._publish()

    def drain(self) -> None:
        """Say from now on that new requests should go elsewhere. Those that come all the same are answered."""
        self._drains = True
        self._publish()

    def _publish(self) -> None:
        models = self._signer.sign(list(self._listed(self._described)))
        self.published.publish(Catalogue(models, self._now(), self.catalogue))

    def _listed(self, described: tuple[EngineModel, ...]) -> Iterator[Model]:
        """Yield what can be listed; a short ID that several of the engine's models would have belongs to none."""
        named = list(self._models({each.name: each for each in described}.values()))
        claims = Counter(each for model in named for each in model.ids)
        single = [replace(model, aliases=tuple(each for each in model.aliases if claims[each] == 1)) for model in named]
        kept, collisions = without_collisions(apply(self._operator.declared, single, narrow=False))
        for collision in collisions:
            _LOG.error("two models claim one ID; the later one is left out", extra={"collision": str(collision)})
        for model in kept:
            if not model.tasks:
                _LOG.warning(
                    "nobody says what this model can do, so it isn't listed; "
                    "declare it: openai:URL#tasks=generate,tool_calling, or allow --probe",
                    extra={"model": model.id},
                )
            else:
                yield replace(model, status="draining" if self._drains else "available")

    def _models(self, described: Iterable[EngineModel]) -> Iterator[Model]:
        for each in described:
            files = self._operator.files
            ids = files.ids if files is not None else ids_for(each.name)
            yield Model(
                id=ids[0],
                tasks=each.tasks,
                created=files.created if files is not None else each.created or self._started,
                owned_by=files.owned_by if files is not None else each.owned_by or "unknown",
                aliases=tuple(ids[1:]),
                display_name=each.display_name,
                context_length=each.context_length,
                max_output_tokens=each.max_output_tokens,
                root=each.name,
                evidence=tuple(self._first_of(each.name, found) for found in each.evidence),
                facts=each.facts.completed(self._operator.facts),
            )

    def _first_of(self, name: str, found: Evidence) -> Evidence:
        """Return when a task was found first: an engine that restarts is tried again, and that is no news."""
        return self._found.setdefault((name, found.task, found.source), found)

    async def answer(
        self, path: str, content: bytes | list[Part], routed: RoutedModel | None = None, means: str | None = None
    ) -> Answer:
        """Carry out one request.

        Args:
            path: an encrypted endpoint's.
            content: the body, decrypted; a form's parts.
            routed: what the gateway means by a name of its own, where that counts.
            means: the canonical ID that the model's name has for the client, if it says so.

        Raises:
            ApiError: it can't be carried out. Also out of the events, for what goes wrong later.
        """
        request = await _read(path, content)
        if not self._described:
            raise UnavailableError("The model's engine is not running at the moment.", param="model")
        model, answer_id = self._find(request.model, routed, means)
        require_task(model, request.model, path)
        _check_abilities(model, request)
        answer = await self._engine.answer(path, request.for_engine(model.root or model.id))
        if isinstance(answer, dict):
            return public(request.shaped(answer), answer_id, path)
        return public_events(answer, answer_id, path)

    def _find(self, asked: str, routed: RoutedModel | None, means: str | None) -> tuple[Model, str]:
        """Return the model that is asked for, and what its answer shall call it.

        Raises:
            ModelNotFoundError: there is none.
            UnavailableError: the name means another one here than it does for the client.
        """
        view = self.catalogue.view()
        entry = view.get(asked)
        if entry is not None and means in (None, entry.model.id):
            return entry.model, entry.model.answer_id(asked)
        if entry is not None:
            raise UnavailableError(f"The model `{asked}` is another one by now. Ask again.", param="model")
        meant = view.get(means or (routed.id if routed is not None else asked))
        if meant is None or means not in (None, meant.model.id):
            raise ModelNotFoundError(view.not_found(asked))
        floats = routed is None or routed.answer_id == meant.model.id
        return meant.model, meant.model.id if floats else asked


async def _read(path: str, content: bytes | list[Part]) -> EngineRequest:
    if isinstance(content, bytes) and len(content) >= LARGE_CONTENT:
        return await asyncio.to_thread(read_request, path, content)
    return read_request(path, content)


def _check_abilities(model: Model, request: EngineRequest) -> None:
    """Refuse what the engine would fail at, or drop without a word."""
    if request.media & PICTURES and "vision" not in model.tasks:
        raise WrongTaskError(f"The model `{request.model}` takes no images.", param=request.prompt)
    if others := request.media - PICTURES:
        raise InvalidRequestError(
            f"Content parts of these types aren't supported: {', '.join(sorted(others))}.", param=request.prompt
        )
    if model.context_length is not None and request.turns > model.context_length:
        raise ContextLengthError(  # engines take minutes to find that out
            f"There are {request.turns} messages; the model's context is {model.context_length} tokens.",
            param=request.prompt,
        )
    if request.uses_tools and "tool_calling" not in model.tasks:
        raise WrongTaskError(f"The model `{request.model}` can't call tools.", param="tools")


def ids_for(name: str) -> tuple[str, ...]:
    """Return the IDs of a model that its engine calls `name`: that name, and a short one without its publisher."""
    short = name.rsplit("/", 1)[-1].lower()
    return (name,) if "/" not in name or not short else (name, short)


def require_models(proxy: InferenceProxy, url: str) -> None:
    """Raise `StartError` where the engine that somebody else runs serves nothing."""
    if not proxy.catalogue.models:
        raise StartError(
            f"No engine at {url} serves a model that can be listed.",
            "Start it first, check the address, or say what it can do: --model openai:URL#tasks=generate,tool_calling",
        )
