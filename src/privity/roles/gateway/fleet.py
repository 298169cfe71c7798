"""The inference proxies behind a gateway, and which of them serves what."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from privity.catalogue.catalogue import Catalogue, View
from privity.catalogue.declared import Declared, apply
from privity.catalogue.merge import without_collisions
from privity.catalogue.model import Model, Status
from privity.errors import UnavailableError
from privity.http import HttpClient
from privity.roles.gateway.replica import Replica
from privity.transport.models_api.source import Published

PUBLISH_SECONDS = 0.2
"""Seconds between two new lists at least: a large fleet changes all the time, and each list costs milliseconds."""

MAX_REMEMBERED = 50_000
"""Models whose `created` is remembered while nobody serves them."""

_BEST_FIRST: tuple[Status, ...] = ("available", "degraded", "unknown")

_LOG = logging.getLogger(__name__)


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class Fleet:
    """All replicas, and the catalogue of what they serve together.

    Args:
        http: who asks them.
        clock: a steady clock, in seconds.
        now: the time.
    """

    def __init__(
        self, http: HttpClient, clock: Callable[[], float] = time.monotonic, now: Callable[[], datetime] = utc_now
    ) -> None:
        self.replicas: tuple[Replica, ...] = ()
        self.published = Published(Catalogue((), now()))
        self._declared: tuple[Declared, ...] = ()
        self._http = http
        self.clock = clock
        self._now = now
        self._created: dict[str, int] = {}
        self._collisions: frozenset[tuple[str, str, str]] = frozenset()
        self._seen: object = None
        self._published_at = -PUBLISH_SECONDS
        self._timer: asyncio.TimerHandle | None = None

    @property
    def catalogue(self) -> Catalogue:
        """What is served now."""
        return self.published.catalogue

    def configure(self, urls: Iterable[str], draining: frozenset[str], declared: Sequence[Declared]) -> list[Replica]:
        """Take other replicas and declarations; those that stay keep their state. To be published when they were asked.

        Returns:
            The new replicas, which nobody asked yet.
        """
        known = {replica.url: replica for replica in self.replicas}
        self.replicas = tuple(known.get(url) or Replica(url, self.clock) for url in dict.fromkeys(urls))
        for replica in self.replicas:
            replica.drains = replica.url in draining
        self._declared = tuple(declared)
        return [replica for replica in self.replicas if replica.url not in known]

    async def poll(self, replica: Replica) -> None:
        """Ask one replica, and bring the catalogue up to date."""
        await replica.poll(self._http)
        self.update()

    def lost(self, replica: Replica) -> None:
        """Take note that a replica could not be reached for a request."""
        replica.health.failed()
        self.update()

    def update(self) -> None:
        """Publish what changed: at once, or soon after the last time."""
        if self._timer is not None or self._state() == self._seen:
            return
        wait = self._published_at + PUBLISH_SECONDS - self.clock()
        if wait <= 0:
            self.publish()
        else:
            self._timer = asyncio.get_running_loop().call_later(wait, self.publish)

    def _state(self) -> object:
        """Return what a catalogue depends on."""
        now = self.clock()
        next_change = self.catalogue.next_change
        is_over = next_change is not None and next_change <= self._now()
        return is_over, [(replica.serves, replica.health.status(now)) for replica in self.replicas]

    def close(self) -> None:
        """Publish nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def publish(self) -> None:
        """Publish what is served now, whenever the last time was."""
        self.close()
        self._published_at = self.clock()
        catalogue = Catalogue(self._together(), self._now(), self.catalogue)
        changed = catalogue.models != self.catalogue.models
        self.published.publish(catalogue)
        self._seen = self._state()
        if changed:
            _LOG.info("models changed", extra={"models": ", ".join(catalogue.ids) or "none"})

    def _together(self) -> list[Model]:
        """Return one record for each model, whoever serves it; of two models that claim one ID the first has it."""
        now = self.clock()
        records: dict[str, tuple[Model, set[Status]]] = {}
        for replica in self.replicas:
            status = replica.health.status(now)
            for model in replica.serves:
                records.setdefault(model.id, (model, set()))[1].add(status)
        served = [self._record(model, statuses) for model, statuses in records.values()]
        if len(self._created) > MAX_REMEMBERED:
            self._created = {model.id: model.created for model in served}
        kept, collisions = without_collisions(apply(self._declared, served, narrow=True))
        self._log_collisions(frozenset((each.claimed, each.first, each.second) for each in collisions))
        return kept

    def _record(self, model: Model, statuses: set[Status]) -> Model:
        """Return a replica's record as the fleet's. `created` stays what it was, whichever replica is the first."""
        created = self._created[model.id] = min(model.created, self._created.get(model.id, model.created))
        return replace(model, created=created, status=min(statuses, key=_BEST_FIRST.index))

    def _log_collisions(self, collisions: frozenset[tuple[str, str, str]]) -> None:
        for claimed, kept, left_out in collisions - self._collisions:
            extra = {"id": claimed, "kept": kept, "left_out": left_out}
            _LOG.error("two models claim one ID; the later one is left out", extra=extra)
        self._collisions = collisions

    def find(self, asked: str, view: View) -> Model:
        """Return a model that can be called now.

        Raises:
            UnavailableError: a replica had it when it last served anything, and is away at the moment; or one that was
                never heard of may have it.
            ModelNotFoundError: nobody has it, or it isn't for this key.
        """
        entry = view.get(asked)
        if entry is not None:
            return entry.model
        if asked not in self.catalogue.by_id:
            self._check_is_unknown(asked, view)
        return view.find(asked)

    def _check_is_unknown(self, asked: str, view: View) -> None:
        away = [model for replica in self.replicas for model in replica.known if not replica.find(model.id)]
        known = [model for model in apply(self._declared, away, narrow=True) if asked in model.ids]
        if any(view.may_see(model) and not model.lifecycle.is_retired(self._now()) for model in known):
            raise UnavailableError(
                f"The model `{asked}` is not available at the moment; its engine is restarting or out of reach.",
                param="model",
            )
        if not all(replica.was_heard for replica in self.replicas):
            raise UnavailableError(
                f"The model `{asked}` is not known here, and not all inference proxies could be asked yet.",
                param="model",
            )

    def pick(self, model: Model) -> Replica:
        """Return the replica of a model that has the least to do; one that failed lately only where there is no other.

        Raises:
            UnavailableError: none serves it.
        """
        now = self.clock()
        serving = [replica for replica in self.replicas if replica.find(model.id) is not None]
        if not serving:
            raise UnavailableError(f"The model `{model.id}` is not available at the moment.", param="model")
        return min(serving, key=lambda each: (_BEST_FIRST.index(each.health.status(now)), each.in_flight))

    def health_of(self, model: Model) -> dict[str, float | int]:
        """Return how many replicas serve a model, and the age in seconds of the latest word from one of them."""
        serving = [replica for replica in self.replicas if replica.find(model.id) is not None]
        heard = [replica.health.last_heard for replica in serving if replica.health.last_heard is not None]
        age = {"age_seconds": round(self.clock() - max(heard), 1)} if heard else {}
        return {"replicas": len(serving)} | age
