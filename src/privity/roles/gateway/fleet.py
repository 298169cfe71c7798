"""The inference proxies behind a gateway, and which of them serves what."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from privity.catalogue.catalogue import Catalogue, View
from privity.catalogue.declared import Declared
from privity.catalogue.model import Model, Status
from privity.errors import UnavailableError
from privity.http import HttpClient
from privity.roles.gateway.affinity import Affinity
from privity.roles.gateway.records import CHOICE, Records
from privity.roles.gateway.replica import Replica
from privity.transport.clock import utc_now
from privity.transport.models_api.source import Published

PUBLISH_SECONDS = 0.2
"""Seconds between two new lists at least: a large fleet changes all the time, and each list costs milliseconds."""

PUBLISH_SHARE = 0.02
"""Of the time that goes into new lists at most, while everything changes all the time."""

MAX_PUBLISH_SECONDS = 1.0
"""Seconds between two new lists at most, where something changed: what begins or ends must show within 5 s."""

GRACE_SECONDS = 10.0
"""Seconds that a new replica has to be heard of: until then it may have any model, later an unknown one is none."""

MAX_LOGGED = 20
"""IDs in one line of the log: those of thousands of models would be written five times a second."""

_LOG = logging.getLogger(__name__)


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
        self._http = http
        self.clock = clock
        self._now = now
        self._records = Records()
        self._affinity = Affinity()
        self._seen: list[tuple[tuple[Model, ...], Status]] | None = None
        self._publish_again_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._met: dict[str, Replica] = {}

    @property
    def catalogue(self) -> Catalogue:
        """What is served now."""
        return self.published.catalogue

    async def meet(self, urls: Iterable[str]) -> None:
        """Ask the replicas that are new, so that `configure` takes ones of which it is known what they serve."""
        known = {replica.url for replica in self.replicas}
        self._met = {url: Replica(url, self.clock) for url in urls if url not in known}
        await asyncio.gather(*(replica.poll(self._http) for replica in self._met.values()))

    def configure(self, urls: Iterable[str], draining: frozenset[str], declared: Sequence[Declared]) -> list[Replica]:
        """Take other replicas and declarations, to be published next; replicas that stay keep their state.

        Returns:
            The new replicas. Those that weren't met serve nothing before they were asked.
        """
        known = {replica.url: replica for replica in self.replicas}
        self.replicas = tuple(
            known.get(url) or self._met.get(url) or Replica(url, self.clock) for url in dict.fromkeys(urls)
        )
        self._met = {}
        for replica in self.replicas:
            replica.drains = replica.url in draining
        self._records.declare(tuple(declared))
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
        if self._timer is not None or not (self._is_over() or self._states(self.clock()) != self._seen):
            return
        wait = self._publish_again_at - self.clock()
        if wait <= 0:
            self.publish()
        else:
            self._timer = asyncio.get_running_loop().call_later(wait, self.publish)

    def _states(self, seconds: float) -> list[tuple[tuple[Model, ...], Status]]:
        """Return what a catalogue depends on, besides the time."""
        return [(replica.serves, replica.health.status(seconds)) for replica in self.replicas]

    def _is_over(self) -> bool:
        """Return whether a model was deprecated or retired meanwhile, or maybe too early by a clock that was set."""
        now, next_change = self._now(), self.catalogue.next_change
        return now < self.catalogue.as_of or (next_change is not None and next_change <= now)

    def close(self) -> None:
        """Publish nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def publish(self) -> None:
        """Publish what is served now, whenever the last time was."""
        self.close()
        begun = self.clock()
        now = self._now()
        seen = self._states(begun)  # and not afterwards: what changes meanwhile is for the next one
        catalogue = Catalogue(self._records.together(self.replicas, begun, now), now, self.catalogue)
        changed = catalogue.models != self.catalogue.models
        self.published.publish(catalogue)
        self._seen = seen
        pause = (self.clock() - begun) / PUBLISH_SHARE
        self._publish_again_at = begun + min(max(pause, PUBLISH_SECONDS), MAX_PUBLISH_SECONDS)
        if changed and _LOG.isEnabledFor(logging.INFO):
            _LOG.info("models changed", extra={"models": _shown(list(catalogue.ids))})

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
        self._check_is_unknown(asked, view)  # also where others can use it: that there is one must not show
        return view.find(asked)

    def _check_is_unknown(self, asked: str, view: View) -> None:
        away = self._records.away(asked, self.replicas)
        if any(view.may_see(model) and not model.lifecycle.is_retired(self._now()) for model in away):
            raise UnavailableError(
                f"The model `{asked}` is not available at the moment; "
                "its engine is restarting, out of reach or taking no new requests.",
                param="model",
            )
        newest = self.clock() - GRACE_SECONDS
        if any(not replica.was_heard and replica.known_since > newest for replica in self.replicas):
            raise UnavailableError(
                f"The model `{asked}` is not known here, and not all inference proxies could be asked yet.",
                param="model",
            )

    def pick(self, model: Model, shard_key: str | None = None) -> Replica:
        """Return a replica of a model; one that failed lately only where there is no other.

        Without a shard key it is the one that has the least to do; with one, the one that may have the prompt's
        beginning in a cache, where it hasn't too much to do.

        Raises:
            UnavailableError: none serves it.
        """
        now = self.clock()
        serving = [replica for replica in self.replicas if replica.find(model.id) is not None]
        if not serving:
            raise UnavailableError(f"The model `{model.id}` is not available at the moment.", param="model")
        choice = min(CHOICE[each.health.status(now)] for each in serving)
        best = [each for each in serving if CHOICE[each.health.status(now)] == choice]
        if shard_key is None:
            return min(best, key=lambda each: each.in_flight)
        by_url = {each.url: each for each in best}
        loads = {each.url: each.in_flight for each in best}
        return by_url[self._affinity.choose(model.id, shard_key, loads)]

    def health_of(self, model: Model) -> dict[str, float | int]:
        """Return how many replicas serve a model, and the age in seconds of the latest word from one of them."""
        serving = [replica for replica in self.replicas if replica.find(model.id) is not None]
        heard = [replica.health.last_heard for replica in serving if replica.health.last_heard is not None]
        age = {"age_seconds": round(self.clock() - max(heard), 1)} if heard else {}
        return {"replicas": len(serving)} | age


def _shown(ids: list[str]) -> str:
    """Return IDs for the log."""
    more = f" and {len(ids) - MAX_LOGGED} more" if len(ids) > MAX_LOGGED else ""
    return (", ".join(ids[:MAX_LOGGED]) or "none") + more
