"""Finding out what nobody tells: an engine of which tasks are tried, where the operator allows that."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from privity.catalogue.model import Evidence, in_order
from privity.engines.connection import StatusError
from privity.engines.engine import Answer, Body, Engine, EngineModel
from privity.engines.probes import CALLS
from privity.errors import ApiError, NotSupportedError

PROBE_BUDGET = 20
"""Calls in the life of a process: three models of which nothing is told."""

PROBE_TIMEOUT = 30.0
"""Seconds for one call: a large model that is not warm takes some ten for its first token."""

PROBE_PAUSE = 60.0
"""Seconds until a call is repeated that gave neither yes nor no."""

_NEEDS = {"tool_calling": "generate", "vision": "generate"}
"""A task that can't be had without another."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Finding:
    """What a probe found."""

    works: bool
    at: int
    """Unix seconds."""


class ProbedEngine:
    """An engine, with what probes found added to what it tells.

    Only those tasks are tried of which the engine says nothing (`EngineModel.untold`), so neither declared ones nor
    what its metadata says. Findings last as long as the process. `describe` and `answer` never wait for a probe: `run`
    carries them out, one at a time, and somebody must run it.

    A probe has found that a model can't do something where the engine refuses with 4xx or 501, or answers without
    what was asked for. Any other failure says nothing, and is tried again after a pause.

    Args:
        engine: the engine.
        budget: calls in all.
        timeout: seconds for one call.
        pause: seconds until an unclear one is repeated.
        now: Unix seconds.
    """

    def __init__(
        self,
        engine: Engine,
        budget: int = PROBE_BUDGET,
        *,
        timeout: float = PROBE_TIMEOUT,
        pause: float = PROBE_PAUSE,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._budget = budget
        self._timeout = timeout
        self._pause = pause
        self._now = now
        self._models: tuple[EngineModel, ...] = ()
        self._findings: dict[tuple[str, str], _Finding] = {}
        self._unclear: set[tuple[str, str]] = set()
        self._changed = asyncio.Event()

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return what the engine serves, and what was found of it so far; raises as `Engine.describe`."""
        models = await self._engine.describe()
        if models != self._models:
            self._models = models
            self._changed.set()
        return tuple(self._completed(model) for model in models)

    async def answer(self, endpoint: str, body: Body) -> Answer:
        """Carry out one request; raises as `Engine.answer`."""
        return await self._engine.answer(endpoint, body)

    async def run(self) -> None:
        """Try what is untold, as long as the budget lasts."""
        while self._budget > 0:
            open_task = next(self._open(), None)
            if open_task is None:
                await self._wait()
            else:
                await self._try(*open_task)
        _LOG.info("no probes are left")

    def _open(self) -> Iterator[tuple[str, str]]:
        """Yield models and tasks to try now: what needs another task comes after it."""
        for model in self._models:
            for task in model.untold:
                tried = model.name, task
                needed = _NEEDS.get(task)
                possible = needed is None or needed in model.tasks or self._works(model.name, needed)
                if possible and tried not in self._findings and tried not in self._unclear:
                    yield tried

    async def _wait(self) -> None:
        """Wait until the models change, or what was unclear may be tried again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause if self._unclear else None):
                await self._changed.wait()
                self._changed.clear()
                return
        self._unclear.clear()

    async def _try(self, model: str, task: str) -> None:
        works: bool | None = True
        for call in CALLS[task]:
            if self._budget <= 0:
                return
            self._budget -= 1
            try:
                async with asyncio.timeout(self._timeout):
                    works = await call(self._engine, model)
            except TimeoutError:
                works = None
            except ApiError as error:
                works = False if _is_definite(error) else None
            if not works:
                break
        self._take_note(model, task, works=works)

    def _take_note(self, model: str, task: str, *, works: bool | None) -> None:
        _LOG.info("probed", extra={"model": model, "task": task, "works": "unclear" if works is None else works})
        if works is None:
            self._unclear.add((model, task))
        else:
            self._findings[model, task] = _Finding(works, int(self._now()))

    def _works(self, model: str, task: str) -> bool:
        finding = self._findings.get((model, task))
        return finding is not None and finding.works

    def _completed(self, model: EngineModel) -> EngineModel:
        """Return a model with what was found of its untold tasks."""
        found = {
            task: self._findings[model.name, task] for task in model.untold if (model.name, task) in self._findings
        }
        if not found:
            return model
        evidence = {each.task: each for each in model.evidence}
        evidence |= {task: Evidence(task, "probed", finding.at) for task, finding in found.items() if finding.works}
        tasks = in_order((*model.tasks, *evidence))
        untold = tuple(task for task in model.untold if task not in found)
        return replace(
            model, tasks=tasks, evidence=tuple(evidence[task] for task in tasks if task in evidence), untold=untold
        )


def _is_definite(error: ApiError) -> bool:
    """Return whether a failed call shows that the model can't do this, and not only that it didn't."""
    if isinstance(error.__cause__, StatusError):
        status = error.__cause__.status
        return status == 501 or (400 <= status < 500 and status not in {401, 403, 408, 425, 429})
    return isinstance(error, NotSupportedError) or error.status < 500
