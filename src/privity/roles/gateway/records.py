"""The records of a fleet: one for each model, made of what its replicas say and what the operator declares.

A fleet of thousands changes all the time, so what was made of a replica's record is kept while that is the same.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from privity.catalogue.declared import Declared, apply, shadowed
from privity.catalogue.merge import without_collisions
from privity.catalogue.model import Model, Status
from privity.roles.gateway.replica import Replica

MAX_REMEMBERED = 50_000
"""Models whose `created` is remembered while nobody serves them."""

_BEST_FIRST: tuple[Status, ...] = ("available", "degraded", "unknown")
RANK = {status: place for place, status in enumerate(_BEST_FIRST)}
"""Statuses by how good they are, for what lists show."""

_CHOICES: tuple[Status, ...] = ("available", "unknown", "degraded")
CHOICE = {status: place for place, status in enumerate(_CHOICES)}
"""Statuses by how gladly a request is sent there: one missed look says less than five failed answers."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    """A replica's record, and the fleet's that was made of it."""

    served: Model
    served_ids: tuple[str, ...]
    rank: int
    record: Model
    ids: tuple[str, ...]


class Records:
    """Puts records together, and says who has an ID that several claim."""

    def __init__(self) -> None:
        self._declared: tuple[Declared, ...] = ()
        self._places: dict[str, list[int]] = {}
        self._naming: dict[str, list[int]] = {}
        self._created: dict[str, int] = {}
        self._visible_to: dict[str, frozenset[str]] = {}
        self._known: dict[str, _Known] = {}
        self._owners: dict[str, tuple[str, ...]] = {}
        self._claims: object = None
        self._left_out: frozenset[str] = frozenset()
        self._collisions: frozenset[tuple[str, str, str]] = frozenset()

    def declare(self, declared: tuple[Declared, ...]) -> None:
        """Take other declarations."""
        self._declared = declared
        self._places, self._naming = {}, {}
        for place, each in enumerate(declared):
            self._places.setdefault(each.id, []).append(place)
            for name in each.further_ids:
                self._naming.setdefault(name, []).append(place)
        self._known, self._claims, self._visible_to = {}, None, {}

    def together(self, replicas: Sequence[Replica], seconds: float, now: datetime) -> list[Model]:
        """Return one record for each model, whoever serves it; of two models that claim one ID the first has it.

        Args:
            replicas: in the order of their rights.
            seconds: of the steady clock by which their health is judged.
            now: the time.
        """
        self._look_over(_served(replicas, seconds), now)
        if len(self._created) > MAX_REMEMBERED:
            self._created = {model_id: self._created[model_id] for model_id in self._known}
        known = self._known.values()
        usable = [each for each in known if each.record.tasks and not each.record.lifecycle.is_retired(now)]
        claims = ([each.served_ids for each in known], [each.ids for each in usable])
        if claims != self._claims:
            self._claims = claims
            self._settle([each.record for each in usable])
        return [each.record for each in usable if each.record.id not in self._left_out]

    def away(self, asked: str, replicas: Iterable[Replica]) -> list[Model]:
        """Return the models with an ID, maybe a declared one, that replicas knew and don't serve now."""
        names = {asked: None} | {self._declared[place].id: None for place in self._naming.get(asked, ())}
        known = (
            model
            for replica in replicas
            for name in names
            for model in replica.knew(name)
            if not replica.find(model.id)
        )
        models = list(known)
        declared = self._meaning(name for model in models for name in model.ids)
        return [model for model in apply(declared, models, narrow=True) if asked in model.ids]

    def _meaning(self, names: Iterable[str]) -> list[Declared]:
        """Return the declarations of models that are served under these names, in their order."""
        places = {place for name in names for place in self._places.get(name, ())}
        return [self._declared[place] for place in sorted(places)]

    def _settle(self, usable: list[Model]) -> None:
        """Decide who has the IDs that several claim."""
        kept, collisions = without_collisions(usable)
        self._left_out = frozenset(model.id for model in usable) - {model.id for model in kept}
        naming = [each for each in self._declared if each.further_ids]
        left_out = [
            *shadowed(naming, [each.served for each in self._known.values()] if naming else ()),
            *((each.claimed, each.first, each.second) for each in collisions),
        ]
        self._log_collisions(frozenset(left_out))

    def _look_over(self, served: dict[str, tuple[Model, int]], now: datetime) -> None:
        """Bring the fleet's records up to date. What was made of a replica's record is kept while that is the same."""
        known: dict[str, _Known] = {}
        new: set[str] = set()
        for model_id, (model, rank) in served.items():
            old = self._known.get(model_id)
            if old is None or old.served is not model or old.rank != rank:
                old = _Known(model, model.ids, rank, model, ())
                new.add(model_id)
            known[model_id] = old
        owners = {model_id: each.served_ids for model_id, each in known.items() if self._has_declared_id(each)}
        if owners != self._owners:  # an alias isn't laid over where another model has it
            self._owners, new = owners, set(known)
        concerned = [each for model_id, each in known.items() if model_id in new or model_id in owners]
        own = [self._record(each.served, each.rank, now) for each in concerned]
        declared = self._meaning(name for each in concerned for name in each.served_ids)
        for each, record in zip(concerned, apply(declared, own, narrow=True), strict=True):
            if record.id in new:
                known[record.id] = replace(each, record=self._restricted(record), ids=record.ids)
        self._known = known

    def _restricted(self, record: Model) -> Model:
        """Return a record for those groups that were ever declared for it: an alias by which that was may go away."""
        if record.visible_to is None:
            return replace(record, visible_to=self._visible_to.get(record.id))
        self._visible_to[record.id] = record.visible_to
        return record

    def _has_declared_id(self, known: _Known) -> bool:
        return not self._naming.keys().isdisjoint(known.served_ids)

    def _record(self, model: Model, rank: int, now: datetime) -> Model:
        """Return a replica's record as the fleet's. `created` stays what it was, whichever replica is the first."""
        said = model.created or int(now.timestamp())  # nobody knows its release: it joins now
        created = self._created[model.id] = min(said, self._created.get(model.id, said))
        return replace(model, created=created, status=_BEST_FIRST[rank])

    def _log_collisions(self, collisions: frozenset[tuple[str, str, str]]) -> None:
        for claimed, owner, other in sorted(collisions - self._collisions):
            extra = {"id": claimed, "owner": owner, "left_out": other}
            _LOG.error("two models claim one ID; the first has it, a declared alias never does", extra=extra)
        self._collisions = collisions


def _served(replicas: Sequence[Replica], seconds: float) -> dict[str, tuple[Model, int]]:
    """Return the first record of each model, and the rank of its best status."""
    served: dict[str, tuple[Model, int]] = {}
    for replica in replicas:
        of_replica = RANK[replica.health.status(seconds)]
        for model in replica.serves:
            rank = max(of_replica, RANK[model.status])
            first, best = served.get(model.id, (model, rank))
            served[model.id] = (first, min(best, rank))
    return served
